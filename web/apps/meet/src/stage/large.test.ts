import { describe, expect, it } from "vitest";
import { largeOf, type Candidates } from "./large";

const all: Candidates = {
  view: "speaker",
  pinned: "pin",
  spotlight: ["lit", "lit too"],
  screens: ["screen", "newer screen"],
  floor: "speaker",
  others: ["first", "second"],
};

describe("what is large", () => {
  it("is what one pinned, before the spotlight, a screen, and who speaks", () => {
    expect(largeOf(all)).toEqual(["pin"]);
    expect(largeOf({ ...all, pinned: null })).toEqual(["lit", "lit too"]);
    const unlit = { ...all, pinned: null, spotlight: [] };
    expect(largeOf(unlit)).toEqual(["newer screen"]);
    expect(largeOf({ ...unlit, screens: [] })).toEqual(["speaker"]);
    expect(largeOf({ ...unlit, screens: [], floor: null })).toEqual(["first"]);
    expect(largeOf({ ...unlit, screens: [], floor: null, others: [] })).toEqual([]);
  });

  it("is nobody for speaking alone in the grid", () => {
    const grid = { ...all, view: "grid" } as const;
    expect(largeOf({ ...grid, pinned: null, spotlight: [], screens: [] })).toEqual([]);
    expect(largeOf({ ...grid, pinned: null, spotlight: [] })).toEqual(["newer screen"]);
    expect(largeOf(grid)).toEqual(["pin"]);
  });
});
