// Which counters of one key were seen.

/** Counters that may arrive late and are told apart: what a handler can delay. */
export const WINDOW_COUNTERS = 1024;
const WORD_BITS = 32;

/**
 * The newest counter of a key and the 1023 before it. Anything older counts as
 * seen.
 */
export class ReplayWindow {
  /** One more than the newest counter seen; 0: none was. */
  #next = 0;
  /** Bit `counter % 1024`: seen. */
  readonly #seen = new Uint32Array(WINDOW_COUNTERS / WORD_BITS);

  /** Whether a counter can't be fresh. */
  has(counter: number): boolean {
    if (counter >= this.#next) return false;
    if (this.#next - counter > WINDOW_COUNTERS) return true;
    return ((this.#seen[word(counter)] ?? 0) & bit(counter)) !== 0;
  }

  /**
   * Marks a counter as seen. Only what was opened may be marked, or a forger
   * could push the window away from under the sender.
   */
  mark(counter: number): void {
    if (counter >= this.#next) {
      if (counter - this.#next >= WINDOW_COUNTERS) {
        this.#seen.fill(0);
      } else {
        for (let skipped = this.#next; skipped < counter; skipped++) this.#clear(skipped);
        this.#clear(counter);
      }
      this.#next = counter + 1;
    }
    const at = word(counter);
    this.#seen[at] = (this.#seen[at] ?? 0) | bit(counter);
  }

  #clear(counter: number): void {
    const at = word(counter);
    this.#seen[at] = (this.#seen[at] ?? 0) & ~bit(counter);
  }
}

function word(counter: number): number {
  return Math.floor((counter % WINDOW_COUNTERS) / WORD_BITS);
}

function bit(counter: number): number {
  return 1 << (counter % WORD_BITS);
}
