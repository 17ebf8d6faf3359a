import {
  GroupParser,
  parseDatagram,
  writeStreamHeader,
  type StreamHeader,
} from "@darktower/protocol";
import { streamId } from "@darktower/session";
import { describe, expect, it } from "vitest";
import { AudioSink } from "../src/worker/audio-sink";
import type { GroupStream } from "../src/worker/carrier/types";
import { Encryption } from "../src/worker/encryption";
import { Outgoing, type MediaPath, type OutgoingStream } from "../src/worker/outgoing";

const STREAM = streamId("0194b2a0-0000-7000-8000-000000000001");
const bytes = (length: number) => new Uint8Array(length);

class Path implements MediaPath {
  ready = true;
  datagramBytes = 1000;
  closed = 0;
  readonly datagrams: Uint8Array[] = [];
  readonly streams: { header: StreamHeader; order: number; parser: GroupParser }[] = [];

  sendDatagram(datagram: Uint8Array): void {
    this.datagrams.push(datagram);
  }

  openGroup(header: StreamHeader, order: number): Promise<GroupStream> {
    const parser = new GroupParser();
    parser.push(writeStreamHeader(header));
    this.streams.push({ header, order, parser });
    return Promise.resolve({
      write: (frame) => {
        parser.push(frame);
        return Promise.resolve();
      },
      close: () => {
        this.closed += 1;
        return Promise.resolve();
      },
      abort: () => undefined,
    });
  }
}

function outgoing(stream: Partial<OutgoingStream>, path: Path): Outgoing {
  const nothing = (): void => undefined;
  const events = { keys: nothing, send: nothing, position: nothing, shown: nothing };
  const encryption = new Encryption({ ...events, unsupported: nothing });
  const about = {
    streamId: STREAM,
    number: 3,
    kind: "audio",
    codec: "opus",
    screen: false,
  } as const;
  const out = new Outgoing({ ...about, ...stream }, encryption, nothing);
  out.userId = 1n;
  out.links = [path];
  return out;
}

describe("sound", () => {
  const say = (out: Outgoing, timestamp: number): void => {
    out.send({ frameType: "audio", timestamp, mark: 127, payload: bytes(60) });
  };

  it("goes out once, and where it gets lost each packet again with the next", () => {
    const path = new Path();
    const out = outgoing({}, path);
    say(out, 1);
    out.repeats = 1;
    say(out, 2);
    say(out, 3);
    out.repeats = 2;
    say(out, 4);
    say(out, 5);
    out.repeats = 0;
    say(out, 6);
    say(out, 7);
    const sent = path.datagrams.map((one) => Number(parseDatagram(one).header.timestamp));
    expect(sent).toEqual([1, 2, 3, 2, 4, 3, 5, 4, 3, 6, 7]);
  });

  it("that came twice is heard once, and what came only the second time is not missing", () => {
    const path = new Path();
    const out = outgoing({}, path);
    out.repeats = 1;
    for (let i = 1; i <= 20; i++) say(out, i * 20_000);
    const decoded: number[] = [];
    const gaps: string[] = [];
    Object.assign(globalThis, fakeAudio(decoded));
    const sink = new AudioSink(
      STREAM,
      1,
      (message) => gaps.push(message.type),
      () => undefined,
    );
    // Every other packet is lost, and none of the copies.
    for (const [i, datagram] of path.datagrams.entries()) {
      if (i % 4 !== 1) sink.datagram(parseDatagram(datagram));
    }
    expect(decoded).toEqual([...new Set(decoded)]);
    expect(decoded.length).toBeGreaterThanOrEqual(19);
    expect(gaps).not.toContain("gap");
    sink.close();
  });
});

