// Whatever a peer sends: parsers give a value or their own error, and hold no
// more than they say.
import { describe, expect, it } from "vitest";
import {
  FRAME_HEADER_BYTES,
  Fragmenter,
  FramingDecoder,
  GroupParser,
  ProtocolError,
  Reassembler,
  frame,
  parseDatagram,
  parseFrameHeader,
  parseStreamHeader,
  readMediaServerMessage,
  readServerMessage,
  writeFrameHeader,
  writeStreamHeader,
  type StreamHeader,
} from "../src";
import { type Random, forSeeds } from "./random";

function valueOrOwnError(parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
}

const STREAM: StreamHeader = {
  kind: "video",
  streamId: "550e8400-e29b-41d4-a716-446655440000",
  codec: "vp08",
  encoding: 0,
  screen: false,
  group: 1,
};

function groupBytes(payloads: readonly Uint8Array[]): Uint8Array {
  const parts: Uint8Array[] = [writeStreamHeader(STREAM)];
  for (const [index, payload] of payloads.entries()) {
    const out = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
    writeFrameHeader(
      {
        frameType: index === 0 ? "key" : "delta",
        streamId: STREAM.streamId,
        timestamp: BigInt(index),
        sequence: BigInt(index),
        payloadBytes: payload.length,
        flags: { start: true, end: true, discardable: false },
        extension: { encoding: 0, temporalLayer: 0, mark: index & 255, fragment: 0, group: 1 },
      },
      out,
    );
    out.set(payload, FRAME_HEADER_BYTES);
    parts.push(out);
  }
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function* pieces(of: Uint8Array, random: Random): Generator<Uint8Array> {
  for (let at = 0; at < of.length;) {
    const size = 1 + random.below(90);
    yield of.subarray(at, at + size);
    at += size;
  }
}

describe("any bytes", () => {
  it("are read or refused by every parser", () => {
    forSeeds(400, (random) => {
      const bytes = random.bytes(random.below(300));
      for (const parse of [
        parseStreamHeader,
        parseFrameHeader,
        parseDatagram,
        readServerMessage,
        readMediaServerMessage,
      ]) {
        valueOrOwnError(() => parse(bytes));
      }
      valueOrOwnError(() => {
        const parser = new GroupParser();
        parser.push(bytes);
        while (parser.next() !== undefined);
      });
      valueOrOwnError(() => {
        const decoder = new FramingDecoder(128);
        decoder.push(bytes);
        while (decoder.next() !== undefined);
      });
    });
  });

  it("after a valid beginning are read or refused", () => {
    forSeeds(400, (random) => {
      const bytes = groupBytes([random.bytes(random.below(200)), random.bytes(random.below(50))]);
      for (let i = 0; i < 3; i++) bytes[random.below(bytes.length)] = random.below(256);
      valueOrOwnError(() => {
        const parser = new GroupParser();
        parser.push(bytes.subarray(0, random.below(bytes.length)));
        while (parser.next() !== undefined);
      });
    });
  });
});

describe("control streams", () => {
  it("give messages whole however they are cut", () => {
    forSeeds(100, (random) => {
      const messages = Array.from({ length: random.below(8) }, () =>
        random.bytes(random.below(200)),
      );
      for (const message of messages) if (message[0] === 3) message[0] = 4;
      const stream = Uint8Array.from(messages.flatMap((one) => [...frame(one)]));
      const decoder = new FramingDecoder();
      const seen: Uint8Array[] = [];
      for (const piece of pieces(stream, random)) {
        decoder.push(piece);
        for (let next = decoder.next(); next !== undefined; next = decoder.next())
          seen.push(next.bytes);
      }
      expect(seen).toEqual(messages);
      expect(decoder.pendingBytes).toBe(0);
    });
  });

  it("refuse a length above the limit before the message arrives", () => {
    const decoder = new FramingDecoder(16);
    decoder.push(Uint8Array.of(255, 255, 255, 255));
    expect(() => decoder.next()).toThrow(ProtocolError);
  });

  it("tell RTT packets from messages, and refuse long ones", () => {
    const decoder = new FramingDecoder();
    decoder.push(frame(Uint8Array.of(3, 1)));
    expect(decoder.next()).toEqual({ type: "rtt", bytes: Uint8Array.of(3, 1) });
    decoder.push(frame(new Uint8Array(65).fill(3)));
    expect(() => decoder.next()).toThrow(ProtocolError);
  });
});

describe("groups", () => {
  it("give frames whole however they are cut", () => {
    forSeeds(100, (random) => {
      const payloads = Array.from({ length: 1 + random.below(5) }, () =>
        random.bytes(random.below(300)),
      );
      const parser = new GroupParser();
      const seen: Uint8Array[] = [];
      for (const piece of pieces(groupBytes(payloads), random)) {
        parser.push(piece);
        for (let item = parser.next(); item !== undefined; item = parser.next()) {
          if (item.type === "frame") seen.push(item.payload);
        }
      }
      expect(seen).toEqual(payloads);
      expect(parser.atFrameBoundary).toBe(true);
    });
  });

  it("refuse a frame of another stream", () => {
    const bytes = groupBytes([Uint8Array.of(1)]);
    bytes[32 + 2] = 0;
    const parser = new GroupParser();
    parser.push(bytes);
    parser.next();
    expect(() => parser.next()).toThrow(ProtocolError);
  });
});

describe("reassembly", () => {
  it("gives every frame once, in whatever order fragments come", () => {
    forSeeds(60, (random) => {
      const fragmenter = new Fragmenter(1n, 1, 0);
      const payloads = Array.from({ length: 6 }, () => random.bytes(random.below(2000)));
      const datagrams = payloads.flatMap((payload, i) =>
        fragmenter.cut(
          {
            frameType: "delta",
            timestamp: BigInt(i),
            discardable: false,
            temporalLayer: 0,
            mark: i,
            group: 0,
            payload,
          },
          142,
        ),
      );
      const shuffled = datagrams
        .flatMap((one) => (random.chance(20) ? [one, one] : [one]))
        .map((one) => ({ one, at: random.next() }))
        .sort((a, b) => a.at - b.at);
      const reassembler = new Reassembler();
      const seen = new Map<bigint, Uint8Array>();
      for (const { one } of shuffled) {
        const whole = reassembler.push("s", parseDatagram(one), 0);
        // A single datagram may come twice: deduplication is above.
        if (whole !== undefined) seen.set(whole.header.timestamp, whole.payload);
      }
      expect([...seen.keys()].sort((a, b) => Number(a - b))).toEqual(
        payloads.map((_, i) => BigInt(i)),
      );
      for (const [i, payload] of payloads.entries()) expect(seen.get(BigInt(i))).toEqual(payload);
    });
  });

  it("holds no more than its limits, whatever comes", () => {
    forSeeds(20, (random) => {
      const reassembler = new Reassembler({ framesMax: 5, bytesMax: 3000, ageMaxMs: 500 });
      let now = 0;
      for (let i = 0; i < 500; i++) {
        now += random.below(20);
        const fragmenter = new Fragmenter(1n, 1, 0, BigInt(random.below(50)));
        const cut = fragmenter.cut(
          {
            frameType: "delta",
            timestamp: BigInt(random.below(30)),
            discardable: false,
            temporalLayer: 0,
            mark: 0,
            group: 0,
            payload: random.bytes(1 + random.below(3000)),
          },
          400,
        );
        const one = cut[random.below(cut.length)];
        if (one !== undefined) reassembler.push("s", parseDatagram(one), now);
        expect(reassembler.heldBytes).toBeLessThanOrEqual(3000);
      }
    });
  });

  it("forgets unfinished frames after their time", () => {
    const cut = new Fragmenter(1n, 1, 0).cut(
      {
        frameType: "key",
        timestamp: 1n,
        discardable: false,
        temporalLayer: 0,
        mark: 0,
        group: 0,
        payload: new Uint8Array(500),
      },
      300,
    );
    const [first, second] = cut;
    if (first === undefined || second === undefined) throw new Error("two fragments were expected");
    const reassembler = new Reassembler();
    expect(reassembler.push("s", parseDatagram(first), 0)).toBeUndefined();
    expect(reassembler.push("s", parseDatagram(second), 501)).toBeUndefined();
    expect(reassembler.droppedFrames).toBe(1);
  });
});
