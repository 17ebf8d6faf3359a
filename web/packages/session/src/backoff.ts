// Waits between attempts: growing, capped and with jitter, so that a crowd that
// lost its server does not come back in one instant.

export interface BackoffLimits {
  /** The first attempt waits up to so long. */
  readonly spreadMs: number;
  /** Before the second attempt; doubled for each further one. */
  readonly firstMs: number;
  readonly maxMs: number;
}

export const RECONNECT_BACKOFF: BackoffLimits = { spreadMs: 100, firstMs: 250, maxMs: 5000 };

export class Backoff {
  readonly #random: () => number;
  readonly #limits: BackoffLimits;
  #attempts = 0;

  /** `random` gives numbers from 0 to 1, as Math.random does. */
  constructor(random: () => number, limits: BackoffLimits = RECONNECT_BACKOFF) {
    this.#random = random;
    this.#limits = limits;
  }

  /** Milliseconds to wait before the next attempt. */
  next(): number {
    const attempt = this.#attempts++;
    if (attempt === 0) return this.#random() * this.#limits.spreadMs;
    const ceiling = Math.min(
      this.#limits.maxMs,
      this.#limits.firstMs * 2 ** Math.min(attempt - 1, 20),
    );
    // Half of it at least: a jitter down to zero would be no backoff.
    return ceiling * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#attempts = 0;
  }
}
