// Times of media: microseconds since the Unix epoch, strictly rising within an
// encoding (WIRE section 2.3). JavaScript numbers hold them exactly until 2255.

/** Now, in microseconds since the Unix epoch. */
export function epochMicros(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

/** Gives timestamps that never stand still or go back. */
export class RisingClock {
  #last = 0;

  next(nowMicros: number): number {
    this.#last = Math.max(nowMicros, this.#last + 1);
    return this.#last;
  }
}

/** No further from the time of day than this, in microseconds. */
const DRIFT_MAX = 200_000;

/**
 * Timestamps of a run of equal blocks of samples: evenly spaced, as the samples
 * are, and set anew when they drifted from the clock or a pause lay between.
 */
export class SampleClock {
  readonly #blockMicros: number;
  #next: number | undefined;
  #last = 0;

  constructor(blockMicros: number) {
    this.#blockMicros = blockMicros;
  }

  next(nowMicros: number): number {
    let at = this.#next ?? nowMicros;
    if (Math.abs(at - nowMicros) > DRIFT_MAX) at = nowMicros;
    at = Math.max(at, this.#last + 1);
    this.#last = at;
    this.#next = at + this.#blockMicros;
    return at;
  }
}
