import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { forSeedsAsync } from "../../protocol/test/random";
import {
  BYTES_WAITING_MAX,
  FRAMES_WAITING_MAX,
  HELD_MS_MAX,
  TurnQueue,
  type Opened,
} from "../src/rules/turn-queue";

/** Lets all that can go on without time going by go on. */
async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

class Bench {
  readonly queue = new TurnQueue<string>(() => Date.now());
  readonly out: string[] = [];
  /** Frames of epochs above this have no key yet. */
  epoch = 0;

  push(name: string, epoch = 0, slowMs = 0, bytes = 1): boolean {
    return this.queue.push(
      bytes,
      async (): Promise<Opened<string>> => {
        if (slowMs > 0) await new Promise((resolve) => setTimeout(resolve, slowMs));
        if (epoch > this.epoch) return { type: "later", failure: "no key" };
        if (name.startsWith("bad")) return { type: "failed", failure: "forged" };
        return { type: "plain", plain: new Uint8Array() };
      },
      () => this.out.push(name),
      (failure) => this.out.push(`${name}: ${failure}`),
    );
  }

  newKey(epoch: number): void {
    this.epoch = epoch;
    this.queue.wake();
  }
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe("frames of one stream", () => {
  it("come out in the order in which they went in, however long each takes to open", async () => {
    const bench = new Bench();
    bench.push("a", 0, 30);
    bench.push("b", 0, 1);
    bench.push("c");
    bench.queue.mark(() => bench.out.push("end"));
    bench.push("d");
    await vi.advanceTimersByTimeAsync(40);
    expect(bench.out).toEqual(["a", "b", "c", "end", "d"]);
  });

  it("are held for the key of a newer epoch, and none is lost when it comes", async () => {
    const bench = new Bench();
    bench.push("old");
    for (const name of ["x", "y", "z"]) bench.push(name, 1);
    await vi.advanceTimersByTimeAsync(HELD_MS_MAX - 1);
    expect(bench.out).toEqual(["old"]);
    bench.newKey(1);
    await settle();
    expect(bench.out).toEqual(["old", "x", "y", "z"]);
  });

  it("are given up after half a second without a key, and who comes then waits no more", async () => {
    const bench = new Bench();
    bench.push("x", 1);
    await vi.advanceTimersByTimeAsync(HELD_MS_MAX);
    expect(bench.out).toEqual(["x: no key"]);
    bench.push("y", 1);
    bench.push("back");
    await settle();
    expect(bench.out).toEqual(["x: no key", "y: no key", "back"]);
    bench.push("z", 1);
    bench.newKey(1);
    bench.push("after", 1);
    await settle();
    expect(bench.out.at(-1)).toBe("after");
  });

  it("that can't be opened do not hold up those behind", async () => {
    const bench = new Bench();
    bench.push("bad");
    bench.push("good");
    await settle();
    expect(bench.out).toEqual(["bad: forged", "good"]);
  });

  it("wait in a bounded number, and there is room again when they went through", async () => {
    const bench = new Bench();
    for (let i = 0; i < FRAMES_WAITING_MAX; i++) expect(bench.push(`${i}`, 1)).toBe(true);
    expect(bench.push("too many", 1)).toBe(false);
    let room = false;
    void bench.queue.room().then(() => (room = true));
    await settle();
    expect(room).toBe(false);
    bench.newKey(1);
    await settle();
    expect(room).toBe(true);
    expect(bench.out).toHaveLength(FRAMES_WAITING_MAX);
  });

  it("wait in a bounded number of bytes too", () => {
    const bench = new Bench();
    expect(bench.push("large", 1, 0, BYTES_WAITING_MAX)).toBe(true);
    expect(bench.push("one more", 1)).toBe(false);
  });

  it("are forgotten when the stream is closed, and nobody waits for room any more", async () => {
    const bench = new Bench();
    for (let i = 0; i < FRAMES_WAITING_MAX; i++) bench.push(`${i}`, 1);
    const room = bench.queue.room();
    await settle();
    bench.queue.close();
    await room;
    bench.newKey(1);
    await vi.advanceTimersByTimeAsync(1000);
    expect(bench.out).toEqual([]);
    expect(bench.queue.waiting).toBe(0);
  });

  it("keep their order through any course of keys, delays and ends", async () => {
    await forSeedsAsync(300, async (random) => {
      const bench = new Bench();
      const sent: string[] = [];
      for (let i = 0; i < 40; i++) {
        if (random.chance(15)) bench.newKey(bench.epoch + 1);
        else if (random.chance(10)) {
          const name = `end ${i}`;
          bench.queue.mark(() => bench.out.push(name));
          sent.push(name);
        } else if (bench.push(`${i}`, bench.epoch + random.below(2), random.below(4))) {
          sent.push(`${i}`);
        }
        await vi.advanceTimersByTimeAsync(random.below(60));
      }
      bench.newKey(1000);
      await vi.advanceTimersByTimeAsync(1000);
      expect(bench.out.map((one) => one.split(":")[0])).toEqual(sent);
    });
  });
});
