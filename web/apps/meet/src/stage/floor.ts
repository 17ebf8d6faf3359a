// Who has the floor: the large tile goes to whoever speaks for a while, not to
// whoever coughs, and stays with them while they speak and after. A machine
// without a clock: driven by `hear` and, when `due` says so, by `settle`.

/** Who speaks for so long without a pause is worth a look. */
export const PROMOTE_MS = 1000;
/** The large tile changes no more often than this. */
export const HOLD_MS = 2500;
/** Speakers remembered for who gets a place when there are too few. */
const SPOKE_MAX = 64;

export class Floor {
  /** Who speaks now, loudest first, and since when. */
  #speaking = new Map<string, number>();
  #spoke: readonly string[] = [];
  #holder: string | null = null;
  #heldSince = -Infinity;

  /** Whoever has the floor. Still so while nobody else speaks. */
  get holder(): string | null {
    return this.#holder;
  }

  /** Who spoke for a while, the latest first. */
  get spoke(): readonly string[] {
    return this.#spoke;
  }

  /** Who speaks from now on, loudest first; replaces who was said before. */
  hear(ids: readonly string[], now: number): void {
    const before = this.#speaking;
    this.#speaking = new Map(ids.map((id) => [id, before.get(id) ?? now]));
    this.settle(now);
  }

  /** Somebody is not there any more. */
  forget(id: string, now: number): void {
    this.#speaking.delete(id);
    this.#spoke = this.#spoke.filter((one) => one !== id);
    if (this.#holder === id) this.#holder = null;
    this.settle(now);
  }

  /** Brings everything up to date. */
  settle(now: number): void {
    const promoted = [...this.#speaking]
      .filter(([, since]) => now - since >= PROMOTE_MS)
      .map(([id]) => id);
    const news = promoted.filter((id) => !this.#latest(promoted.length).includes(id));
    if (news.length > 0) {
      this.#spoke = [...new Set([...promoted, ...this.#spoke])].slice(0, SPOKE_MAX);
    }
    const next = promoted[0];
    if (next === undefined || (this.#holder !== null && this.#speaking.has(this.#holder))) return;
    if (this.#holder !== null && now - this.#heldSince < HOLD_MS) return;
    this.#holder = next;
    this.#heldSince = now;
  }

  /** When `settle` will change something if nothing is heard; `null`: never. */
  due(now: number): number | null {
    const times = [...this.#speaking.values()].map((since) => since + PROMOTE_MS);
    const waits = this.#holder !== null && !this.#speaking.has(this.#holder);
    if (waits && this.#speaking.size > 0) times.push(this.#heldSince + HOLD_MS);
    const later = times.filter((at) => at > now);
    return later.length === 0 ? null : Math.min(...later);
  }

  #latest(count: number): readonly string[] {
    return this.#spoke.slice(0, count);
  }
}
