// Waiting for a fact, never for a while: every wait has a deadline and says
// what it waited for. Used by all journeys.

/** Between two looks at something that can't tell by itself when it changes. */
const LOOK_EVERY_MS = 50;

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The promise's value, or an error after `ms`. */
export async function within<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what}: no answer within ${ms} ms`));
    }, ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The first value of `look` that is neither `undefined`, `null` nor `false`.
 * When time runs out the error tells the last value, or the last error.
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | null | false>,
  ms = 20_000,
): Promise<T> {
  const end = Date.now() + ms;
  let last: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value !== undefined && value !== null && value !== false) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= end) break;
    await pause(LOOK_EVERY_MS);
  }
  throw new Error(`waited ${ms} ms for: ${what} (last: ${String(last)})`);
}