describe("two handlers", () => {
  const say = (out: Outgoing, timestamp: number): void => {
    out.send({ frameType: "audio", timestamp, mark: 127, payload: bytes(60) });
  };

  it("get the same sound to the byte, and one goes on when the other is gone", () => {
    const [home, spare] = [new Path(), new Path()];
    const out = outgoing({}, home);
    out.links = [home, spare];
    say(out, 1);
    say(out, 2);
    expect(spare.datagrams).toEqual(home.datagrams);
    home.ready = false;
    say(out, 3);
    expect([home.datagrams.length, spare.datagrams.length]).toEqual([2, 3]);
  });

  it("get the same pictures, cut for the narrower of both", () => {
    const [home, spare] = [new Path(), new Path()];
    spare.datagramBytes = 500;
    const out = outgoing({ kind: "video", codec: "vp08" }, home);
    out.links = [home, spare];
    out.carrier = "datagram";
    out.send({ frameType: "key", timestamp: 1, mark: 1, payload: bytes(2000) });
    expect(Math.max(...home.datagrams.map((one) => one.length))).toBeLessThanOrEqual(500);
    expect(spare.datagrams).toEqual(home.datagrams);
  });

  it("are heard as one, whichever brings a packet first, and what one brings is not missing", () => {
    const [home, spare] = [new Path(), new Path()];
    const out = outgoing({}, home);
    out.links = [home, spare];
    for (let i = 1; i <= 200; i++) say(out, i * 20_000);
    const decoded: number[] = [];
    const told: string[] = [];
    Object.assign(globalThis, fakeAudio(decoded));
    const sink = new AudioSink(
      STREAM,
      1,
      (message) => told.push(message.type),
      () => undefined,
    );
    for (let i = 0; i < 200; i++) {
      // Each loses a third of what comes, never the same; they take turns in being first.
      const copies = [i % 3 === 0 ? [] : [home], i % 3 === 1 ? [] : [spare]].flat();
      if (i % 2 === 0) copies.reverse();
      for (const { datagrams } of copies) {
        sink.datagram(parseDatagram(datagrams[i] ?? expect.fail("not sent")));
      }
    }
    expect(decoded).toHaveLength(200);
    expect(decoded).toEqual(decoded.toSorted((a, b) => a - b));
    expect(told).not.toContain("gap");
    expect(sink.stats("").lost).toBe(0);
    sink.close();
  });

  it("are left with what they got, whole", async () => {
    const [home, spare] = [new Path(), new Path()];
    const out = outgoing({ kind: "video", codec: "vp08" }, home);
    out.links = [home, spare];
    out.send({ frameType: "key", timestamp: 1, mark: 1, payload: bytes(9) });
    out.links = [spare];
    out.send({ frameType: "delta", timestamp: 2, mark: 2, payload: bytes(9) });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect([home.closed, spare.closed]).toEqual([1, 0]);
    const frames = ({ streams }: Path): number => {
      const { parser } = streams[0] ?? expect.fail("no group");
      let count = 0;
      for (let item = parser.next(); item !== undefined; item = parser.next()) {
        count += item.type === "frame" ? 1 : 0;
      }
      return count;
    };
    expect([frames(home), frames(spare)]).toEqual([1, 2]);
  });
});

describe("a picture's encodings", () => {
  const VIDEO = { kind: "video", codec: "vp08" } as const;

  it("say which they are, and what nothing is built on may be left out", async () => {
    const path = new Path();
    const out = outgoing({ ...VIDEO, encoding: 2 }, path);
    const layers = [0, 1, 0, 1];
    for (const [i, temporalLayer] of layers.entries()) {
      const frameType = i === 0 ? "key" : "delta";
      out.send({ frameType, timestamp: i, mark: i, temporalLayer, payload: bytes(9) });
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
    const { header, parser } = path.streams[0] ?? expect.fail("no group");
    expect(header).toMatchObject({ encoding: 2, group: 1, codec: "vp08" });
    const seen = [];
    for (let item = parser.next(); item !== undefined; item = parser.next()) {
      if (item.type !== "frame") continue;
      const { extension, flags } = item.header;
      seen.push([extension.encoding, extension.temporalLayer, flags.discardable]);
    }
    expect(seen).toEqual(layers.map((layer) => [2, layer, layer > 0]));
  });

  it("as datagrams, too", () => {
    const path = new Path();
    const out = outgoing({ ...VIDEO, encoding: 1 }, path);
    out.carrier = "datagram";
    out.send({ frameType: "key", timestamp: 1, mark: 1, payload: bytes(2000) });
    out.send({ frameType: "delta", timestamp: 2, mark: 1, temporalLayer: 1, payload: bytes(9) });
    const seen = path.datagrams.map((one) => parseDatagram(one).header);
    expect(seen.map(({ extension }) => extension.encoding)).toEqual([1, 1, 1, 1]);
    expect(seen.at(-1)).toMatchObject({ flags: { discardable: true } });
    expect(seen[0]).toMatchObject({ flags: { discardable: false } });
  });

  it("go before larger ones, and behind sound", () => {
    const path = new Path();
    for (const encoding of [0, 1]) {
      const out = outgoing({ ...VIDEO, encoding }, path);
      out.send({ frameType: "key", timestamp: 1, mark: 1, payload: bytes(9) });
    }
    const sound = outgoing({}, path);
    sound.carrier = "stream";
    sound.send({ frameType: "audio", timestamp: 1, mark: 1, payload: bytes(9) });
    const [small, large, heard] = path.streams.map((one) => one.order);
    expect(small).toBeGreaterThan(large ?? Infinity);
    expect(heard).toBeGreaterThan(small ?? Infinity);
  });

  it("change their codec with the group that begins", async () => {
    const path = new Path();
    const out = outgoing(VIDEO, path);
    out.send({ frameType: "key", timestamp: 1, mark: 1, payload: bytes(9) });
    out.send({ frameType: "key", timestamp: 2, mark: 2, codec: "vp09", payload: bytes(9) });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(path.streams.map(({ header }) => header.codec)).toEqual(["vp08", "vp09"]);
  });
});

/** A decoder that notes the timestamps of what it gets. */
function fakeAudio(decoded: number[]): object {
  class AudioDecoder {
    state = "configured";
    decodeQueueSize = 0;
    configure(): void {
      this.state = "configured";
    }
    decode(chunk: { timestamp: number }): void {
      decoded.push(chunk.timestamp);
    }
    close(): void {
      this.state = "closed";
    }
  }
  class EncodedAudioChunk {
    readonly timestamp: number;
    constructor(init: { timestamp: number }) {
      this.timestamp = init.timestamp;
    }
  }
  return { AudioDecoder, EncodedAudioChunk };
}
