import { describe, expect, it } from "vitest";
import { arrange, bestGrid, capacity, slotsFor, stripCapacity, type Rect } from "./grid";

const gap = 8;
const wide = { width: 1280, height: 640 };
const phone = { width: 320, height: 520 };

const overlap = (a: Rect, b: Rect): boolean =>
  a.x + a.width > b.x + 0.01 &&
  b.x + b.width > a.x + 0.01 &&
  a.y + a.height > b.y + 0.01 &&
  b.y + b.height > a.y + 0.01;

const keys = (n: number): string[] => Array.from({ length: n }, (_, i) => `p${String(i)}`);

describe("the grid", () => {
  it("puts two people side by side in a wide window and one above the other on a phone", () => {
    expect(bestGrid(2, wide, gap)).toMatchObject({ rows: 1, columns: 2 });
    expect(bestGrid(2, phone, gap)).toMatchObject({ rows: 2, columns: 1 });
  });

  it("is square for square numbers in a window of the picture's shape", () => {
    const screen = { width: 1920, height: 1080 };
    expect(bestGrid(4, screen, gap)).toMatchObject({ rows: 2, columns: 2 });
    expect(bestGrid(9, screen, gap)).toMatchObject({ rows: 3, columns: 3 });
    expect(bestGrid(16, screen, gap)).toMatchObject({ rows: 4, columns: 4 });
  });

  it("never overlaps tiles, never leaves the window, in any shape and number", () => {
    for (const area of [wide, phone, { width: 640, height: 200 }, { width: 300, height: 1200 }]) {
      for (let n = 1; n <= capacity(area, gap); n++) {
        for (const stage of [null, "stage"]) {
          const others = keys(stage === null ? n : Math.min(n, stripCapacity(area, gap)));
          const tiles = arrange({ area, gap, others, self: null, stage, rightToLeft: false });
          expect(tiles).toHaveLength(others.length + (stage === null ? 0 : 1));
          for (const { rect } of tiles) {
            expect(rect.x).toBeGreaterThanOrEqual(-0.01);
            expect(rect.y).toBeGreaterThanOrEqual(-0.01);
            expect(rect.x + rect.width).toBeLessThanOrEqual(area.width + 0.01);
            expect(rect.y + rect.height).toBeLessThanOrEqual(area.height + 0.01);
          }
          for (const [i, a] of tiles.entries()) {
            for (const b of tiles.slice(i + 1)) expect(overlap(a.rect, b.rect)).toBe(false);
          }
        }
      }
    }
  });

  it("centres the last row", () => {
    const tiles = arrange({
      area: { width: 1600, height: 900 },
      gap,
      others: keys(5),
      self: null,
      stage: null,
      rightToLeft: false,
    });
    const last = tiles.slice(3).map((t) => t.rect);
    const first = last[0];
    const second = last[1];
    if (first === undefined || second === undefined) throw new Error("two tiles in the last row");
    expect(first.x).toBeCloseTo(1600 - second.x - second.width);
  });
});

describe("one's own tile", () => {
  const base = { area: wide, gap, stage: null, rightToLeft: false };

  it("fills the window alone, floats over one other, joins the grid of more", () => {
    expect(arrange({ ...base, others: [], self: "me" })[0]?.role).toBe("grid");
    const duo = arrange({ ...base, others: ["a"], self: "me" });
    expect(duo.map((t) => t.role)).toEqual(["grid", "float"]);
    const trio = arrange({ ...base, others: ["a", "b"], self: "me" });
    expect(trio.map((t) => t.role)).toEqual(["grid", "grid", "grid"]);
  });
});

describe("the stage", () => {
  it("has its strip beside it in a wide window and below it in a high one", () => {
    const base = { gap, others: ["a"], self: "me", stage: "s", rightToLeft: false };
    const beside = arrange({ ...base, area: wide });
    expect(beside[1]?.rect.x).toBeGreaterThan(beside[0]?.rect.width ?? Infinity);
    const below = arrange({ ...base, area: phone });
    expect(below[1]?.rect.y).toBeGreaterThan(below[0]?.rect.height ?? Infinity);
  });

  it("is mirrored in a right-to-left page", () => {
    const wish = { area: wide, gap, others: ["a"], self: null, stage: "s" };
    const left = arrange({ ...wish, rightToLeft: false });
    const right = arrange({ ...wish, rightToLeft: true });
    for (const [i, tile] of left.entries()) {
      const mirrored = right[i]?.rect;
      expect(mirrored?.x).toBeCloseTo(wide.width - tile.rect.x - tile.rect.width);
    }
  });
});

describe("asked slots", () => {
  it("hold everybody and one more, and grow in steps", () => {
    expect(slotsFor(0, 49)).toEqual({ rows: 2, columns: 2 });
    expect(slotsFor(3, 49)).toEqual({ rows: 2, columns: 2 });
    expect(slotsFor(4, 49)).toEqual({ rows: 3, columns: 3 });
  });

  it("never exceed what the window can show", () => {
    for (let limit = 1; limit <= 60; limit++) {
      for (const count of [0, 1, 5, 30, 1000]) {
        const { rows, columns } = slotsFor(count, limit);
        expect(rows * columns).toBeLessThanOrEqual(Math.min(limit, 49));
        expect(rows * columns).toBeGreaterThanOrEqual(1);
      }
    }
  });
});
