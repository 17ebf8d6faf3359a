import { describe, expect, it } from "vitest";
import { forSeeds, type Random } from "../../protocol/test/random";
import { VideoOrder, type OpenGroup } from "../src/rules/video-order";

interface Frame {
  readonly name: string;
  readonly timestamp: bigint;
}

const frame = (name: string, at: number): Frame => ({ name, timestamp: BigInt(at) });
const names = (frames: readonly Frame[]): string[] => frames.map((one) => one.name);

function open(order: VideoOrder<Frame>, encoding: number, number: number): OpenGroup<Frame> {
  const group = order.open(encoding, number);
  if (group === undefined) throw new Error("too old");
  return group;
}

describe("groups of one encoding", () => {
  it("follow one another: the next begins when the one before is at its end", () => {
    const order = new VideoOrder<Frame>();
    const first = open(order, 0, 1);
    expect(names(first.push(frame("k1", 1), 0))).toEqual(["k1"]);
    const second = open(order, 0, 2);
    expect(names(second.push(frame("k2", 3), 10))).toEqual([]);
    expect(names(first.push(frame("d1", 2), 20))).toEqual(["d1"]);
    expect(names(first.end(30))).toEqual(["k2"]);
    expect(names(second.push(frame("d2", 4), 40))).toEqual(["d2"]);
  });

  it("do not wait for a late one for ever", () => {
    const order = new VideoOrder<Frame>();
    const first = open(order, 0, 1);
    first.push(frame("k1", 1), 0);
    open(order, 0, 2).push(frame("k2", 3), 100);
    expect(order.due).toBe(220);
    expect(names(order.poll(219))).toEqual([]);
    expect(names(order.poll(220))).toEqual(["k2"]);
    expect(first.push(frame("late", 2), 230)).toEqual([]);
    expect(order.open(0, 1)).toBeUndefined();
  });

  it("go on across the wrap of their numbers", () => {
    const order = new VideoOrder<Frame>();
    const last = open(order, 0, 0xffff_ffff);
    last.push(frame("a", 1), 0);
    open(order, 0, 0).push(frame("b", 2), 1);
    expect(names(last.end(2))).toEqual(["b"]);
  });

  it("may come on two streams at once: one goes on where the other stops", () => {
    const order = new VideoOrder<Frame>();
    const [one, two] = [open(order, 0, 1), open(order, 0, 1)];
    expect(names(one.push(frame("k1", 1), 0))).toEqual(["k1"]);
    expect(names(two.push(frame("k1", 1), 1))).toEqual([]);
    expect(names(two.push(frame("d2", 2), 2))).toEqual([]);
    expect(names(one.push(frame("d2", 2), 3))).toEqual(["d2"]);
    expect(names(two.push(frame("d3", 3), 4))).toEqual([]);
    open(order, 0, 2).push(frame("k9", 9), 5);
    // Those that were had before are for the de-duplication of who decodes.
    expect(names(one.end(6))).toEqual(["k1", "d2", "d3"]);
    expect(names(two.push(frame("d4", 4), 7))).toEqual(["d4"]);
    expect(names(two.end(8))).toEqual(["k9"]);
  });

  it("are bounded in number and frames while they wait", () => {
    const order = new VideoOrder<Frame>();
    open(order, 1, 1).push(frame("k", 1_000_000), 0);
    const groups = Array.from({ length: 50 }, (_, i) => open(order, 0, i));
    let given = 0;
    for (const group of groups) {
      for (let i = 0; i < 500; i++) given += group.push(frame("old", i), 1).length;
    }
    expect(given).toBe(0);
    expect(order.due).toBeUndefined();
  });
});

