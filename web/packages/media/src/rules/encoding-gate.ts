// The same switch between encodings as in video-order.ts, for frames that come as
// datagrams: one by one, in the order of their encoding, with no stream that ends.

/** Frames of another encoding than expected come for so long: its beginning was lost. */
const STRAY_MS = 200;

export type GateVerdict =
  /** It follows on. */
  | "same"
  /** It begins another encoding, which is followed from here on. */
  | "switched"
  /** Of an encoding that is over, or not begun. */
  | "stray"
  /** As `stray`, and a key frame of this encoding should be asked for. */
  | "lost";

export class EncodingGate {
  #encoding: number | undefined;
  #newest = -1n;
  #strayingSince: number | undefined;

  accept(encoding: number, isKey: boolean, timestamp: bigint, nowMs: number): GateVerdict {
    if (encoding === this.#encoding) {
      if (timestamp > this.#newest) this.#newest = timestamp;
      this.#strayingSince = undefined;
      return "same";
    }
    const later = timestamp > this.#newest;
    if (later && (isKey || this.#encoding === undefined)) {
      const verdict = this.#encoding === undefined ? "same" : "switched";
      this.#encoding = encoding;
      this.#newest = timestamp;
      this.#strayingSince = undefined;
      return verdict;
    }
    if (!later) return "stray";
    this.#strayingSince ??= nowMs;
    if (nowMs - this.#strayingSince < STRAY_MS) return "stray";
    this.#strayingSince = nowMs;
    return "lost";
  }
}
