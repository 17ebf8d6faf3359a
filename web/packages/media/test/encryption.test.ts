// Sealing and opening as senders and receivers use them, with real keys.
import {
  importBaseKey,
  type EpochKeys,
  type FromCrypto,
  type GroupView,
  type ToCrypto,
} from "@darktower/crypto";
import {
  GroupParser,
  parseDatagram,
  writeStreamHeader,
  type FrameHeader,
  type StreamHeader,
} from "@darktower/protocol";
import { streamId, type EncryptionState } from "@darktower/session";
import { describe, expect, it, vi } from "vitest";
import { Random, forSeedsAsync } from "../../protocol/test/random";
import { TurnQueue } from "../src/rules/turn-queue";
import type { GroupStream } from "../src/worker/carrier/types";
import { Encryption, type FrameFacts, type OpenFailure } from "../src/worker/encryption";
import { Outgoing, type MediaPath } from "../src/worker/outgoing";

const STREAM = streamId("550e8400-e29b-41d4-a716-446655440000");
const OTHER_STREAM = streamId("550e8400-e29b-41d4-a716-446655440001");
const ANA = { participantId: "ana", streamNumber: 3 };
const SENDERS = new Map([
  [0, "ana"],
  [1, "bo"],
  [2, "eve"],
]);
const LEAVES = { ana: 0, bo: 1, eve: 2 };
const facts: FrameFacts = {
  frameType: "delta",
  streamId: STREAM,
  timestamp: 1_700_000_000_000_000n,
  extension: { encoding: 0, temporalLayer: 0 },
  discardable: false,
};
const VIEW: GroupView = {
  position: { group: 1, epoch: 0n },
  meetingCode: "00000",
  holders: [],
  alarms: [],
};

/** A member whose crypto worker is this test. */
class Member {
  readonly told: ToCrypto[] = [];
  readonly shown: EncryptionState[] = [];
  keysCame = 0;
  readonly encryption: Encryption;
  readonly #name: keyof typeof LEAVES;
  readonly #channel = new MessageChannel();

  constructor(name: keyof typeof LEAVES) {
    this.#name = name;
    this.encryption = new Encryption({
      keys: () => (this.keysCame += 1),
      send: () => undefined,
      position: () => undefined,
      shown: (state) => this.shown.push(state),
      unsupported: () => undefined,
    });
    this.encryption.required = true;
  }

  say(message: FromCrypto): void {
    // As if it had come through the port, without waiting for it.
    const port = this.#channel.port1;
    if (port.onmessage === null) this.encryption.connect(port);
    port.onmessage?.(new MessageEvent("message", { data: message }) as MessageEvent);
  }

