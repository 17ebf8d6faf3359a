// What leaves and what arrives on one WebSocket: the queue that stays short, and
// the groups that a server may send in any order and form.
import {
  FRAME_HEADER_BYTES,
  ProtocolError,
  writeFrameHeader,
  writeStreamHeader,
  type FrameHeader,
  type StreamHeader,
} from "@darktower/protocol";
import { describe, expect, it } from "vitest";
import { forSeeds, forSeedsAsync } from "../../protocol/test/random";
import { SocketGroups } from "../src/rules/socket-groups";
import { SocketSchedule, type OutGroup } from "../src/rules/socket-schedule";

const idle = { bufferedBytes: 0, delayMs: 0 };
const ids = ["550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440001"];
const named = (name: number): Uint8Array => Uint8Array.of(name);
const taken = (schedule: SocketSchedule, pressure = idle, now = 0): number[] =>
  schedule.take(pressure, now).map((message) => message[0] ?? -1);

describe("what a WebSocket is given", () => {
  const camera: OutGroup = { sound: false };
  const screen: OutGroup = { sound: false };
  const voice: OutGroup = { sound: true };
  const nothing = (): void => undefined;

  it("is control first, then sound, then pictures in turns", () => {
    const schedule = new SocketSchedule();
    schedule.frame(camera, [named(50), named(51)], nothing);
    schedule.frame(screen, [named(60)], nothing);
    schedule.frame(voice, [named(40)], nothing);
    schedule.datagram(named(30), 0);
    schedule.control(named(20));
    expect(taken(schedule)).toEqual([20]);
    expect(taken(schedule)).toEqual([30]);
    expect(taken(schedule)).toEqual([40]);
    expect(taken(schedule)).toEqual([50, 51]);
    // The camera's next picture does not go before the screen's that waited.
    schedule.frame(camera, [named(52)], nothing);
    expect(taken(schedule)).toEqual([60]);
    expect(taken(schedule)).toEqual([52]);
    expect(taken(schedule)).toEqual([]);
    expect(schedule.isEmpty).toBe(true);
  });

  it("holds pictures back while anything much is on its way, then sound, never control", () => {
    const schedule = new SocketSchedule();
    schedule.frame(camera, [named(50)], nothing);
    schedule.datagram(named(30), 0);
    schedule.control(named(20));
    const full = { bufferedBytes: 1 << 20, delayMs: 0 };
    expect(taken(schedule, full)).toEqual([20]);
    expect(taken(schedule, full)).toEqual([]);
    const some = { bufferedBytes: 20 << 10, delayMs: 0 };
    expect(taken(schedule, some)).toEqual([30]);
    expect(taken(schedule, some)).toEqual([]);
    expect(taken(schedule, { bufferedBytes: 0, delayMs: 400 })).toEqual([]);
    expect(taken(schedule, { bufferedBytes: 8 << 10, delayMs: 250 })).toEqual([50]);
  });

  it("is no sound older than 200 ms", () => {
    const schedule = new SocketSchedule();
    for (let at = 0; at < 300; at += 20) schedule.datagram(named(at / 20), at);
    expect(taken(schedule, { bufferedBytes: 1 << 20, delayMs: 0 }, 300)).toEqual([]);
    expect(taken(schedule, idle, 300)).toEqual([5]);
    expect(schedule.droppedDatagrams).toBe(5);
    const crowd = new SocketSchedule();
    for (let i = 0; i < 100; i++) crowd.datagram(named(i), 0);
    expect(crowd.droppedDatagrams).toBe(36);
    expect(taken(crowd)).toEqual([36]);
  });

  it("is nothing of a group that was given up", () => {
    const schedule = new SocketSchedule();
    let gone = 0;
    schedule.frame(camera, [named(50)], () => (gone += 1));
    schedule.giveUp(camera);
    expect(taken(schedule)).toEqual([]);
    schedule.frame(camera, [named(51)], () => (gone += 1));
    expect(taken(schedule)).toEqual([51]);
    expect(gone).toBe(1);
  });

  it("never waits behind more than a frame, however slow the way is", () => {
    forSeeds(100, (random) => {
      const schedule = new SocketSchedule();
      const frameBytes = 1 + random.below(60_000);
      const drain = 1 + random.below(200);
      let buffered = 0;
      let longest = 0;
      for (let now = 0; now < 5000; now += 5) {
        buffered = Math.max(0, buffered - drain * 5);
        if (now % 20 === 0) schedule.datagram(new Uint8Array(120), now);
        schedule.frame(camera, [new Uint8Array(frameBytes)], nothing);
        for (;;) {
          const messages = schedule.take({ bufferedBytes: buffered, delayMs: 0 }, now);
          if (messages.length === 0) break;
          for (const message of messages) buffered += message.length;
        }
        longest = Math.max(longest, buffered);
      }
      expect(longest).toBeLessThanOrEqual(Math.max(8192 + frameBytes, 32_768) + 120);
    });
  });
});

function header(group: number, streamId = ids[0] ?? "", encoding = 0): StreamHeader {
  return { kind: "video", streamId, codec: "vp08", encoding, screen: false, group };
}

