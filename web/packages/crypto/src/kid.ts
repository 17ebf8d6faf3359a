// What stands before and around a sealed frame (RFC 9605 section 4.3): the
// header with key id and counter, the parts of our key ids, the additional
// data. Bytes only; the keys are in sframe.ts.

/** A byte, a key id and a counter of up to 8 bytes each. */
export const HEADER_BYTES_MAX = 17;
const LEAF_MAX = 0xfff;
const ENCODING_MAX = 0xf;
const STREAM_MAX = 0xff;
const AAD_BYTES = 27;
const U64_MAX = (1n << 64n) - 1n;

export interface SframeHeader {
  readonly kid: bigint;
  readonly counter: bigint;
  /** Length of the header. */
  readonly bytes: number;
}

/** The parts of a key id: stream 8 bits, encoding 4, leaf 12, epoch 8. */
export interface Kid {
  /** The sender's number for the stream. */
  readonly stream: number;
  readonly encoding: number;
  /** The sender's leaf. */
  readonly leaf: number;
  /** The low 8 bits of the epoch. */
  readonly epoch: number;
}

/** Whether the parts fit into a key id; `epoch` may be a whole one. */
export function fitsKid(stream: number, encoding: number, leaf: number): boolean {
  return within(stream, STREAM_MAX) && within(encoding, ENCODING_MAX) && within(leaf, LEAF_MAX);
}

function within(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

/** As an unsigned number of 32 bits. */
export function writeKid(kid: Kid): number {
  return ((kid.stream << 24) | (kid.encoding << 20) | (kid.leaf << 8) | (kid.epoch & 0xff)) >>> 0;
}

export function readKid(kid: number): Kid {
  return {
    stream: kid >>> 24,
    encoding: (kid >>> 20) & ENCODING_MAX,
    leaf: (kid >>> 8) & LEAF_MAX,
    epoch: kid & 0xff,
  };
}

/** The shortest header for these; both are at most 64 bits. */
export function writeHeader(kid: bigint, counter: bigint): Uint8Array<ArrayBuffer> {
  if (kid < 0n || kid > U64_MAX || counter < 0n || counter > U64_MAX) {
    throw new RangeError("key id and counter have 64 bits");
  }
  const kidBytes = kid < 8n ? 0 : bytesOf(kid);
  const counterBytes = counter < 8n ? 0 : bytesOf(counter);
  const header = new Uint8Array(1 + kidBytes + counterBytes);
  const x = kidBytes === 0 ? Number(kid) : 0x8 | (kidBytes - 1);
  const y = counterBytes === 0 ? Number(counter) : 0x8 | (counterBytes - 1);
  header[0] = (x << 4) | y;
  put(header, 1, kidBytes, kid);
  put(header, 1 + kidBytes, counterBytes, counter);
  return header;
}

/** Undefined when it is cut short. */
export function readHeader(bytes: Uint8Array): SframeHeader | undefined {
  const first = bytes[0];
  if (first === undefined) return undefined;
  const kidBytes = (first & 0x80) === 0 ? 0 : ((first >> 4) & 7) + 1;
  const counterBytes = (first & 0x08) === 0 ? 0 : (first & 7) + 1;
  const end = 1 + kidBytes + counterBytes;
  if (bytes.length < end) return undefined;
  return {
    kid: kidBytes === 0 ? BigInt((first >> 4) & 7) : take(bytes, 1, kidBytes),
    counter: counterBytes === 0 ? BigInt(first & 7) : take(bytes, 1 + kidBytes, counterBytes),
    bytes: end,
  };
}

/** Bytes that a number takes. */
function bytesOf(value: bigint): number {
  let bytes = 1;
  for (let left = value >> 8n; left > 0n; left >>= 8n) bytes += 1;
  return bytes;
}

function put(into: Uint8Array, at: number, bytes: number, value: bigint): void {
  let left = value;
  for (let i = at + bytes - 1; i >= at; i--) {
    into[i] = Number(left & 0xffn);
    left >>= 8n;
  }
}

function take(from: Uint8Array, at: number, bytes: number): bigint {
  let value = 0n;
  for (let i = at; i < at + bytes; i++) value = (value << 8n) | BigInt(from[i] ?? 0);
  return value;
}

/**
 * What is authenticated of a frame beside its payload (WIRE 2.6): nothing in it
 * is rewritten on the way.
 *
 * @param frameType 0 audio, 1 video key, 2 video delta
 * @param stream the stream's UUID, 16 bytes
 * @param extension0 byte 0 of the header's extension
 * @param timestampUs microseconds since the Unix epoch
 */
export function frameAad(
  frameType: number,
  stream: Uint8Array,
  extension0: number,
  timestampUs: bigint,
  discardable: boolean,
): Uint8Array<ArrayBuffer> {
  const aad = new Uint8Array(AAD_BYTES);
  aad[0] = frameType;
  aad.set(stream.subarray(0, 16), 1);
  aad[17] = extension0;
  new DataView(aad.buffer).setBigUint64(18, timestampUs);
  aad[26] = discardable ? 1 : 0;
  return aad;
}
