// Media headers of both carriers (WIRE sections 2.2 to 2.5), big-endian. Every
// field is checked when it is read, so that what is above sees legal headers
// only. Numbers of 64 bits stay bigint: they are the peer's and may be any.
import { ProtocolError } from "./error";
import { uuidFromBytes, uuidToBytes } from "./uuid";

export const STREAM_HEADER_BYTES = 32;
export const FRAME_HEADER_BYTES = 46;
export const DATAGRAM_HEADER_BYTES = 42;
/** Bytes of one frame's payload at most. */
export const PAYLOAD_BYTES_MAX = 4 << 20;
/** Bytes of a whole datagram at most, header included. */
export const DATAGRAM_BYTES_MAX = 1100;
/** A whole datagram of this size passes where the limit is not known yet. */
export const DATAGRAM_BYTES_SAFE = 1000;
/** First byte of a media datagram; it is the version of its header too. */
export const DATAGRAM_TAG = 0x02;

const MAGIC = 0x44415254;
const STREAM_VERSION = 1;

export type FrameType = "audio" | "key" | "delta";
export type MediaKind = "audio" | "video";
export type FourCc = "opus" | "vp08" | "vp09" | "av01" | "avc1";

const FRAME_TYPES: readonly FrameType[] = ["audio", "key", "delta"];
const KINDS: readonly MediaKind[] = ["audio", "video"];
const CODECS: readonly FourCc[] = ["opus", "vp08", "vp09", "av01", "avc1"];

export interface StreamHeader {
  readonly kind: MediaKind;
  /** UUID of the media stream, lower case. */
  readonly streamId: string;
  readonly codec: FourCc;
  /** Simulcast layer, 0 to 15, 0 the smallest. */
  readonly encoding: number;
  readonly screen: boolean;
  /** Counts groups of this encoding, u32. */
  readonly group: number;
}

export interface Flags {
  readonly end: boolean;
  readonly discardable: boolean;
  readonly start: boolean;
}

export interface Extension {
  /** 0 to 15. */
  readonly encoding: number;
  /** 0 to 15. */
  readonly temporalLayer: number;
  /** Audio: the level byte of RFC 6464. Video: the base-layer counter. */
  readonly mark: number;
  /** Place in the frame, on the datagram carrier. */
  readonly fragment: number;
  /** Low 16 bits of the group number. */
  readonly group: number;
}

export interface FrameHeader {
  readonly frameType: FrameType;
  readonly streamId: string;
  /** Microseconds since the Unix epoch at capture. */
  readonly timestamp: bigint;
  readonly sequence: bigint;
  readonly payloadBytes: number;
  readonly flags: Flags;
  readonly extension: Extension;
}

export interface DatagramHeader {
  readonly frameType: FrameType;
  readonly userId: bigint;
  /** Upstream the sender's stream number, downstream generation and slot. */
  readonly label: number;
  /** Microseconds since the Unix epoch at capture. */
  readonly timestamp: bigint;
  /** Counts datagrams of the encoding. */
  readonly sequence: bigint;
  readonly payloadBytes: number;
  readonly flags: Flags;
  readonly extension: Extension;
}

export function kindOf(frameType: FrameType): MediaKind {
  return frameType === "audio" ? "audio" : "video";
}

/** @throws {ProtocolError} when it is short or not a header of this version */
export function parseStreamHeader(bytes: Uint8Array): StreamHeader {
  const view = viewOf(bytes, STREAM_HEADER_BYTES, "stream header");
  if (view.getUint32(0) !== MAGIC) throw new ProtocolError("not a media stream");
  if (view.getUint8(4) !== STREAM_VERSION) throw new ProtocolError("unknown media stream version");
  const kind = KINDS[view.getUint8(5)];
  if (kind === undefined) throw new ProtocolError("unknown media stream type");
  const codec = CODECS.find((c) => c === String.fromCharCode(...bytes.subarray(22, 26)));
  if (codec === undefined) throw new ProtocolError("unknown codec");
  if ((codec === "opus") !== (kind === "audio")) {
    throw new ProtocolError("the codec is not one of the stream's type");
  }
  const encoding = view.getUint8(26);
  if (encoding > 15) throw new ProtocolError("encoding number above 15");
  const bits = view.getUint8(27);
  if (bits > 1) throw new ProtocolError("reserved bits of the stream header are set");
  return {
    kind,
    streamId: uuidFromBytes(bytes.subarray(6, 22)),
    codec,
    encoding,
    screen: bits === 1,
    group: view.getUint32(28),
  };
}

export function writeStreamHeader(header: StreamHeader): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(STREAM_HEADER_BYTES);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC);
  view.setUint8(4, STREAM_VERSION);
  view.setUint8(5, KINDS.indexOf(header.kind));
  out.set(uuidToBytes(header.streamId), 6);
  for (let i = 0; i < 4; i++) view.setUint8(22 + i, header.codec.charCodeAt(i));
  view.setUint8(26, header.encoding);
  view.setUint8(27, header.screen ? 1 : 0);
  view.setUint32(28, header.group);
  return out;
}

