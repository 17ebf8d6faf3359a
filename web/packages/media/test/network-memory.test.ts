import { afterEach, describe, expect, it, vi } from "vitest";
import { recallNetwork, rememberNetwork } from "../src/network-memory";

function browser(type: unknown, stored = new Map<string, string>()): Map<string, string> {
  vi.stubGlobal("navigator", { connection: { type } });
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
    removeItem: (key: string) => stored.delete(key),
  });
  return stored;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("what is remembered of networks", () => {
  it("is told apart by the kind of connection", () => {
    const stored = browser("wifi");
    expect(recallNetwork()).toBeUndefined();
    rememberNetwork(1000);
    expect(recallNetwork()).toBe(1000);
    browser("cellular", stored);
    expect(recallNetwork()).toBeUndefined();
    rememberNetwork(2000);
    browser("wifi", stored);
    expect(recallNetwork()).toBe(1000);
    rememberNetwork(undefined);
    expect(recallNetwork()).toBeUndefined();
    browser("cellular", stored);
    rememberNetwork(undefined);
    expect(stored.size).toBe(0);
  });

  it("is little, whatever browsers call their networks", () => {
    const stored = new Map<string, string>();
    for (let i = 0; i < 50; i++) {
      browser(`network ${i}`, stored);
      rememberNetwork(i);
    }
    expect(Object.keys(JSON.parse([...stored.values()][0] ?? "") as object)).toHaveLength(8);
    browser("network 49", stored);
    expect(recallNetwork()).toBe(49);
  });

  it.each(["not json", "null", "5", '{"any":"soon"}', '{"any":null}', "[1]"])(
    "is nothing where %j is stored",
    (text) => {
      browser(undefined, new Map([["darktower.network", text]]));
      expect(recallNetwork()).toBeUndefined();
      rememberNetwork(3);
      expect(recallNetwork()).toBe(3);
    },
  );

  it("is nothing in a browser that withholds its storage", () => {
    vi.stubGlobal("navigator", {});
    vi.stubGlobal("localStorage", undefined);
    rememberNetwork(3);
    expect(recallNetwork()).toBeUndefined();
  });
});
