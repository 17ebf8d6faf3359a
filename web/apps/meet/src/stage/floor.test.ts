import { describe, expect, it } from "vitest";
import { Floor, HOLD_MS, PROMOTE_MS } from "./floor";

describe("the floor", () => {
  it("is not given for a cough", () => {
    const floor = new Floor();
    floor.hear(["a"], 0);
    floor.hear([], PROMOTE_MS - 1);
    floor.settle(PROMOTE_MS * 10);
    expect(floor.holder).toBeNull();
    expect(floor.spoke).toEqual([]);
  });

  it("is given to whoever speaks on, when it says that it is due", () => {
    const floor = new Floor();
    floor.hear(["a"], 0);
    expect(floor.due(0)).toBe(PROMOTE_MS);
    floor.settle(PROMOTE_MS);
    expect(floor.holder).toBe("a");
    expect(floor.due(PROMOTE_MS)).toBeNull();
  });

  it("stays with who has it while they speak, and in silence", () => {
    const floor = new Floor();
    floor.hear(["a"], 0);
    floor.settle(PROMOTE_MS);
    floor.hear(["b", "a"], 5000);
    floor.settle(9000);
    expect(floor.holder).toBe("a");
    expect(floor.spoke).toEqual(["b", "a"]);
    floor.hear([], 10_000);
    floor.settle(60_000);
    expect(floor.holder).toBe("a");
  });

  it("is not passed on sooner than one can follow", () => {
    const floor = new Floor();
    floor.hear(["a"], 0);
    floor.settle(PROMOTE_MS);
    floor.hear(["b"], PROMOTE_MS + 1);
    floor.settle(2 * PROMOTE_MS + 1);
    expect(floor.holder).toBe("a");
    const due = floor.due(2 * PROMOTE_MS + 1);
    expect(due).toBe(PROMOTE_MS + HOLD_MS);
    floor.settle(PROMOTE_MS + HOLD_MS);
    expect(floor.holder).toBe("b");
  });

  it("goes to another at once when its holder leaves", () => {
    const floor = new Floor();
    floor.hear(["a", "b"], 0);
    floor.settle(PROMOTE_MS);
    expect(floor.holder).toBe("a");
    floor.forget("a", PROMOTE_MS + 10);
    expect(floor.holder).toBe("b");
    expect(floor.spoke).not.toContain("a");
  });

  it("keeps its promises in any conversation, woken only when it asks to be", () => {
    for (let seed = 1; seed <= 300; seed++) {
      let state = seed;
      const random = (n: number): number => {
        state = (state * 1103515245 + 12345) % 2147483648;
        return Math.floor((state / 2147483648) * n);
      };
      const floor = new Floor();
      const since = new Map<string, number>();
      let now = 0;
      let changedAt = -Infinity;
      let holder: string | null = null;
      const look = (): void => {
        if (floor.holder === holder) return;
        expect(now - changedAt).toBeGreaterThanOrEqual(HOLD_MS);
        const began = since.get(floor.holder ?? "");
        expect(now - (began ?? Infinity)).toBeGreaterThanOrEqual(PROMOTE_MS);
        holder = floor.holder;
        changedAt = now;
      };
      for (let step = 0; step < 60; step++) {
        const next = now + random(2500);
        for (let due = floor.due(now); due !== null && due <= next; due = floor.due(now)) {
          expect(due).toBeGreaterThan(now);
          now = due;
          floor.settle(now);
          look();
        }
        now = next;
        const ids = "abcd".split("").filter(() => random(3) === 0);
        for (const id of since.keys()) if (!ids.includes(id)) since.delete(id);
        for (const id of ids) since.set(id, since.get(id) ?? now);
        floor.hear(ids, now);
        look();
      }
      // Who alone goes on speaking gets it in the end, without another word.
      now += 1;
      since.clear();
      since.set("e", now);
      floor.hear(["e"], now);
      look();
      for (let due = floor.due(now); due !== null; due = floor.due(now)) {
        now = due;
        floor.settle(now);
        look();
      }
      expect(floor.holder).toBe("e");
    }
  });
});