describe("another encoding", () => {
  it("takes over when it is ahead and the one before is at its end", () => {
    const order = new VideoOrder<Frame>();
    const large = open(order, 2, 7);
    large.push(frame("L7", 100), 0);
    const small = open(order, 0, 3);
    expect(names(small.push(frame("s3", 133), 33))).toEqual([]);
    expect(names(large.end(34))).toEqual(["s3"]);
    expect(large.push(frame("late", 120), 40)).toEqual([]);
  });

  it("is waited for briefly when the end of the one before did not come", () => {
    const order = new VideoOrder<Frame>();
    open(order, 2, 7).push(frame("L7", 100), 0);
    open(order, 0, 3).push(frame("s3", 133), 33);
    expect(order.due).toBe(73);
    expect(names(order.poll(73))).toEqual(["s3"]);
  });

  it("that was kept is decoded from its beginning, once it has caught up", () => {
    const order = new VideoOrder<Frame>();
    const large = open(order, 2, 7);
    for (let at = 0; at <= 100; at += 10) large.push(frame(`L${at}`, at), at);
    large.end(101);
    const small = open(order, 0, 3);
    expect(names(small.push(frame("s50", 50), 102))).toEqual([]);
    expect(names(small.push(frame("s100", 100), 103))).toEqual([]);
    expect(names(small.push(frame("s110", 110), 104))).toEqual(["s50", "s100", "s110"]);
  });

  it("comes again with a group that it had before", () => {
    const order = new VideoOrder<Frame>();
    const small = open(order, 0, 3);
    small.push(frame("s1", 1), 0);
    small.end(1);
    const large = open(order, 2, 7);
    expect(names(large.push(frame("L2", 2), 2))).toEqual(["L2"]);
    large.end(3);
    const again = open(order, 0, 3);
    expect(names(again.push(frame("s1", 1), 4))).toEqual([]);
    expect(names(again.push(frame("s3", 3), 5))).toEqual(["s1", "s3"]);
  });

  it("goes on only where its beginning is still known", () => {
    const order = new VideoOrder<Frame>();
    const [one, two] = [open(order, 0, 1), open(order, 0, 1)];
    for (let at = 1; at <= 300; at++) {
      one.push(frame(`s${at}`, at), at);
      two.push(frame(`s${at}`, at), at);
    }
    expect(names(open(order, 2, 1).push(frame("L301", 301), 301))).toEqual([]);
    expect(names(one.end(302))).toEqual(["L301"]);
    expect(names(two.push(frame("s302", 302), 303))).toEqual([]);
    expect(names(order.poll(1000))).toEqual([]);
  });

  it("that only runs beside does not take over", () => {
    const order = new VideoOrder<Frame>();
    const [small, large] = [open(order, 0, 1), open(order, 2, 1)];
    const given: string[] = [];
    for (let at = 1; at < 3000; at += 33) {
      given.push(...names(small.push(frame("small", at), at)));
      given.push(...names(large.push(frame("large", at), at + 15)));
    }
    expect(new Set(given)).toEqual(new Set(["small"]));
  });
});

// ---- a handler that changes its mind, over a network that does not keep time ------

const TICK_MS = 33;
const TICKS = 240;
const JITTER_MS = 60;
/** What a handler keeps at most, in frames. */
const KEPT_MAX = 60;

interface Sent {
  readonly at: number;
  readonly act: (nowMs: number) => readonly Picture[];
}

interface Picture {
  readonly encoding: number;
  readonly group: number;
  readonly index: number;
  readonly timestamp: bigint;
}

/** Frames of it arrive in order, if late. */
interface Stream {
  group: OpenGroup<Picture> | undefined;
  lastAt: number;
}

/** Sends one encoding at a time, by groups, and forgets none of the running ones. */
class Handler {
  readonly sent: Sent[] = [];
  readonly #order: VideoOrder<Picture>;
  readonly #random: Random;
  readonly #groups: Picture[][];
  #chosen = 0;
  #stream: Stream | undefined;

  constructor(order: VideoOrder<Picture>, random: Random) {
    this.#order = order;
    this.#random = random;
    this.#groups = [0, 1, 2].map((encoding) => [picture(encoding, 1, 0, 0)]);
  }

