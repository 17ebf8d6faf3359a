import { describe, expect, it } from "vitest";
import { ASK_AGAIN_MS, BEHIND_AFTER_MS, Behind } from "../src/rules/behind";

describe("a member", () => {
  it("is behind once nothing was opened for two seconds, and asks once a minute", () => {
    const behind = new Behind();
    const asked: number[] = [];
    for (let now = 0; now < 2 * ASK_AGAIN_MS; now += 100) if (behind.inVain(now)) asked.push(now);
    expect(asked).toEqual([BEHIND_AFTER_MS, BEHIND_AFTER_MS + ASK_AGAIN_MS]);
  });

  it("is not behind while it has no signaling, nor for that when it is back", () => {
    const behind = new Behind();
    behind.setAway(true);
    for (let now = 0; now < 10_000; now += 100) expect(behind.inVain(now)).toBe(false);
    behind.setAway(false);
    for (let now = 10_000; now < 12_000; now += 100) expect(behind.inVain(now)).toBe(false);
    expect(behind.inVain(12_000)).toBe(true);
  });

  it("is not behind while anybody's frames are opened", () => {
    const behind = new Behind();
    for (let now = 0; now < 60_000; now += 100) {
      behind.opened();
      expect(behind.inVain(now)).toBe(false);
    }
  });
});
