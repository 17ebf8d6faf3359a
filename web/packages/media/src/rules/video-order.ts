// The order of a picture's frames that come on several streams: one group of one
// encoding after another. A newer group takes over when the older one is at its
// end or keeps it waiting for too long; what the older one still brings after
// that is thrown away.
//
// Groups of one encoding are ordered by their numbers. Those of different ones are
// not comparable, and a group of another encoding may have begun long ago (a kept
// one, sent as a whole): it takes over once it has brought a later picture than
// the one that is shown, and is decoded from its beginning then. So does a second
// stream of the same group, from another handler: it goes on where the first stops.

/** An unfinished older group is waited for so long … */
const OVERLAP_MS = 120;
/** … and so long when another encoding is ahead of it: its end was not sent. */
const SWITCH_OVERLAP_MS = 40;
/** Streams that wait at most; the one that came first goes first. */
const STREAMS_MAX = 6;
/** Frames of a stream kept while it waits. */
const FRAMES_MAX = 120;

/** Microseconds; strictly rising in an encoding. */
export interface Timed {
  readonly timestamp: bigint;
}

/** A group as one stream brings it. */
interface Group<T> {
  readonly encoding: number;
  readonly number: number;
  frames: T[];
  /** Of the latest frame that it brought. */
  newest: bigint | undefined;
  /** Since when it could take over. */
  since: number | undefined;
  /** Its stream is at its end. */
  ended: boolean;
  /** What another stream of the group had brought is gone: it can only go on. */
  cut: boolean;
}

/** A stream on which a group comes. */
export interface OpenGroup<T> {
  /** Takes a frame; gives the frames to decode now, in order. */
  push(frame: T, nowMs: number): T[];
  /** The stream is at its end or was reset. Once. */
  end(nowMs: number): T[];
}

export class VideoOrder<T extends Timed> {
  /** The one whose frames pass through. */
  #current: Group<T> | undefined;
  /** In the order in which they came. */
  #waiting: Group<T>[] = [];
  /** By encoding: the group up to which all were done. */
  readonly #done = new Map<number, number>();
  /** Of the latest frame that passed through. */
  #passed = -1n;

  /** A stream of this group began. Undefined: it is too old to be of use. */
  open(encoding: number, number: number): OpenGroup<T> | undefined {
    const done = this.#done.get(encoding);
    if (done !== undefined && !isNewer(number, done)) return undefined;
    const group: Group<T> = {
      encoding,
      number,
      frames: [],
      newest: undefined,
      since: undefined,
      ended: false,
      cut: false,
    };
    this.#waiting.push(group);
    if (this.#waiting.length > STREAMS_MAX) this.#waiting.shift();
    return {
      push: (frame, nowMs) => this.#push(group, frame, nowMs),
      end: (nowMs) => {
        group.ended = true;
        return this.poll(nowMs);
      },
    };
  }

  poll(nowMs: number): T[] {
    const ready: T[] = [];
    for (;;) {
      const current = this.#current;
      if (current !== undefined) this.#pass(current, ready);
      this.#look(nowMs);
      const next = this.#next();
      if (next === undefined || !this.#mayTakeOver(next, nowMs)) return ready;
      this.#takeOver(next);
    }
  }

  /** When {@link poll} has something to do at the latest. */
  get due(): number | undefined {
    const next = this.#next();
    return next?.since === undefined ? undefined : next.since + this.#patience(next);
  }

  #push(group: Group<T>, frame: T, nowMs: number): T[] {
    if (group !== this.#current && !this.#waiting.includes(group)) return [];
    group.frames.push(frame);
    if (group.newest === undefined || frame.timestamp > group.newest) {
      group.newest = frame.timestamp;
    }
    const ready = this.poll(nowMs);
    // It waits, and for what? Whoever sends so much of it means it to be shown.
    if (group.frames.length > FRAMES_MAX) this.#drop(group);
    return ready;
  }

  #pass(group: Group<T>, ready: T[]): void {
    for (const frame of group.frames.splice(0)) {
      if (frame.timestamp > this.#passed) this.#passed = frame.timestamp;
      ready.push(frame);
    }
  }

  /** Notes who could take over from now on, and forgets who never will. */
  #look(nowMs: number): void {
    for (const group of this.#waiting) {
      if (!this.#isCurrent(group) || group.frames.length < FRAMES_MAX) continue;
      // The same frames by another way, for long.
      group.cut = true;
      group.frames = group.frames.filter((frame) => frame.timestamp > this.#passed);
    }
    this.#waiting = this.#waiting.filter((group) => {
      const ahead = this.#isAhead(group);
      group.since = ahead ? (group.since ?? nowMs) : undefined;
      return ahead || !group.ended;
    });
  }

  #isCurrent({ encoding, number }: Group<T>): boolean {
    return encoding === this.#current?.encoding && number === this.#current.number;
  }

  #isAhead(group: Group<T>): boolean {
    if (group.newest === undefined) return false;
    const current = this.#current;
    if (current === undefined) return true;
    return group.encoding === current.encoding && group.number !== current.number
      ? isNewer(group.number, current.number)
      : group.newest > this.#passed;
  }

  /** The oldest group of the encoding that goes on, else whatever is ahead. */
  #next(): Group<T> | undefined {
    const ahead = this.#waiting.filter((group) => group.since !== undefined);
    const [first] = ahead
      .filter((group) => group.encoding === (this.#current ?? ahead[0])?.encoding)
      .sort((a, b) => (isNewer(a.number, b.number) ? 1 : -1));
    return first ?? ahead[0];
  }

  #patience(next: Group<T>): number {
    const current = this.#current;
    if (current === undefined || current.ended) return 0;
    if (next.frames.length >= FRAMES_MAX) return 0;
    return next.encoding === current.encoding ? OVERLAP_MS : SWITCH_OVERLAP_MS;
  }

  #mayTakeOver(next: Group<T>, nowMs: number): boolean {
    return next.since !== undefined && nowMs - next.since >= this.#patience(next);
  }

  #takeOver(next: Group<T>): void {
    const former = this.#current;
    this.#current = next;
    this.#done.set(next.encoding, (next.number - 1) >>> 0);
    // A group of it that is kept somewhere may come again, from its beginning.
    if (former?.encoding !== next.encoding) this.#done.delete(former?.encoding ?? -1);
    this.#waiting = this.#waiting.filter((group) => {
      if (group.cut && !this.#isCurrent(group)) return false;
      return group.encoding !== next.encoding || !isNewer(next.number, group.number);
    });
  }

  #drop(group: Group<T>): void {
    this.#waiting = this.#waiting.filter((one) => one !== group);
  }
}

/** Group numbers are u32 and wrap. */
function isNewer(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}
