// What a receiver remembers of an encoding: which frames it has had (two paths
// may bring the same one), and whether a frame that others build on is missing.
import type { Extension, FrameType } from "./headers";

/** Tells whether a frame can be decoded after those before it. */
export class BaseLayer {
  #counter: number | undefined;

  /**
   * `decodable`: it follows on. `gap`: a base-layer frame is missing, so
   * nothing can be decoded before the next key frame, which should be asked
   * for. `waiting`: still no key frame. `late`: one that was passed over
   * before, which breaks nothing.
   */
  accept(frameType: FrameType, extension: Extension): "decodable" | "gap" | "waiting" | "late" {
    if (frameType === "audio") return "decodable";
    if (frameType === "key") {
      this.#counter = extension.mark;
      return "decodable";
    }
    if (this.#counter === undefined) return "waiting";
    const expected = extension.temporalLayer === 0 ? (this.#counter + 1) & 0xff : this.#counter;
    const ahead = (extension.mark - expected) & 0xff;
    if (ahead >= 128) return "late";
    if (ahead > 0) {
      this.#counter = undefined;
      return "gap";
    }
    this.#counter = extension.mark;
    return "decodable";
  }

  /** A decoder failed or frames were thrown away: wait for a key frame. */
  reset(): void {
    this.#counter = undefined;
  }
}

/** Remembers the frames of one encoding by timestamp; the oldest are forgotten. */
export class Deduplicator {
  readonly #capacity: number;
  readonly #seen = new Set<bigint>();
  /** Timestamps up to this were forgotten and count as seen. */
  #floor = -1n;

  constructor(capacity = 256) {
    this.#capacity = capacity;
  }

  /** True the first time. */
  isNew(timestamp: bigint): boolean {
    if (timestamp <= this.#floor || this.#seen.has(timestamp)) return false;
    this.#seen.add(timestamp);
    if (this.#seen.size > this.#capacity) {
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        if (oldest > this.#floor) this.#floor = oldest;
        break;
      }
    }
    return true;
  }
}
