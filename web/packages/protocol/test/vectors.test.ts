// The shared vectors: what Rust writes and reads, byte for byte.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  DATAGRAM_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  Fragmenter,
  ProtocolError,
  Reassembler,
  SocketChannel,
  classify,
  closeCodeOfSocket,
  joinLabel,
  parseDatagram,
  parseDatagramHeader,
  parseFrameHeader,
  parseFrameMessage,
  parseStreamHeader,
  socketCloseCode,
  splitChannel,
  splitLabel,
  writeDatagramHeader,
  writeFrameHeader,
  writeOnChannel,
  writeStreamHeader,
  type Extension,
  type Flags,
  type FourCc,
  type FrameType,
  type MediaKind,
} from "../src";

const WIRE_TYPES: Record<string, FrameType> = {
  audio: "audio",
  video_key: "key",
  video_delta: "delta",
};

interface VectorExtension {
  encoding: number;
  temporal_layer: number;
  detail: number;
  fragment?: number;
  group: number;
}
interface HeaderFields {
  frame_type: string;
  timestamp_us: string;
  sequence: string;
  payload_bytes: number;
  flags: Flags;
  extension: VectorExtension;
}
interface Named<F> {
  name: string;
  hex: string;
  fields: F;
}
interface HeaderVectors {
  stream_headers: Named<{
    kind: MediaKind;
    stream_id: string;
    codec: FourCc;
    encoding: number;
    screen: boolean;
    group: number;
  }>[];
  frame_headers: Named<HeaderFields & { stream_id: string }>[];
  datagram_headers: Named<HeaderFields & { user_id: string; stream: number }>[];
  labels: { name: string; bits: number; generation: number; slot: number }[];
  invalid: { name: string; header: "stream" | "frame" | "datagram"; hex: string }[];
}
interface VectorFrame {
  frame_type: string;
  timestamp_us: string;
  discardable: boolean;
  extension: VectorExtension;
  payload: string;
}
interface FragmentVectors {
  cut: {
    name: string;
    datagram_bytes_max: number;
    first_sequence: string;
    frame: VectorFrame & { user_id: string; stream: number };
    datagrams: string[];
  }[];
  reassemble: { name: string; datagrams: string[]; frames: VectorFrame[] }[];
}

function load(file: string): unknown {
  const path = new URL(`../../../../proto/vectors/${file}`, import.meta.url);
  return JSON.parse(readFileSync(path, "utf8"));
}

const bytes = (hex: string) =>
  Uint8Array.from(hex.match(/../g) ?? [], (b) => Number.parseInt(b, 16));
const hex = (of: Uint8Array) => Array.from(of, (b) => b.toString(16).padStart(2, "0")).join("");

function extension(of: VectorExtension): Extension {
  return {
    encoding: of.encoding,
    temporalLayer: of.temporal_layer,
    mark: of.detail,
    fragment: of.fragment ?? 0,
    group: of.group,
  };
}

function common(fields: HeaderFields) {
  return {
    frameType: WIRE_TYPES[fields.frame_type] ?? "audio",
    timestamp: BigInt(fields.timestamp_us),
    sequence: BigInt(fields.sequence),
    payloadBytes: fields.payload_bytes,
    flags: fields.flags,
    extension: extension(fields.extension),
  };
}

const headers = load("media_headers.json") as HeaderVectors;
const fragments = load("media_fragments.json") as FragmentVectors;

describe("media headers", () => {
  it.each(headers.stream_headers)("stream: $name", (vector) => {
    const { stream_id: streamId, ...rest } = vector.fields;
    const header = { streamId, ...rest };
    expect(parseStreamHeader(bytes(vector.hex))).toEqual(header);
    expect(hex(writeStreamHeader(header))).toBe(vector.hex);
  });

  it.each(headers.frame_headers)("frame: $name", (vector) => {
    const header = { ...common(vector.fields), streamId: vector.fields.stream_id };
    expect(parseFrameHeader(bytes(vector.hex))).toEqual(header);
    const out = new Uint8Array(FRAME_HEADER_BYTES);
    writeFrameHeader(header, out);
    expect(hex(out)).toBe(vector.hex);
  });

  it.each(headers.datagram_headers)("datagram: $name", (vector) => {
    const { user_id, stream } = vector.fields;
    const header = { ...common(vector.fields), userId: BigInt(user_id), label: stream };
    expect(parseDatagramHeader(bytes(vector.hex))).toEqual(header);
    const out = new Uint8Array(DATAGRAM_HEADER_BYTES);
    writeDatagramHeader(header, out);
    expect(hex(out)).toBe(vector.hex);
  });

  it.each(headers.labels)("label: $name", ({ bits, generation, slot }) => {
    expect(joinLabel(generation, slot)).toBe(bits);
    expect(splitLabel(bits)).toEqual({ generation: generation & 0xff, slot });
  });

  it.each(headers.invalid)("refused: $name", (vector) => {
    const parse = {
      stream: parseStreamHeader,
      frame: parseFrameHeader,
      datagram: parseDatagramHeader,
    }[vector.header];
    expect(() => parse(bytes(vector.hex))).toThrow(ProtocolError);
  });
});

