// Counts and rates for statistics: what happened in the last two seconds.

const WINDOW_MS = 2000;
/** Events remembered at most; rates above 500 a second read as less. */
const EVENTS_MAX = 1000;

export class RateMeter {
  count = 0;
  bytes = 0;
  #recent: { readonly at: number; readonly bytes: number }[] = [];

  add(bytes: number, nowMs: number): void {
    this.count += 1;
    this.bytes += bytes;
    this.#recent.push({ at: nowMs, bytes });
    if (this.#recent.length > EVENTS_MAX) this.#recent.shift();
  }

  /** Events a second and kilobits a second. */
  rates(nowMs: number): { fps: number; kbps: number } {
    this.#recent = this.#recent.filter((one) => nowMs - one.at <= WINDOW_MS);
    const bytes = this.#recent.reduce((sum, one) => sum + one.bytes, 0);
    const round = (value: number) => Math.round(value * 10) / 10;
    return {
      fps: round((this.#recent.length * 1000) / WINDOW_MS),
      kbps: round((bytes * 8) / WINDOW_MS),
    };
  }
}
