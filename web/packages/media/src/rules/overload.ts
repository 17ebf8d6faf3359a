// Whether this device's video decoders keep up with what comes. A burst that a
// newcomer is sent is no overload; a queue that stays is.

/** Frames in a decoder that are no sign of anything. */
const QUEUE_CALM = 3;
const QUEUE_BEHIND = 6;
/** Behind for so long: overloaded. */
const BEHIND_MS = 800;
/** In time for so long: not overloaded any more. */
const CALM_MS = 4000;

export class Overload {
  /** By decoder: since when its queue is long. */
  readonly #behind = new Map<string, number>();
  /** When a queue was last longer than calm. */
  #busyAt = Number.NEGATIVE_INFINITY;
  #overloaded = false;

  /** A frame was given to a decoder in which so many are waiting. */
  queued(decoder: string, frames: number, nowMs: number): void {
    if (frames > QUEUE_CALM) this.#busyAt = nowMs;
    if (frames < QUEUE_BEHIND) {
      this.#behind.delete(decoder);
      return;
    }
    const since = this.#behind.get(decoder) ?? nowMs;
    this.#behind.set(decoder, since);
    if (nowMs - since >= BEHIND_MS) this.#overloaded = true;
  }

  /** The decoder is no more. */
  gone(decoder: string): void {
    this.#behind.delete(decoder);
  }

  isOverloaded(nowMs: number): boolean {
    if (this.#overloaded && nowMs - this.#busyAt >= CALM_MS) this.#overloaded = false;
    return this.#overloaded;
  }
}
