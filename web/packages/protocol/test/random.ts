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
  for (const seed of seeds(count)) {
    try {
      property(randomOf(seed));
    } catch (cause) {
      throw failure(seed, cause);
    }
  }
}

/** The same for a property that takes its time; one seed after the other. */
export async function forSeedsAsync(
  count: number,
  property: (random: Random) => Promise<void>,
): Promise<void> {
  for (const seed of seeds(count)) {
    try {
      await property(randomOf(seed));
    } catch (cause) {
      throw failure(seed, cause);
    }
  }
}

function seeds(count: number): number[] {
  const given = env["DARKTOWER_SEED"];
  return given === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(given)];
}

const randomOf = (seed: number): Random => new Random(seed * 2_654_435_761);

function failure(seed: number, cause: unknown): Error {
  return new Error(`failed with DARKTOWER_SEED=${seed}`, { cause });
}
