import { describe, expect, it } from "vitest";
import { bestGrid, capacity, filling, gridRects } from "./grid";

const gap = 8;
const wide = { width: 1280, height: 640 };
const phone = { width: 320, height: 520 };

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

  it("centres the last row", () => {
    const rects = gridRects(5, 5, { x: 0, y: 0, width: 1600, height: 900 }, gap);
    const [first, second] = rects.slice(3);
    if (first === undefined || second === undefined) throw new Error("two tiles in the last row");
    expect(first.x).toBeCloseTo(1600 - second.x - second.width);
  });

  it("has tiles of the same size on a page that is not full", () => {
    const area = { x: 0, y: 0, ...wide };
    const full = gridRects(12, 12, area, gap);
    const last = gridRects(5, 12, area, gap);
    expect(last[0]?.width).toBe(full[0]?.width);
    expect(last[0]?.height).toBe(full[0]?.height);
    expect(last[0]?.y).toBe(full[0]?.y);
  });

  it("holds more people the larger the window is, and on no window unreadable tiles", () => {
    expect(capacity(phone, gap)).toBe(10);
    expect(capacity(wide, gap)).toBe(30);
    expect(capacity({ width: 1920, height: 980 }, gap)).toBe(49);
    expect(capacity({ width: 10, height: 10 }, gap)).toBe(1);
    for (const area of [wide, phone, { width: 700, height: 400 }]) {
      const { tile } = bestGrid(capacity(area, gap), area, gap);
      expect(tile.width).toBeGreaterThan(120);
      expect(tile.height).toBeGreaterThan(80);
    }
  });
});

describe("a picture that fills its tile", () => {
  it("is as large as with what is cropped of it", () => {
    expect(filling({ width: 90, height: 90 }, 16 / 9)).toEqual({ width: 160, height: 90 });
    expect(filling({ width: 320, height: 90 }, 16 / 9)).toEqual({ width: 320, height: 180 });
    expect(filling({ width: 90, height: 160 }, 9 / 16)).toEqual({ width: 90, height: 160 });
  });
});
