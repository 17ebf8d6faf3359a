// Seeded random input for property tests: a failure prints its seed, and
// DARKTOWER_SEED replays it.
const env: Record<string, string | undefined> = process.env;

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** 0 to 2^32 - 1 (xorshift). */
  next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>>= 0);
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return this.next() % limit;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

/** Runs `property` with many seeds; a failing one is named in the error. */
export function forSeeds(count: number, property: (random: Random) => void): void {
  const given = env["DARKTOWER_SEED"];
  const seeds =
    given === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(given)];
  for (const seed of seeds) {
    try {
      property(new Random(seed * 2_654_435_761));
    } catch (cause) {
      throw new Error(`failed with DARKTOWER_SEED=${seed}`, { cause });
    }
  }
}
