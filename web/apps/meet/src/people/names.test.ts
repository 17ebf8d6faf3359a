import { describe, expect, it } from "vitest";
import { hue, initials, matches, tidyName } from "./names";

describe("a person's name", () => {
  it("gives initials of the first and last word, in any script", () => {
    expect(initials("Ana Lucía Pérez")).toBe("AP");
    expect(initials("ana")).toBe("A");
    expect(initials("李小龙")).toBe("李");
    expect(initials("(Zoë) o'Neil")).toBe("ZO");
    expect(initials("  ")).toBe("");
    expect(initials("e\u0301mile \u1112\u1161\u11ab 👩‍🚀 x")).toBe("E\u0301X");
    expect(initials("👩‍🚀")).toBe("👩‍🚀");
    expect(initials("\u1112\u1161\u11ab")).toBe("\u1112\u1161\u11ab");
  });

  it("is sent trimmed and bounded", () => {
    expect(tidyName("  Ana \n Pérez ")).toBe("Ana Pérez");
    expect(tidyName("x".repeat(500))).toHaveLength(64);
  });

  it("is found without accents, case and order", () => {
    expect(matches("Zoë Müller", "muller zoe")).toBe(true);
    expect(matches("Zoë Müller", "")).toBe(true);
    expect(matches("Zoë Müller", "ana")).toBe(false);
  });

  it("has a colour that stays", () => {
    expect(hue("a")).toBe(hue("a"));
    expect(new Set(["1", "2", "3", "4", "5", "6"].map(hue)).size).toBeGreaterThan(2);
  });
});
