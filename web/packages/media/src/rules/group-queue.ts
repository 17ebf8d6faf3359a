// What waits to be written on one group's stream. A path that can't carry it
// makes frames late rather than the queue long: then the group is given up and
// the next begins with a key frame.

/** A group whose oldest unwritten frame is older than this is given up. */
const LATE_MS = 500;
/** Frames waiting at most, whatever their age. */
const FRAMES_MAX = 64;

export class GroupQueue<T> {
  readonly #waiting: { readonly item: T; readonly at: number }[] = [];
  #writingSince: number | undefined;

  /** False: the group is late and should be given up. */
  push(item: T, nowMs: number): boolean {
    if (this.isLate(nowMs) || this.#waiting.length >= FRAMES_MAX) return false;
    this.#waiting.push({ item, at: nowMs });
    return true;
  }

  /** The next item to write; call {@link written} when it is out. */
  take(): T | undefined {
    const head = this.#waiting.shift();
    this.#writingSince = head?.at;
    return head?.item;
  }

  written(): void {
    this.#writingSince = undefined;
  }

  isLate(nowMs: number): boolean {
    const oldest = this.#writingSince ?? this.#waiting[0]?.at;
    return oldest !== undefined && nowMs - oldest > LATE_MS;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#writingSince === undefined;
  }
}
