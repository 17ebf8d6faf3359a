import { describe, expect, it } from "vitest";
import { browserOf, problemOf } from "./problems";

describe("a failed device", () => {
  it("is told apart by what a person can do about it", () => {
    const of = (name: string, message = ""): string => problemOf(new DOMException(message, name));
    expect(of("NotAllowedError", "Permission denied")).toBe("refused");
    expect(of("NotAllowedError", "Permission denied by system")).toBe("refused-by-system");
    expect(of("NotFoundError")).toBe("none");
    expect(of("NotReadableError")).toBe("busy");
    expect(of("SecurityError")).toBe("insecure");
    expect(of("TypeError")).toBe("failed");
    expect(problemOf("what")).toBe("failed");
  });
});

describe("instructions", () => {
  it("are for the browser at hand", () => {
    expect(
      browserOf("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
    ).toBe("firefox");
    expect(
      browserOf("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36"),
    ).toBe("chromium");
    expect(
      browserOf("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15"),
    ).toBe("safari");
    expect(browserOf("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0) CriOS/156")).toBe("ios");
    expect(browserOf("Mozilla/5.0 (Linux; Android 16) Chrome/156.0 Mobile Safari/537.36")).toBe(
      "android",
    );
  });
});
