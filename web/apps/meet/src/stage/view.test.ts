import { describe, expect, it } from "vitest";
import { loadView, saveView } from "./view";

function memory() {
  const items = new Map<string, string>();
  return {
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => void items.set(key, value),
    removeItem: (key: string) => void items.delete(key),
  };
}

describe("the view", () => {
  it("is a grid with oneself until somebody chooses otherwise", () => {
    expect(loadView(memory())).toEqual({ view: "grid", selfHidden: false });
  });

  it("is remembered as it was chosen", () => {
    const store = memory();
    for (const view of ["speaker", "grid"] as const) {
      for (const selfHidden of [true, false]) {
        saveView(store, { view, selfHidden });
        expect(loadView(store)).toEqual({ view, selfHidden });
      }
    }
  });
});
