import { ApiError, JoinError } from "@darktower/session";
import { describe, expect, it } from "vitest";
import { endingOf } from "./ending";

describe("a failed join", () => {
  it("ends as the SDK says", () => {
    expect(endingOf(new JoinError("full", ""))).toBe("full");
    expect(endingOf(new JoinError("unsupported", ""))).toBe("unsupported");
  });

  it("ends as the API's error means", () => {
    const of = (code: string, status: number): string => endingOf(new ApiError(code, status, ""));
    expect(of("MEETING_NOT_FOUND", 404)).toBe("not-found");
    expect(of("RATE_LIMITED", 429)).toBe("rate-limited");
    expect(of("UNREACHABLE", 0)).toBe("unreachable");
    expect(of("BAD_ANSWER", 502)).toBe("unreachable");
    expect(of("INTERNAL_ERROR", 500)).toBe("failed");
    expect(endingOf(new TypeError("x"))).toBe("failed");
  });

  it("tells a meeting that is over from one that never was", () => {
    const over = (reason: string): string =>
      endingOf(new ApiError("MEETING_NOT_FOUND", 404, "", { reason }));
    expect(over("ended")).toBe("ended");
    expect(over("expired")).toBe("ended");
    expect(over("another")).toBe("not-found");
  });
});
