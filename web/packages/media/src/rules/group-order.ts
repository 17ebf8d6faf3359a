// The order of frames that come on several streams: one group after another. A
// newer group takes over when the older one is at its end or keeps it waiting
// for too long; what the older one still brings after that is thrown away.

/** An unfinished older group is waited for so long. */
const OVERLAP_MS = 120;
/** Groups followed at once at most; the oldest goes first. */
const GROUPS_MAX = 4;
/** Frames of a newer group kept while the older one ends. */
const FRAMES_MAX = 120;

interface Group<T> {
  readonly number: number;
  readonly frames: T[];
  since: number | undefined;
  ended: boolean;
}

export class GroupOrder<T> {
  /** Oldest first; the first one is the one whose frames pass through. */
  #groups: Group<T>[] = [];
  #newestDone: number | undefined;

  /** A stream of this group number began. False: it is too old to be of use. */
  open(number: number): boolean {
    if (this.#newestDone !== undefined && !isNewer(number, this.#newestDone)) return false;
    if (this.#groups.some((group) => group.number === number)) return true;
    this.#groups.push({ number, frames: [], since: undefined, ended: false });
    this.#groups.sort((a, b) => (isNewer(a.number, b.number) ? 1 : -1));
    while (this.#groups.length > GROUPS_MAX) this.#retire();
    return true;
  }

  /** Takes a frame of a group; gives the frames to decode now, in order. */
  push(number: number, frame: T, nowMs: number): T[] {
    const group = this.#groups.find((one) => one.number === number);
    if (group === undefined) return [];
    group.since ??= nowMs;
    group.frames.push(frame);
    return this.poll(nowMs);
  }

  /** The stream of this group is at its end or was reset. */
  end(number: number, nowMs: number): T[] {
    const group = this.#groups.find((one) => one.number === number);
    if (group !== undefined) group.ended = true;
    return this.poll(nowMs);
  }

  poll(nowMs: number): T[] {
    const ready: T[] = [];
    for (;;) {
      const current = this.#groups[0];
      if (current === undefined) return ready;
      ready.push(...current.frames.splice(0));
      const next = this.#groups.find((group) => group !== current && group.since !== undefined);
      const impatient =
        next?.since !== undefined &&
        (nowMs - next.since >= OVERLAP_MS || next.frames.length >= FRAMES_MAX);
      if (!current.ended && !impatient) return ready;
      this.#retire();
      // Groups between that brought nothing yet are passed over.
      while (next !== undefined && this.#groups[0] !== undefined && this.#groups[0] !== next) {
        this.#retire();
      }
    }
  }

  /** When {@link poll} has something to do at the latest. */
  get due(): number | undefined {
    const since = this.#groups.slice(1).find((group) => group.since !== undefined)?.since;
    return since === undefined ? undefined : since + OVERLAP_MS;
  }

  #retire(): void {
    const group = this.#groups.shift();
    if (group !== undefined) this.#newestDone = group.number;
  }
}

/** Group numbers are u32 and wrap. */
function isNewer(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}