  tick(tick: number): void {
    const nowMs = tick * TICK_MS;
    for (const [encoding, group] of this.#groups.entries()) {
      const last = group.at(-1);
      if (last !== undefined) group.push(picture(encoding, last.group, last.index + 1, tick));
    }
    if (this.#stream === undefined) this.#begin(0, nowMs);
    else if (this.#random.chance(4)) this.#begin(this.#random.below(3), nowMs);
    else this.#send(this.#groups[this.#chosen]?.slice(-1) ?? [], nowMs);
  }

  #begin(encoding: number, nowMs: number): void {
    const former = this.#stream;
    // Half of the time the end of the stream does not come, or comes late.
    if (former !== undefined && this.#random.chance(50)) this.#later(former, nowMs, "end");
    this.#chosen = encoding;
    this.#stream = { group: undefined, lastAt: nowMs };
    const running = this.#groups[encoding] ?? [];
    const [first] = running;
    if (first === undefined) return;
    const kept = running.length <= KEPT_MAX && this.#random.chance(50);
    if (!kept) {
      const tick = Math.round(nowMs / TICK_MS);
      this.#groups[encoding] = [picture(encoding, first.group + 1, 0, tick)];
    }
    this.#send(this.#groups[encoding] ?? [], nowMs);
  }

  #send(pictures: readonly Picture[], nowMs: number): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    for (const one of pictures) this.#later(stream, nowMs, one);
  }

  #later(stream: Stream, nowMs: number, what: Picture | "end"): void {
    stream.lastAt = Math.max(stream.lastAt, nowMs + this.#random.below(JITTER_MS));
    this.sent.push({
      at: stream.lastAt,
      act: (now) => {
        if (what === "end") return stream.group?.end(now) ?? [];
        stream.group ??= this.#order.open(what.encoding, what.group);
        return stream.group?.push(what, now) ?? [];
      },
    });
  }
}

function picture(encoding: number, group: number, index: number, tick: number): Picture {
  return { encoding, group, index, timestamp: BigInt(1 + tick * TICK_MS) };
}

describe("whatever a handler switches to, and when it arrives", () => {
  it("all that is given can be decoded, and what is shown is never long behind", () => {
    forSeeds(2000, (random) => {
      const order = new VideoOrder<Picture>();
      const handler = new Handler(order, random);
      for (let tick = 1; tick <= TICKS; tick++) handler.tick(tick);
      handler.sent.sort((a, b) => a.at - b.at);
      let last: Picture | undefined;
      let seen = new Set<bigint>();
      let shown = { timestamp: 0n, at: 0 };
      let longest = 0;
      const take = (pictures: readonly Picture[], nowMs: number): void => {
        for (const one of pictures) {
          if (one.encoding !== last?.encoding) seen = new Set();
          if (seen.has(one.timestamp)) continue;
          seen.add(one.timestamp);
          const follows =
            one.index === 0 ||
            (last?.encoding === one.encoding &&
              last.group === one.group &&
              last.index === one.index - 1);
          if (!follows) throw new Error(JSON.stringify({ ...one, timestamp: 0 }));
          last = one;
          if (one.timestamp <= shown.timestamp) continue;
          longest = Math.max(longest, nowMs - shown.at);
          shown = { timestamp: one.timestamp, at: nowMs };
        }
      };
      let nowMs = 0;
      for (const { at, act } of handler.sent) {
        for (let due = order.due; due !== undefined && due <= at; due = order.due) {
          nowMs = Math.max(nowMs, due);
          take(order.poll(nowMs), nowMs);
        }
        nowMs = at;
        take(act(at), at);
      }
      const end = nowMs + 200;
      take(order.poll(end), end);
      expect(shown.timestamp).toBe(BigInt(1 + TICKS * TICK_MS));
      // A handler that turns about at once meets the patience with what it left.
      expect(longest).toBeLessThanOrEqual(500);
    });
  });
});
