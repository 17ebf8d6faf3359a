// How unevenly one stream of sound arrives: the mean deviation of RFC 3550 section
// 6.4.1, of what a packet took against what the one before it took.

/** A pause longer than this is no jitter: the next packet begins anew. */
const PAUSE_MS = 1000;

export class Jitter {
  #ms = 0;
  #last: { readonly sentMs: number; readonly arrivedMs: number } | undefined;

  /** Milliseconds; null before the second packet. */
  value: number | null = null;

  /** Both clocks may be any: only differences count. */
  add(sentMs: number, arrivedMs: number): void {
    const last = this.#last;
    this.#last = { sentMs, arrivedMs };
    if (last === undefined || arrivedMs - last.arrivedMs > PAUSE_MS) return;
    const deviation = arrivedMs - last.arrivedMs - (sentMs - last.sentMs);
    // One packet with an absurd timestamp is not to blur all that follow.
    this.#ms += (Math.min(Math.abs(deviation), PAUSE_MS) - this.#ms) / 16;
    this.value = this.#ms;
  }
}
