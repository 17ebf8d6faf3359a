import { beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../app/storage";
import { dropSeat, hostToken, keepHostToken, loadSeat, saveSeat, type Seat } from "./seat";

let store: Store;
let items: Map<string, string>;

beforeEach(() => {
  items = new Map();
  store = {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
});

const seat: Seat = {
  key: "abcde-fghjk-mnpqr",
  resumeToken: "r1",
  name: "Ana",
  microphoneOn: false,
  cameraOn: true,
};

describe("a seat", () => {
  it("is found again by the same meeting only", () => {
    saveSeat(store, seat);
    expect(loadSeat(store, seat.key)).toEqual(seat);
    expect(loadSeat(store, "other")).toBeNull();
    dropSeat(store);
    expect(loadSeat(store, seat.key)).toBeNull();
  });

  it("that can't be read is none", () => {
    for (const stored of ["", "{", "[]", "null", '{"key":"abcde-fghjk-mnpqr"}']) {
      items.set("darktower.seat", stored);
      expect(loadSeat(store, seat.key)).toBeNull();
    }
  });
});

describe("host tokens", () => {
  it("are kept a meeting and forgotten one by one", () => {
    keepHostToken(store, "a", "ta");
    keepHostToken(store, "b", "tb");
    expect(hostToken(store, "a")).toBe("ta");
    keepHostToken(store, "a", null);
    expect(hostToken(store, "a")).toBeNull();
    expect(hostToken(store, "b")).toBe("tb");
  });

  it("are bounded: the oldest go", () => {
    for (let i = 0; i < 50; i++) keepHostToken(store, `c${String(i)}`, "t");
    expect(hostToken(store, "c0")).toBeNull();
    expect(hostToken(store, "c49")).toBe("t");
    expect(Object.keys(JSON.parse(items.get("darktower.host") ?? "{}") as object)).toHaveLength(20);
  });
});
