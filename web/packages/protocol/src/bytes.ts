// Bytes that arrive in pieces, taken out in the sizes the wire says. It holds
// what was pushed and not taken; the parsers above it bound that by refusing a
// length before they wait for it.

/** A first-in first-out queue of bytes that copies only across pieces. */
export class ByteQueue {
  #chunks: Uint8Array[] = [];
  #length = 0;

  /** Bytes that can be taken. */
  get length(): number {
    return this.#length;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The first `bytes` without taking them; `undefined` while there are fewer. */
  peek(bytes: number): Uint8Array | undefined {
    if (this.#length < bytes) return undefined;
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= bytes) return first.subarray(0, bytes);
    const joined = new Uint8Array(bytes);
    let filled = 0;
    for (const chunk of this.#chunks) {
      if (filled === bytes) break;
      const part = chunk.subarray(0, bytes - filled);
      joined.set(part, filled);
      filled += part.length;
    }
    return joined;
  }

  /** Takes the first `bytes`; `undefined`, and nothing taken, while there are fewer. */
  take(bytes: number): Uint8Array | undefined {
    const taken = this.peek(bytes);
    if (taken === undefined) return undefined;
    this.#length -= bytes;
    let left = bytes;
    let whole = 0;
    for (const chunk of this.#chunks) {
      if (left < chunk.length) break;
      left -= chunk.length;
      whole += 1;
    }
    this.#chunks.splice(0, whole);
    const first = this.#chunks[0];
    if (left > 0 && first !== undefined) this.#chunks[0] = first.subarray(left);
    return taken;
  }
}
