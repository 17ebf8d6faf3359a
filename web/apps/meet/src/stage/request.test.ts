import { describe, expect, it } from "vitest";
import { layoutFor } from "./request";

const base = { view: "grid", count: 3, pinned: [], shown: [1, 2, 3] } as const;

describe("the layout that is asked for", () => {
  it("has a slot for everybody and one more, and grows in steps", () => {
    expect(layoutFor({ ...base, count: 0 })).toMatchObject({ kind: "grid", rows: 2, columns: 2 });
    expect(layoutFor({ ...base, count: 3 })).toMatchObject({ kind: "grid", rows: 2, columns: 2 });
    expect(layoutFor({ ...base, count: 4 })).toMatchObject({ kind: "grid", rows: 3, columns: 3 });
  });

  it("has as many slots in the speaker view", () => {
    const layout = layoutFor({ ...base, view: "speaker", count: 4 });
    expect(layout).toMatchObject({ kind: "speaker", strip: 8 });
  });

  it("names only what is pinned, as long as there are slots for all", () => {
    expect(layoutFor({ ...base, count: 49, pinned: [7] }).pinned).toEqual([7]);
  });

  it("names who is shown above that, what is pinned first, nobody twice", () => {
    const layout = layoutFor({ ...base, count: 50, pinned: [2] });
    expect(layout).toMatchObject({ kind: "grid", rows: 7, columns: 7, pinned: [2, 1, 3] });
  });
});
