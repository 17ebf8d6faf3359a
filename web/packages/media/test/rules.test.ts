import { describe, expect, it } from "vitest";
import { RisingClock, SampleClock } from "../src/rules/clock";
import { GroupQueue } from "../src/rules/group-queue";
import { levelByte } from "../src/rules/level";
import { Pacer } from "../src/rules/pacer";
import { RateMeter } from "../src/rules/rate";
import { encodedSize } from "../src/rules/scale";
import { SequenceOrder } from "../src/rules/sequence-order";

describe("timestamps", () => {
  it("rise even when the clock stands still or goes back", () => {
    const clock = new RisingClock();
    expect([clock.next(100), clock.next(100), clock.next(50), clock.next(200)]).toEqual([
      100, 101, 102, 200,
    ]);
  });

  it("of sound are evenly spaced in spite of jitter, and set anew after a pause", () => {
    const clock = new SampleClock(20_000);
    expect(clock.next(1_000_000)).toBe(1_000_000);
    expect(clock.next(1_031_000)).toBe(1_020_000);
    expect(clock.next(1_038_000)).toBe(1_040_000);
    expect(clock.next(9_000_000)).toBe(9_000_000);
  });
});

describe("audio level", () => {
  it("is 127 for silence, 0 for the loudest, with the voice flag when loud", () => {
    expect(levelByte(new Float32Array(960))).toBe(127);
    expect(levelByte(new Float32Array(960).fill(1))).toBe(0x80);
    expect(levelByte(new Float32Array(960).fill(0.1))).toBe(0x80 | 20);
    expect(levelByte(new Float32Array(960).fill(0.001))).toBe(60);
  });
});

describe("sequence order", () => {
  const items = (ordered: readonly { item: string; missing: number }[]) =>
    ordered.map((one) => (one.missing > 0 ? `${one.item}-${one.missing}` : one.item));

  it("waits for what is late and gives it in order", () => {
    const order = new SequenceOrder<string>(30);
    expect(items(order.push(5n, 5n, "a", 0))).toEqual(["a"]);
    expect(items(order.push(7n, 7n, "c", 1))).toEqual([]);
    expect(order.due).toBe(31);
    expect(items(order.push(6n, 6n, "b", 2))).toEqual(["b", "c"]);
  });

  it("tells how many are missing once it waited long enough", () => {
    const order = new SequenceOrder<string>(30);
    order.push(1n, 1n, "a", 0);
    order.push(4n, 4n, "d", 5);
    expect(items(order.poll(34))).toEqual([]);
    expect(items(order.poll(35))).toEqual(["d-2"]);
  });

  it("drops what comes after it was given up, and duplicates", () => {
    const order = new SequenceOrder<string>(30);
    order.push(1n, 1n, "a", 0);
    expect(order.push(1n, 1n, "a", 1)).toEqual([]);
    expect(order.push(0n, 0n, "z", 1)).toEqual([]);
  });

  it("begins anew when the numbers jump", () => {
    const order = new SequenceOrder<string>(30);
    order.push(50_000n, 50_000n, "a", 0);
    expect(items(order.push(0n, 0n, "b", 1))).toEqual(["b"]);
  });

  it("holds a bounded number", () => {
    const order = new SequenceOrder<number>(1e9);
    order.push(0n, 0n, 0, 0);
    let given = 0;
    for (let i = 2; i < 900; i += 2) given += order.push(BigInt(i), BigInt(i), i, 0).length;
    expect(given).toBeGreaterThan(400);
  });
});

describe("the group queue", () => {
  it("says a group is late when its oldest frame waited too long", () => {
    const queue = new GroupQueue<string>();
    expect(queue.push("a", 0)).toBe(true);
    expect(queue.take()).toBe("a");
    expect(queue.push("b", 500)).toBe(true);
    expect(queue.push("c", 501)).toBe(false);
    queue.written();
    expect(queue.push("c", 502)).toBe(true);
  });

  it("is bounded even when time stands still", () => {
    const queue = new GroupQueue<number>();
    let taken = 0;
    while (queue.push(taken, 0)) taken += 1;
    expect(taken).toBe(64);
  });
});

describe("the pacer", () => {
  it("evens out jitter and is early when there is none", () => {
    const pacer = new Pacer();
    for (let i = 0; i < 20; i++)
      expect(pacer.due(i * 33, i * 33 + 10) - (i * 33 + 10)).toBeLessThan(2);
    expect(pacer.due(660, 700)).toBeLessThanOrEqual(701);
    // After a late picture the next, on time one is held back a little.
    expect(pacer.due(693, 703)).toBeGreaterThan(720);
  });

  it("begins anew when the sender's clock jumps", () => {
    const pacer = new Pacer();
    pacer.due(0, 10);
    expect(pacer.due(100_000, 50)).toBe(50);
  });
});

describe("encoded size", () => {
  it("keeps the shape, stays in the budget and is even", () => {
    expect(encodedSize({ width: 1280, height: 720 }, 640 * 360)).toEqual({
      width: 640,
      height: 360,
    });
    expect(encodedSize({ width: 320, height: 180 }, 640 * 360)).toEqual({
      width: 320,
      height: 180,
    });
    expect(encodedSize({ width: 641, height: 479 }, 1e9)).toEqual({ width: 642, height: 480 });
    const tall = encodedSize({ width: 720, height: 1280 }, 640 * 360);
    expect(tall).toEqual({ width: 360, height: 640 });
  });
});

describe("rates", () => {
  it("are of the last two seconds", () => {
    const meter = new RateMeter();
    for (let i = 0; i < 60; i++) meter.add(1000, i * 100);
    expect(meter.rates(6000).fps).toBeCloseTo(10, 0);
    expect(meter.rates(6000).kbps).toBeCloseTo(80, -1);
    expect(meter.count).toBe(60);
    expect(meter.rates(60_000)).toEqual({ fps: 0, kbps: 0 });
  });
});
