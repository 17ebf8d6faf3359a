// Puts what datagrams brought back into order by sequence number, and tells how
// many are missing. A gap is waited for, briefly: most of what is late is lost.

/** Items kept at most while an earlier one is missing. */
const HELD_MAX = 32;
/** Further back or ahead than this the sender must have begun anew. */
const JUMP_MAX = 1000n;

export interface Ordered<T> {
  readonly item: T;
  /** Sequence numbers before it that never came. */
  readonly missing: number;
}

interface Waiting<T> {
  readonly first: bigint;
  readonly last: bigint;
  readonly item: T;
  readonly since: number;
}

export class SequenceOrder<T> {
  readonly #holdMs: number;
  #next: bigint | undefined;
  #waiting: Waiting<T>[] = [];

  constructor(holdMs: number) {
    this.#holdMs = holdMs;
  }

  /** Takes an item of the sequence numbers `first` to `last`; gives what is in order now. */
  push(first: bigint, last: bigint, item: T, nowMs: number): Ordered<T>[] {
    if (this.#next !== undefined) {
      const jumped = first > this.#next + JUMP_MAX || first + JUMP_MAX < this.#next;
      if (jumped) {
        this.#next = undefined;
        this.#waiting = [];
      } else if (first < this.#next) {
        return this.poll(nowMs);
      }
    }
    this.#next ??= first;
    if (!this.#waiting.some((one) => one.first === first)) {
      this.#waiting.push({ first, last, item, since: nowMs });
      this.#waiting.sort((a, b) => (a.first < b.first ? -1 : 1));
    }
    return this.poll(nowMs);
  }

  /** What may be given up waiting for by now. */
  poll(nowMs: number): Ordered<T>[] {
    const ready: Ordered<T>[] = [];
    for (;;) {
      const head = this.#waiting[0];
      if (head === undefined || this.#next === undefined) return ready;
      const late = nowMs - head.since >= this.#holdMs || this.#waiting.length > HELD_MAX;
      if (head.first > this.#next && !late) return ready;
      this.#waiting.shift();
      const missing = head.first > this.#next ? Number(head.first - this.#next) : 0;
      ready.push({ item: head.item, missing });
      this.#next = head.last + 1n;
    }
  }

  /** When {@link poll} has something to give at the latest. */
  get due(): number | undefined {
    const head = this.#waiting[0];
    return head === undefined ? undefined : head.since + this.#holdMs;
  }
}