describe("fragments", () => {
  it.each(fragments.cut)("cut: $name", (vector) => {
    const { frame } = vector;
    const fragmenter = new Fragmenter(
      BigInt(frame.user_id),
      frame.stream,
      frame.extension.encoding,
      BigInt(vector.first_sequence),
    );
    const datagrams = fragmenter.cut(
      {
        frameType: WIRE_TYPES[frame.frame_type] ?? "audio",
        timestamp: BigInt(frame.timestamp_us),
        discardable: frame.discardable,
        temporalLayer: frame.extension.temporal_layer,
        mark: frame.extension.detail,
        group: frame.extension.group,
        payload: bytes(frame.payload),
      },
      vector.datagram_bytes_max,
    );
    expect(datagrams.map(hex)).toEqual(vector.datagrams);
  });

  it.each(fragments.reassemble)("reassemble: $name", (vector) => {
    const reassembler = new Reassembler();
    const frames = [];
    for (const datagram of vector.datagrams) {
      let parsed;
      try {
        parsed = parseDatagram(bytes(datagram));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
        continue;
      }
      const whole = reassembler.push("stream", parsed, 0);
      if (whole !== undefined) frames.push(whole);
    }
    expect(frames.map((whole) => [String(whole.header.timestamp), hex(whole.payload)])).toEqual(
      vector.frames.map((frame) => [frame.timestamp_us, frame.payload]),
    );
  });
});

interface SocketVectors {
  messages: {
    name: string;
    hex: string;
    channel: "control" | "stream" | "frame" | "datagram";
    body?: string;
    stream_id?: string;
    encoding?: number;
    group?: number;
    payload?: string;
  }[];
  invalid: { name: string; hex: string }[];
  close_codes: { session: number; socket: number }[];
  foreign_close_codes: { socket: number; session: number | null }[];
}
const socket = load("media_socket.json") as SocketVectors;

/** Everything that a message is, read as the carrier reads it. */
function readSocket(message: Uint8Array): Record<string, unknown> {
  const { channel, body } = splitChannel(message);
  switch (channel) {
    case SocketChannel.control:
      return { channel: "control", body: hex(classify(body).bytes) };
    case SocketChannel.datagram:
      return { channel: "datagram", body: hex(body) };
    case SocketChannel.group: {
      const { streamId, encoding, group } = parseStreamHeader(body);
      return { channel: "stream", stream_id: streamId, encoding, group: group & 0xffff };
    }
    case SocketChannel.frame: {
      const { header, payload } = parseFrameMessage(body);
      const { encoding, group } = header.extension;
      return {
        channel: "frame",
        stream_id: header.streamId,
        encoding,
        group,
        payload: hex(payload),
      };
    }
  }
}

describe("media on a WebSocket", () => {
  it.each(socket.messages)("message: $name", ({ name: _, hex: written, ...meaning }) => {
    expect(readSocket(bytes(written))).toEqual(meaning);
    const { channel, body } = splitChannel(bytes(written));
    expect(hex(writeOnChannel(channel, body))).toBe(written);
  });

  it.each(socket.invalid)("refused: $name", ({ hex: written }) => {
    expect(() => readSocket(bytes(written))).toThrow(ProtocolError);
  });

  it.each([
    [SocketChannel.control, 1 << 20],
    [SocketChannel.group, 32],
    [SocketChannel.frame, 46 + (4 << 20)],
    [SocketChannel.datagram, 1200],
  ])("refuses on channel %i more than %i bytes", (channel, bytesMax) => {
    const body = new Uint8Array(bytesMax);
    expect(splitChannel(writeOnChannel(channel, body)).body).toHaveLength(bytesMax);
    const longer = writeOnChannel(channel, new Uint8Array(bytesMax + 1));
    expect(() => splitChannel(longer)).toThrow(ProtocolError);
  });

  it("tells how a session ended", () => {
    for (const { session, socket: code } of socket.close_codes) {
      expect(socketCloseCode(session)).toBe(code);
      expect(closeCodeOfSocket(code)).toBe(session);
    }
    expect(socketCloseCode(0x1_0000)).toBe(4999);
    for (const { session, socket: code } of socket.foreign_close_codes) {
      expect(closeCodeOfSocket(code)).toBe(session ?? undefined);
    }
  });
});
