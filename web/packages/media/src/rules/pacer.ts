// When to draw a picture: at its capture time plus the shortest delay seen plus
// what the delay varies by, so that motion is even and yet as early as can be.

/** Smoothing waits for no more than this, in milliseconds. */
const JITTER_MAX_MS = 80;
/** How fast the shortest delay is forgotten, so that clocks may drift. */
const FORGET_MS_PER_FRAME = 0.05;
const JITTER_DECAY = 0.97;

export class Pacer {
  #shortest: number | undefined;
  #jitter = 0;

  /** The time (of the clock of `nowMs`) to draw a picture captured at `captureMs`. */
  due(captureMs: number, nowMs: number): number {
    const delay = nowMs - captureMs;
    if (this.#shortest === undefined || Math.abs(delay - this.#shortest) > 2000) {
      this.#shortest = delay;
      this.#jitter = 0;
      return nowMs;
    }
    this.#shortest = Math.min(delay, this.#shortest + FORGET_MS_PER_FRAME);
    const jitter = Math.min(delay - this.#shortest, JITTER_MAX_MS);
    this.#jitter = Math.max(this.#jitter * JITTER_DECAY, jitter);
    return captureMs + this.#shortest + this.#jitter;
  }
}