/** @throws {ProtocolError} when it is short, of another version, or a field is illegal */
export function parseFrameHeader(bytes: Uint8Array): FrameHeader {
  const view = viewOf(bytes, FRAME_HEADER_BYTES, "frame header");
  if (view.getUint8(0) !== STREAM_VERSION) throw new ProtocolError("unknown frame version");
  return {
    frameType: frameTypeOf(view.getUint8(1)),
    streamId: uuidFromBytes(bytes.subarray(2, 18)),
    timestamp: view.getBigUint64(18),
    sequence: view.getBigUint64(26),
    payloadBytes: payloadLength(view.getUint32(34)),
    flags: parseFlags(view.getUint16(38)),
    extension: parseExtension(view, 40),
  };
}

export function writeFrameHeader(header: FrameHeader, out: Uint8Array): void {
  const view = new DataView(out.buffer, out.byteOffset, FRAME_HEADER_BYTES);
  view.setUint8(0, STREAM_VERSION);
  view.setUint8(1, FRAME_TYPES.indexOf(header.frameType));
  out.set(uuidToBytes(header.streamId), 2);
  view.setBigUint64(18, header.timestamp);
  view.setBigUint64(26, header.sequence);
  view.setUint32(34, header.payloadBytes);
  view.setUint16(38, flagBits(header.flags));
  writeExtension(view, 40, header.extension);
}

/** @throws {ProtocolError} when it is short, of another version, or a field is illegal */
export function parseDatagramHeader(bytes: Uint8Array): DatagramHeader {
  const view = viewOf(bytes, DATAGRAM_HEADER_BYTES, "datagram header");
  if (view.getUint8(0) !== DATAGRAM_TAG) throw new ProtocolError("not a media datagram");
  return {
    frameType: frameTypeOf(view.getUint8(1)),
    userId: view.getBigUint64(2),
    label: view.getUint32(10),
    timestamp: view.getBigUint64(14),
    sequence: view.getBigUint64(22),
    payloadBytes: payloadLength(view.getUint32(30)),
    flags: parseFlags(view.getUint16(34)),
    extension: parseExtension(view, 36),
  };
}

export function writeDatagramHeader(header: DatagramHeader, out: Uint8Array): void {
  const view = new DataView(out.buffer, out.byteOffset, DATAGRAM_HEADER_BYTES);
  view.setUint8(0, DATAGRAM_TAG);
  view.setUint8(1, FRAME_TYPES.indexOf(header.frameType));
  view.setBigUint64(2, header.userId);
  view.setUint32(10, header.label);
  view.setBigUint64(14, header.timestamp);
  view.setBigUint64(22, header.sequence);
  view.setUint32(30, header.payloadBytes);
  view.setUint16(34, flagBits(header.flags));
  writeExtension(view, 36, header.extension);
}

/** Generation (low 8 bits) and slot of a downstream datagram's label. */
export function splitLabel(label: number): { generation: number; slot: number } {
  return { generation: label >>> 24, slot: label & 0xff_ffff };
}

export function joinLabel(generation: number, slot: number): number {
  return (((generation & 0xff) << 24) | (slot & 0xff_ffff)) >>> 0;
}

function viewOf(bytes: Uint8Array, needed: number, what: string): DataView {
  if (bytes.length < needed) {
    throw new ProtocolError(`a ${what} needs ${needed} bytes, not ${bytes.length}`);
  }
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function frameTypeOf(byte: number): FrameType {
  const frameType = FRAME_TYPES[byte];
  if (frameType === undefined) throw new ProtocolError("unknown frame type");
  return frameType;
}

function payloadLength(bytes: number): number {
  if (bytes > PAYLOAD_BYTES_MAX) {
    throw new ProtocolError(`a payload of ${bytes} bytes is above ${PAYLOAD_BYTES_MAX}`);
  }
  return bytes;
}

function parseFlags(bits: number): Flags {
  if (bits > 0b111) throw new ProtocolError("reserved flags are set");
  return { end: (bits & 1) !== 0, discardable: (bits & 2) !== 0, start: (bits & 4) !== 0 };
}

function flagBits(flags: Flags): number {
  return (flags.end ? 1 : 0) | (flags.discardable ? 2 : 0) | (flags.start ? 4 : 0);
}

function parseExtension(view: DataView, at: number): Extension {
  const first = view.getUint8(at);
  return {
    encoding: first >> 4,
    temporalLayer: first & 15,
    mark: view.getUint8(at + 1),
    fragment: view.getUint16(at + 2),
    group: view.getUint16(at + 4),
  };
}

function writeExtension(view: DataView, at: number, extension: Extension): void {
  view.setUint8(at, (extension.encoding << 4) | extension.temporalLayer);
  view.setUint8(at + 1, extension.mark);
  view.setUint16(at + 2, extension.fragment);
  view.setUint16(at + 4, extension.group & 0xffff);
}