function frame(
  group: number,
  payload: Uint8Array,
  more: Partial<FrameHeader> & { encoding?: number } = {},
): Uint8Array {
  const { encoding = 0, ...rest } = more;
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  const extension = { encoding, temporalLayer: 0, mark: 0, fragment: 0, group };
  writeFrameHeader(
    {
      frameType: "delta",
      streamId: ids[0] ?? "",
      timestamp: 1n,
      sequence: 1n,
      payloadBytes: payload.length,
      flags: { start: true, end: true, discardable: false },
      extension,
      ...rest,
    },
    bytes,
  );
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

class Reader {
  readonly log: string[] = [];
  readonly discarded: string[] = [];
  refuse = false;
  /** Set: no frame is done before it is. */
  room: Promise<void> | undefined;
  readonly groups = new SocketGroups({
    open: ({ group, encoding }) => {
      if (this.refuse) return undefined;
      const name = `${group}/${encoding}`;
      this.log.push(`open ${name}`);
      return {
        frame: (_, payload) => {
          this.log.push(`${name}: ${payload.join()}`);
          return this.room;
        },
        end: () => this.log.push(`end ${name}`),
      };
    },
    discard: (cause) => this.discarded.push(cause),
  });
}

describe("what comes on a WebSocket", () => {
  it("are groups, each ended by the next of its encoding", () => {
    const { groups, log, discarded } = new Reader();
    groups.handleHeader(writeStreamHeader(header(0x1_0001)));
    groups.handleFrame(frame(1, named(7)));
    groups.handleHeader(writeStreamHeader(header(5, ids[0], 1)));
    groups.handleFrame(frame(5, named(8), { encoding: 1 }));
    groups.handleHeader(writeStreamHeader(header(0x1_0002)));
    groups.handleFrame(frame(2, named(9)));
    groups.close();
    expect(log).toEqual([
      "open 65537/0",
      "65537/0: 7",
      "open 5/1",
      "5/1: 8",
      "end 65537/0",
      "open 65538/0",
      "65538/0: 9",
      "end 5/1",
      "end 65538/0",
    ]);
    expect(discarded).toEqual([]);
  });

  it("has frames of no open group dropped and counted", () => {
    const { groups, log, discarded } = new Reader();
    groups.handleFrame(frame(1, named(1)));
    groups.handleHeader(writeStreamHeader(header(1)));
    groups.handleFrame(frame(2, named(1)));
    groups.handleFrame(frame(1, named(1), { streamId: ids[1] ?? "" }));
    groups.handleFrame(frame(1, named(1), { encoding: 1 }));
    groups.handleFrame(frame(1, named(1), { frameType: "audio" }));
    expect(discarded).toEqual(Array(5).fill("frame of no open group"));
    expect(log).toEqual(["open 1/0"]);
  });

  it("has groups that nobody asked for dropped, with all their frames", () => {
    const reader = new Reader();
    reader.refuse = true;
    reader.groups.handleHeader(writeStreamHeader(header(1)));
    reader.groups.handleFrame(frame(1, named(1)));
    expect(reader.discarded).toEqual(["stream nobody asked for", "frame of no open group"]);
    expect(reader.groups.open).toBe(0);
  });

  it("waits for a reader that has no room, in order, up to a limit", async () => {
    const reader = new Reader();
    let makeRoom: () => void = () => undefined;
    reader.room = new Promise((resolve) => (makeRoom = resolve));
    const { groups, log } = reader;
    groups.handleHeader(writeStreamHeader(header(1)));
    for (const name of [1, 2, 3]) groups.handleFrame(frame(1, named(name)));
    groups.handleHeader(writeStreamHeader(header(2)));
    expect(log).toEqual(["open 1/0", "1/0: 1", "open 2/0"]);
    expect(groups.waitingBytes).toBe(2 * 513);
    makeRoom();
    await expect.poll(() => log).toContain("end 1/0");
    expect(log.slice(3)).toEqual(["1/0: 2", "1/0: 3", "end 1/0"]);
    expect(groups.waitingBytes).toBe(0);
  });

  it("gives up a group whole that is above the limit", async () => {
    const reader = new Reader();
    let makeRoom: () => void = () => undefined;
    reader.room = new Promise((resolve) => (makeRoom = resolve));
    const { groups } = reader;
    groups.handleHeader(writeStreamHeader(header(1)));
    const large = new Uint8Array(4 << 20);
    for (let i = 0; i < 5; i++) groups.handleFrame(frame(1, large));
    expect(reader.discarded).toEqual(["group that found no room", "frame of no open group"]);
    expect(groups.waitingBytes).toBe(0);
    makeRoom();
    await expect.poll(() => reader.log.at(-1)).toBe("end 1/0");
    expect(reader.log).toHaveLength(3);
  });

  it("is bounded and refused with the parser's own error, whatever it is", async () => {
    await forSeedsAsync(60, async (random) => {
      const reader = new Reader();
      if (random.below(2) === 0) reader.room = new Promise(() => undefined);
      for (let i = 0; i < 300; i++) {
        const group = random.below(3);
        const encoding = random.below(16);
        const id = random.below(2) === 0 ? `${ids[0]?.slice(0, 35)}${random.below(10)}` : ids[1];
        const whole =
          random.below(2) === 0
            ? writeStreamHeader(header(group, id, encoding))
            : frame(group, random.bytes(random.below(3000)), { encoding, streamId: id ?? "" });
        const cut = random.below(5) === 0 ? whole.subarray(0, random.below(whole.length)) : whole;
        if (random.below(5) === 0) cut[random.below(cut.length)] = random.below(256);
        try {
          if (random.below(2) === 0) reader.groups.handleHeader(cut);
          else reader.groups.handleFrame(cut);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
        expect(reader.groups.open).toBeLessThanOrEqual(128);
        expect(reader.groups.waitingBytes).toBeLessThanOrEqual(9 << 20);
      }
      reader.groups.close();
      expect(reader.groups.open).toBe(0);
      expect(reader.groups.waitingBytes).toBe(0);
      await Promise.resolve();
    });
  });
});
