import { describe, expect, it } from "vitest";
import { actionOf } from "./shortcuts";

const press = (key: string, more: Partial<KeyboardEvent> = {}) =>
  actionOf({ key, ctrlKey: false, metaKey: false, altKey: false, repeat: false, ...more });

describe("a key", () => {
  it("acts in either case", () => {
    expect(press("m")).toBe("microphone");
    expect(press("V")).toBe("camera");
    expect(press("s")).toBe("share");
    expect(press("p")).toBe("people");
    expect(press("e")).toBe("encryption");
    expect(press("l")).toBe("leave");
    expect(press("g")).toBe("view");
    expect(press("?")).toBe("shortcuts");
  });

  it("with a name turns the pages, and no letter does by accident", () => {
    expect(press("PageDown")).toBe("next");
    expect(press("PageUp")).toBe("previous");
    expect(press("pagedown")).toBeNull();
  });

  it("belongs to the browser with a modifier, and acts once while held", () => {
    expect(press("m", { ctrlKey: true })).toBeNull();
    expect(press("v", { metaKey: true })).toBeNull();
    expect(press("p", { altKey: true })).toBeNull();
    expect(press("m", { repeat: true })).toBeNull();
  });

  it("without a meaning does nothing", () => {
    expect(press("x")).toBeNull();
    expect(press("Escape")).toBeNull();
  });
});