  async epoch(epoch: number, added = false): Promise<void> {
    this.say({ type: "epoch", suite: 4, added, keys: await keysOf(epoch, LEAVES[this.#name]) });
  }

  close(): void {
    this.#channel.port1.close();
  }
}

async function keysOf(epoch: number, leaf: number): Promise<EpochKeys> {
  const baseKey = await importBaseKey(new Uint8Array(16).fill(epoch + 1));
  return { group: 1, epoch, leaf, id: `1/${epoch}`, baseKey, senders: SENDERS };
}

const text = (word: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(word);
const word = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

async function pair(): Promise<{ ana: Member; bo: Member }> {
  const [ana, bo] = [new Member("ana"), new Member("bo")];
  await ana.epoch(0);
  await bo.epoch(0);
  return { ana, bo };
}

describe("a sealed frame", () => {
  it("is read by another member and shows nothing of its content", async () => {
    const { ana, bo } = await pair();
    const sealed = await ana.encryption.seal(3, facts, text("hello"));
    expect(word(sealed)).not.toContain("hello");
    const opened = await bo.encryption.open(facts, sealed, ANA);
    expect(opened.type === "plain" && word(opened.plain)).toBe("hello");
  });

  it.each<[string, Partial<FrameFacts>]>([
    ["another type", { frameType: "key" }],
    ["another stream", { streamId: OTHER_STREAM }],
    ["another layer", { extension: { encoding: 0, temporalLayer: 1 } }],
    ["another time", { timestamp: facts.timestamp + 1n }],
    ["may be left out", { discardable: true }],
  ])("is refused when its header was changed: %s", async (_, change) => {
    const { ana, bo } = await pair();
    const sealed = await ana.encryption.seal(3, facts, text("hello"));
    const opened = await bo.encryption.open({ ...facts, ...change }, sealed, ANA);
    expect(opened).toMatchObject({ type: "failed", failure: { counts: true } });
  });

  it("is refused in a stream of another participant than sealed it, and counted", async () => {
    const { bo } = await pair();
    const eve = new Member("eve");
    await eve.epoch(0);
    const sealed = await eve.encryption.seal(3, facts, text("I am Ana"));
    const opened = await bo.encryption.open(facts, sealed, ANA);
    expect(opened).toMatchObject({ type: "failed", failure: { counts: true } });
  });

  it("is refused under another of the sender's own stream numbers", async () => {
    const { ana, bo } = await pair();
    const sealed = await ana.encryption.seal(4, facts, text("the screen"));
    const opened = await bo.encryption.open(facts, sealed, ANA);
    expect(opened).toMatchObject({ type: "failed", failure: { counts: true } });
  });

  it("is opened once, and a second copy is nobody's fault", async () => {
    const { ana, bo } = await pair();
    const sealed = await ana.encryption.seal(3, facts, text("hello"));
    await bo.encryption.open(facts, sealed, ANA);
    const again = await bo.encryption.open(facts, sealed, ANA);
    expect(again).toMatchObject({ type: "failed", failure: { counts: false } });
  });

  it("waits for its stream's owner to be known, and can be opened then", async () => {
    const { ana, bo } = await pair();
    const sealed = await ana.encryption.seal(3, facts, text("hello"));
    expect((await bo.encryption.open(facts, sealed, undefined)).type).toBe("later");
    expect((await bo.encryption.open(facts, sealed, ANA)).type).toBe("plain");
  });

  it("of before one's own join is neither opened nor counted", async () => {
    const { ana } = await pair();
    const sealed = await ana.encryption.seal(3, facts, text("hello"));
    const late = new Member("bo");
    const early = await late.encryption.open(facts, sealed, ANA);
    expect(early).toMatchObject({ type: "later", failure: { counts: false } });
    await late.epoch(1);
    const opened = await late.encryption.open(facts, sealed, ANA);
    expect(opened).toMatchObject({ type: "failed", failure: { counts: false } });
  });
});

describe("without a key", () => {
  it("nothing is ready to be sent, and sealing fails rather than letting it pass", async () => {
    const ana = new Member("ana");
    expect(ana.encryption.ready).toBe(false);
    await expect(ana.encryption.seal(3, facts, text("hello"))).rejects.toThrow();
    await ana.epoch(0);
    expect(ana.encryption.ready).toBe(true);
    ana.say({ type: "position", position: null });
    expect(ana.encryption.ready).toBe(false);
    await expect(ana.encryption.seal(3, facts, text("hello"))).rejects.toThrow();
    await ana.epoch(1);
    expect(ana.encryption.ready).toBe(true);
    ana.encryption.close();
    expect(ana.encryption.ready).toBe(false);
  });

  it("the lock says that keys are waited for, and is closed only when they are here", async () => {
    const ana = new Member("ana");
    ana.say({ type: "view", view: VIEW });
    expect(ana.shown.at(-1)).toEqual({ kind: "waiting" });
    await ana.epoch(0);
    expect(ana.shown.at(-1)).toMatchObject({ kind: "end-to-end", suite: 4 });
  });
});

/** What a handler would have got, in order. */
class Path implements MediaPath {
  readonly ready = true;
  readonly datagramBytes = 1000;
  readonly datagrams: Uint8Array[] = [];
  readonly streams: { parser: GroupParser; open: boolean }[] = [];

  sendDatagram(datagram: Uint8Array): void {
    this.datagrams.push(datagram);
  }

  openGroup(header: StreamHeader): Promise<GroupStream> {
    const stream = { parser: new GroupParser(), open: true };
    stream.parser.push(writeStreamHeader(header));
    this.streams.push(stream);
    return Promise.resolve({
      write: (frame) => {
        stream.parser.push(frame);
        return Promise.resolve();
      },
      close: () => {
        stream.open = false;
        return Promise.resolve();
      },
      abort: () => undefined,
    });
  }
}

function outgoing(member: Member, kind: "audio" | "video", path: Path): Outgoing {
  const codec = kind === "audio" ? "opus" : "vp08";
  const stream = { streamId: STREAM, number: 3, kind, codec, screen: false } as const;
  const out = new Outgoing(stream, member.encryption, () => undefined);
  out.userId = 1n;
  out.links = [path];
  return out;
}

/** Until all that was begun is done: WebCrypto has threads of its own. */
async function idle(done: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(done()).toBe(true);
}

describe("a step of the group that was missed", () => {
  it("is told to the crypto worker when nothing can be opened any more", () => {
    vi.useFakeTimers();
    try {
      const bo = new Member("bo");
      const told: ToCrypto[] = [];
      bo.encryption.tell = (message) => void told.push(message);
      bo.encryption.countFailure({ newer: true });
      vi.advanceTimersByTime(2500);
      bo.encryption.countFailure({});
      expect(told).toEqual([]);
      bo.encryption.countFailure({ newer: true });
      expect(told).toEqual([{ type: "behind" }]);
      expect(bo.encryption.stats()?.decryptFailures).toBe(3);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a rotation", () => {
  it("drops no frame and changes no order, whoever has the new keys first", async () => {
    await forSeedsAsync(25, async (random) => {
      const { ana, bo } = await pair();
      const path = new Path();
      const out = outgoing(ana, "audio", path);
      const got: string[] = [];
      const failed: OpenFailure[] = [];
      const turns = new TurnQueue<OpenFailure>(() => performance.now());
      let [ours, theirs, taken] = [0, 0, 0];
      const frames = 40;
      const receive = (): void => {
        for (const datagram of path.datagrams.slice(taken)) {
          taken += 1;
          const { header, payload } = parseDatagram(datagram);
          const about = { ...header, ...header.flags, streamId: STREAM };
          turns.push(
            payload.length,
            () => bo.encryption.open(about, payload, ANA),
            (plain) => got.push(word(plain)),
            (failure) => failed.push(failure),
          );
        }
      };
      for (let i = 0; i < frames; i++) {
        const mark = 127;
        out.send({ frameType: "audio", timestamp: 1000 + i, mark, payload: text(`${i}`) });
        // Neither side is ever more than one epoch ahead, as commits are ordered.
        if (random.chance(20) && ours <= theirs) await ana.epoch(++ours);
        if (random.chance(25) && theirs <= ours) {
          await bo.epoch(++theirs);
          turns.wake();
        }
        if (random.chance(60)) await new Promise((resolve) => setTimeout(resolve, 0));
        receive();
      }
      while (theirs < ours) await bo.epoch(++theirs);
      turns.wake();
      await idle(() => path.datagrams.length === frames);
      receive();
      await idle(() => got.length + failed.length === frames);
      expect(failed).toEqual([]);
      expect(got).toEqual(Array.from({ length: frames }, (_, i) => `${i}`));
    });
  });

  it("that was rolled back goes on with the counters of before: nothing looks replayed", async () => {
    const { ana, bo } = await pair();
    await ana.encryption.seal(3, facts, text("a"));
    const [first, second] = [await keysOf(0, 0), await keysOf(1, 0)];
    ana.say({ type: "epoch", suite: 4, added: false, keys: second });
    ana.say({ type: "epoch", suite: 4, added: false, keys: first });
    const sealed = await ana.encryption.seal(3, facts, text("b"));
    const opened = await bo.encryption.open(facts, sealed, ANA);
    expect(opened.type === "plain" && word(opened.plain)).toBe("b");
    expect(ana.encryption.stats()).toMatchObject({ epoch: 0, sealed: 2, decryptFailures: 0 });
  });
});

describe("frames on streams", () => {
  it("keep their groups while they are sealed, and the last group ends behind its last frame", async () => {
    const { ana, bo } = await pair();
    const path = new Path();
    const out = outgoing(ana, "video", path);
    const random = new Random(7);
    const groups = [5, 3, 4];
    let timestamp = 0;
    for (const length of groups) {
      for (let i = 0; i < length; i++) {
        const payload = text(`${path.streams.length}:${"x".repeat(random.below(5000))}`);
        const frameType = i === 0 ? "key" : "delta";
        out.send({ frameType, timestamp: ++timestamp, mark: timestamp, payload });
      }
    }
    out.pause();
    await idle(() => path.streams.length === 3 && path.streams.every((one) => !one.open));
    const seen: number[] = [];
    for (const { parser } of path.streams) {
      let count = 0;
      for (let item = parser.next(); item !== undefined; item = parser.next()) {
        if (item.type === "opened") continue;
        const header: FrameHeader = item.header;
        const about = { ...header, ...header.flags, streamId: STREAM };
        expect((await bo.encryption.open(about, item.payload, ANA)).type).toBe("plain");
        expect(header.frameType).toBe(count === 0 ? "key" : "delta");
        count += 1;
      }
      seen.push(count);
    }
    expect(seen).toEqual(groups);
  });

  it("are in the clear only where the meeting is not encrypted", async () => {
    const ana = new Member("ana");
    const path = new Path();
    const out = outgoing(ana, "audio", path);
    out.send({ frameType: "audio", timestamp: 1, mark: 127, payload: text("secret") });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(path.datagrams).toHaveLength(0);
    expect(out.unsealed).toBe(1);
    ana.encryption.required = false;
    out.send({ frameType: "audio", timestamp: 2, mark: 127, payload: text("public") });
    expect(path.datagrams).toHaveLength(1);
  });
});
