// Framing of control streams (WIRE section 1): a 4-byte big-endian length, then
// one message. RTT packets share the stream and are told apart by their first
// byte, with which no protobuf message can begin.
import { ByteQueue } from "./bytes";
import { ProtocolError } from "./error";

/** Bytes of one message at most. */
export const MESSAGE_BYTES_MAX = 1 << 20;
/** Bytes of an RTT packet at most. */
export const RTT_BYTES_MAX = 64;
/** First byte of an RTT packet, on a control stream and in a datagram. */
export const RTT_TAG = 0x03;

const PREFIX_BYTES = 4;

export type Framed =
  | { readonly type: "message"; readonly bytes: Uint8Array }
  | { readonly type: "rtt"; readonly bytes: Uint8Array };

/** Splits a byte stream into messages; of no use after it has thrown. */
export class FramingDecoder {
  readonly #queue = new ByteQueue();
  readonly #limitBytes: number;

  constructor(limitBytes = MESSAGE_BYTES_MAX) {
    this.#limitBytes = limitBytes;
  }

  push(bytes: Uint8Array): void {
    this.#queue.push(bytes);
  }

  /** Bytes that no message has used yet; not 0 at the end: it was cut short. */
  get pendingBytes(): number {
    return this.#queue.length;
  }

  /**
   * The next whole message, `undefined` until more bytes arrive.
   * @throws {ProtocolError} for a length above the limit, before any of it is awaited
   */
  next(): Framed | undefined {
    const prefix = this.#queue.peek(PREFIX_BYTES);
    if (prefix === undefined) return undefined;
    const length = new DataView(prefix.buffer, prefix.byteOffset).getUint32(0);
    if (length > this.#limitBytes) {
      throw new ProtocolError(`a message of ${length} bytes is above ${this.#limitBytes}`);
    }
    if (this.#queue.length < PREFIX_BYTES + length) return undefined;
    this.#queue.take(PREFIX_BYTES);
    return classify(this.#queue.take(length) ?? new Uint8Array());
  }
}

/**
 * Tells an RTT packet from a message.
 * @throws {ProtocolError} when it is an RTT packet and too long
 */
export function classify(bytes: Uint8Array): Framed {
  if (bytes[0] !== RTT_TAG) return { type: "message", bytes };
  if (bytes.length > RTT_BYTES_MAX) {
    throw new ProtocolError(`an RTT packet of ${bytes.length} bytes is above ${RTT_BYTES_MAX}`);
  }
  return { type: "rtt", bytes };
}

/** One message (or RTT packet) behind its length. */
export function frame(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(PREFIX_BYTES + message.length);
  new DataView(out.buffer).setUint32(0, message.length);
  out.set(message, PREFIX_BYTES);
  return out;
}
