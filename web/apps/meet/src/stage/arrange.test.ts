import { describe, expect, it } from "vitest";
import { arrange, gridRoom, stripRoom, type Wish } from "./arrange";
import type { Rect } from "./grid";

const gap = 8;
const wide = { width: 1280, height: 640 };
const phone = { width: 320, height: 520 };
const base: Wish = {
  area: wide,
  gap,
  large: [],
  others: [],
  self: null,
  page: null,
  rightToLeft: false,
};

const overlap = (a: Rect, b: Rect): boolean =>
  a.x + a.width > b.x + 0.01 &&
  b.x + b.width > a.x + 0.01 &&
  a.y + a.height > b.y + 0.01 &&
  b.y + b.height > a.y + 0.01;

const keys = (n: number, name = "p"): string[] =>
  Array.from({ length: n }, (_, i) => `${name}${String(i)}`);

describe("an arrangement", () => {
  it("never overlaps and never leaves the window, in any shape, number and view", () => {
    const shapes = [wide, phone, { width: 640, height: 300 }, { width: 300, height: 1200 }];
    shapes.push({ width: 520, height: 470 }, { width: 800, height: 700 });
    // Five tiles of the strip fit exactly, and then four with the pager.
    shapes.push({ width: 1280, height: 690 });
    for (const area of shapes) {
      for (const large of [0, 1, 2, 9]) {
        for (const paged of [false, true]) {
          const room = (large === 0 ? gridRoom : stripRoom)(area, gap, paged);
          for (let n = 1; n <= room; n++) {
            const page = paged ? room : null;
            const wish = { ...base, area, page, large: keys(large, "l"), others: keys(n) };
            const { tiles, pager } = arrange(wish);
            expect(tiles).toHaveLength(n + large);
            expect(pager !== null).toBe(paged);
            const rects = tiles.map((tile) => tile.rect);
            if (pager !== null) rects.push(pager);
            for (const rect of rects) {
              expect(rect.x).toBeGreaterThanOrEqual(-0.01);
              expect(rect.y).toBeGreaterThanOrEqual(-0.01);
              expect(rect.x + rect.width).toBeLessThanOrEqual(area.width + 0.01);
              expect(rect.y + rect.height).toBeLessThanOrEqual(area.height + 0.01);
            }
            for (const [i, a] of rects.entries()) {
              for (const b of rects.slice(i + 1)) expect(overlap(a, b)).toBe(false);
            }
          }
        }
      }
    }
  });

  it("has tiles of one size on all pages, above the pager", () => {
    const page = gridRoom(wide, gap, true);
    const full = arrange({ ...base, page, others: keys(page) });
    const last = arrange({ ...base, page, others: keys(3) });
    expect(last.pager).toEqual(full.pager);
    for (const [i, { rect }] of last.tiles.entries()) {
      expect(rect.width).toBe(full.tiles[i]?.rect.width);
      expect(rect.y).toBe(full.tiles[i]?.rect.y);
    }
  });

  it("is empty while the window has no size", () => {
    const area = { width: 0, height: 640 };
    expect(arrange({ ...base, area, others: ["a"] })).toEqual({ tiles: [], pager: null });
  });
});

describe("one's own tile", () => {
  it("fills the window alone, floats over one other, joins the grid of more", () => {
    const roles = (wish: Partial<Wish>) =>
      arrange({ ...base, self: "me", ...wish }).tiles.map((tile) => tile.role);
    expect(roles({})).toEqual(["grid"]);
    expect(roles({ others: ["a"] })).toEqual(["grid", "float"]);
    expect(roles({ others: ["a", "b"] })).toEqual(["grid", "grid", "grid"]);
  });

  it("floats over what is large alone, and ends the strip of others", () => {
    const alone = arrange({ ...base, self: "me", large: ["s"] });
    expect(alone.tiles.map((tile) => tile.role)).toEqual(["stage", "float"]);
    expect(alone.tiles[0]?.rect).toEqual({ x: 0, y: 0, ...wide });
    const strip = arrange({ ...base, self: "me", large: ["s"], others: ["a"] });
    expect(strip.tiles.map((tile) => tile.key)).toEqual(["s", "a", "me"]);
    expect(strip.tiles[2]?.role).toBe("strip");
  });
});

describe("the stage", () => {
  const staged: Wish = { ...base, others: ["a"], self: "me", large: ["s"] };

  it("has its strip beside it in a wide window and below it in a high one", () => {
    const beside = arrange(staged).tiles;
    expect(beside[1]?.rect.x).toBeGreaterThan(beside[0]?.rect.width ?? Infinity);
    const below = arrange({ ...staged, area: phone }).tiles;
    expect(below[1]?.rect.y).toBeGreaterThan(below[0]?.rect.height ?? Infinity);
  });

  it("shares its room among several, who are all larger than the strip", () => {
    const { tiles } = arrange({ ...staged, large: ["s", "t", "u"] });
    const large = tiles.filter((tile) => tile.role === "stage");
    expect(large).toHaveLength(3);
    const strip = tiles.find((tile) => tile.role === "strip");
    for (const { rect } of large) expect(rect.width).toBeGreaterThan(strip?.rect.width ?? Infinity);
  });

  it("is mirrored in a right-to-left page, the pager with it", () => {
    const left = arrange({ ...staged, page: 3 });
    const right = arrange({ ...staged, page: 3, rightToLeft: true });
    for (const [i, tile] of left.tiles.entries()) {
      const mirrored = right.tiles[i]?.rect;
      expect(mirrored?.x).toBeCloseTo(wide.width - tile.rect.x - tile.rect.width);
    }
    expect(left.pager?.x).toBeGreaterThan(wide.width / 2);
    expect(right.pager?.x).toBeCloseTo(0);
  });
});
