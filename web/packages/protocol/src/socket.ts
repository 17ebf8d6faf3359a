// The WebSocket's way to carry a media session (WIRE section 2): each binary
// message is one byte of channel and the bytes it carries. Writing and reading
// of single messages; which group a frame belongs to is known above.
import { ProtocolError } from "./error";
import { MESSAGE_BYTES_MAX } from "./framing";
import {
  FRAME_HEADER_BYTES,
  PAYLOAD_BYTES_MAX,
  STREAM_HEADER_BYTES,
  kindOf,
  parseFrameHeader,
  type FrameHeader,
  type StreamHeader,
} from "./headers";

/** The first byte of a message. */
export const SocketChannel = {
  /** One control message or RTT packet, without a length before it. */
  control: 0,
  /** A stream header: opens a group and ends the one before it of its encoding. */
  group: 1,
  /** One frame, header and payload, of the open group of its encoding. */
  frame: 2,
  datagram: 3,
} as const;

export type SocketChannel = (typeof SocketChannel)[keyof typeof SocketChannel];

/** Application close codes of a session travel on a WebSocket as this and the code. */
export const SOCKET_CLOSE_BASE = 4000;
/** Largest application close code that a WebSocket can tell. */
const SOCKET_CLOSE_MAX = 999;

const CHANNELS: readonly SocketChannel[] = [
  SocketChannel.control,
  SocketChannel.group,
  SocketChannel.frame,
  SocketChannel.datagram,
];

/**
 * What codes of RFC 6455 section 7.4.1 mean for a session: who serves a WebSocket,
 * and what stands before it, closes with them too. The same in both languages.
 */
const CODES_OF_RFC_6455: ReadonlyMap<number, number> = new Map([
  // Normal, going away, none given: graceful.
  ...[1000, 1001, 1005].map((code) => [code, 0] as const),
  // Protocol, unsupported data, invalid data, too big: a protocol error.
  ...[1002, 1003, 1007, 1009].map((code) => [code, 1] as const),
  // Policy: quota exceeded. Internal error. Restart: shutting down.
  [1008, 3],
  [1011, 4],
  [1012, 8],
]);

/** What is read; media datagrams are shorter, as their parser knows. */
const DATAGRAM_MESSAGE_BYTES_MAX = 1200;

/** Bytes behind the channel byte at most. */
const BODY_BYTES_MAX: Readonly<Record<SocketChannel, number>> = {
  [SocketChannel.control]: MESSAGE_BYTES_MAX,
  [SocketChannel.group]: STREAM_HEADER_BYTES,
  [SocketChannel.frame]: FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX,
  [SocketChannel.datagram]: DATAGRAM_MESSAGE_BYTES_MAX,
};

/** The message that carries `body` on `channel`. */
export function writeOnChannel(channel: SocketChannel, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(1 + body.length);
  out[0] = channel;
  out.set(body, 1);
  return out;
}

/** @throws {ProtocolError} when it is empty, of an unknown channel or too long for it */
export function splitChannel(message: Uint8Array): {
  readonly channel: SocketChannel;
  readonly body: Uint8Array;
} {
  const channel = CHANNELS.find((known) => known === message[0]);
  if (channel === undefined) throw new ProtocolError("a message of no known channel");
  const body = message.subarray(1);
  if (body.length > BODY_BYTES_MAX[channel]) {
    throw new ProtocolError(`a message of ${body.length} bytes is too long for its channel`);
  }
  return { channel, body };
}

/** @throws {ProtocolError} when the header is illegal or the payload of another length than it says */
export function parseFrameMessage(body: Uint8Array): {
  readonly header: FrameHeader;
  readonly payload: Uint8Array;
} {
  const header = parseFrameHeader(body);
  const payload = body.subarray(FRAME_HEADER_BYTES);
  if (payload.length !== header.payloadBytes) {
    throw new ProtocolError(`a frame of ${payload.length} bytes says ${header.payloadBytes}`);
  }
  return { header, payload };
}

/** Whether a frame may stand in a group that this header opened; numbers aside. */
export function frameFits(frame: FrameHeader, group: StreamHeader): boolean {
  return (
    frame.streamId === group.streamId &&
    frame.extension.encoding === group.encoding &&
    kindOf(frame.frameType) === group.kind
  );
}

/** What a WebSocket is closed with for a session's close code. */
export function socketCloseCode(code: number): number {
  return SOCKET_CLOSE_BASE + Math.min(Math.max(code, 0), SOCKET_CLOSE_MAX);
}

/** The session's close code; undefined when the WebSocket broke. */
export function closeCodeOfSocket(code: number): number | undefined {
  const own = code - SOCKET_CLOSE_BASE;
  return own >= 0 && own <= SOCKET_CLOSE_MAX ? own : CODES_OF_RFC_6455.get(code);
}
