import type { KeyHolder } from "@darktower/media";
import { describe, expect, it } from "vitest";
import type { Store } from "../app/storage";
import { KnownDevices } from "./known";

class Fake implements Store {
  readonly items = new Map<string, string>();
  getItem = (key: string): string | null => this.items.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.items.set(key, value);
  removeItem = (key: string): void => void this.items.delete(key);
}

function holder(participantId: string, device: string, account?: string): KeyHolder {
  return {
    leaf: 1,
    participantId,
    name: "Ana",
    self: false,
    account: account === undefined ? null : { issuer: "here", subject: account, name: "Ana" },
    deviceThumbprint: device,
    pairCode: "",
  };
}

describe("a known person", () => {
  it("is flagged with a device that one did not know, in this meeting and the next", () => {
    const store = new Fake();
    expect(new KnownDevices(store).meet([holder("p1", "laptop", "ana")]).size).toBe(0);
    const known = new KnownDevices(store);
    expect(known.meet([holder("p2", "laptop", "ana")]).size).toBe(0);
    expect([...known.meet([holder("p3", "other", "ana")])]).toEqual(["p3"]);
    expect([...known.meet([holder("p3", "other", "ana")])]).toEqual(["p3"]);
  });

  it("is not flagged any more once the codes were compared, with either device", () => {
    const store = new Fake();
    const known = new KnownDevices(store);
    known.meet([holder("p1", "laptop", "ana")]);
    known.accept(holder("p2", "phone", "ana"));
    const later = new KnownDevices(store);
    const both = [holder("p3", "phone", "ana"), holder("p4", "laptop", "ana")];
    expect(later.meet(both).size).toBe(0);
  });

  it("who is a guest is known by their seat, and only while the page is open", () => {
    const store = new Fake();
    const known = new KnownDevices(store);
    known.meet([holder("p1", "laptop")]);
    expect(known.meet([holder("p1", "laptop"), holder("p2", "phone")]).size).toBe(0);
    expect([...known.meet([holder("p1", "phone")])]).toEqual(["p1"]);
    expect(store.items.size).toBe(0);
    expect(new KnownDevices(store).meet([holder("p1", "phone")]).size).toBe(0);
  });

  it("is nobody when the storage holds nonsense", () => {
    for (const nonsense of ["", "{", "[]", "[1]", '[["a"]]', '[["a",[1]]]', "null"]) {
      const store = new Fake();
      store.setItem("darktower.known-devices", nonsense);
      expect(new KnownDevices(store).meet([holder("p1", "x", "ana")]).size).toBe(0);
    }
  });

  it("is one of at most five hundred, and who was met last is kept", () => {
    const store = new Fake();
    const known = new KnownDevices(store);
    for (let i = 0; i < 600; i++) known.meet([holder(`p${String(i)}`, "d", `a${String(i)}`)]);
    const later = new KnownDevices(store);
    expect(later.meet([holder("p", "other", "a0")]).size).toBe(0);
    expect(later.meet([holder("p", "other", "a599")]).size).toBe(1);
  });
});
