import { describe, expect, it } from "vitest";
import { BaseLayer, Deduplicator, type Extension } from "../src";

const layer = (temporalLayer: number, mark: number): Extension => ({
  encoding: 0,
  temporalLayer,
  mark,
  fragment: 0,
  group: 0,
});

describe("the base layer", () => {
  it("is whole when only upper layers are left out", () => {
    const base = new BaseLayer();
    expect(base.accept("key", layer(0, 254))).toBe("decodable");
    expect(base.accept("delta", layer(1, 254))).toBe("decodable");
    expect(base.accept("delta", layer(0, 255))).toBe("decodable");
    expect(base.accept("delta", layer(0, 0))).toBe("decodable");
  });

  it("says a missing frame once and waits for a key frame", () => {
    const base = new BaseLayer();
    expect(base.accept("delta", layer(0, 1))).toBe("waiting");
    base.accept("key", layer(0, 10));
    expect(base.accept("delta", layer(0, 12))).toBe("gap");
    expect(base.accept("delta", layer(0, 13))).toBe("waiting");
    expect(base.accept("key", layer(0, 14))).toBe("decodable");
  });

  it("is not broken by a frame that comes late", () => {
    const base = new BaseLayer();
    base.accept("key", layer(0, 5));
    base.accept("delta", layer(0, 6));
    expect(base.accept("delta", layer(0, 6))).toBe("late");
    expect(base.accept("delta", layer(0, 7))).toBe("decodable");
  });
});

describe("the deduplicator", () => {
  it("takes each frame once, late ones too", () => {
    const seen = new Deduplicator(3);
    expect(seen.isNew(10n)).toBe(true);
    expect(seen.isNew(10n)).toBe(false);
    expect(seen.isNew(5n)).toBe(true);
    expect(seen.isNew(20n)).toBe(true);
    expect(seen.isNew(30n)).toBe(true);
    expect(seen.isNew(10n)).toBe(false);
    expect(seen.isNew(1n)).toBe(false);
  });
});
