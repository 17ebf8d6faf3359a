import { describe, expect, it } from "vitest";
import { keyOfPath, readCode, readInvitation } from "./link";

const origin = "https://meet.example.org";
const code = "abcde-fghjk-mnpqr";

describe("an invitation", () => {
  it("is a code with any case, spaces or hyphens", () => {
    for (const text of [code, "ABCDEFGHJKMNPQR", " abcde fghjk mnpqr ", "abcde–fghjk–mnpqr"]) {
      expect(readInvitation(text, origin)).toEqual({ kind: "here", key: code });
    }
  });

  it("reads look-alike letters as the digits they stand for", () => {
    expect(readCode("obcde-ighjk-lnpqr")).toBe("0bcde-1ghjk-1npqr");
  });

  it("is a link to this server, whole, without scheme, or as a path", () => {
    for (const text of [
      `${origin}/m/${code}`,
      `${origin}/m/${code}/?from=mail#x`,
      `/m/${code}`,
      `meet.example.org/m/${code}`,
    ]) {
      expect(readInvitation(text, origin)).toEqual({ kind: "here", key: code });
    }
  });

  it("may lead to another server", () => {
    expect(readInvitation(`https://other.example/m/${code}`, origin)).toEqual({
      kind: "elsewhere",
      url: `https://other.example/m/${code}`,
    });
  });

  it("may name the meeting by its UUID", () => {
    const id = "6f1c2c1e-0c34-4a55-8a1e-5b7a1f6c2d3e";
    expect(readInvitation(id.toUpperCase(), origin)).toEqual({ kind: "here", key: id });
  });

  it("is nothing else", () => {
    for (const text of [
      "",
      "hello",
      "abcde-fghjk",
      "abcde-fghjk-mnpqu",
      `javascript:/m/${code}`,
      `ftp://meet.example.org/m/${code}`,
      "https://meet.example.org/about",
      "https://",
      "/m/%E0%A4%A",
    ]) {
      expect(readInvitation(text, origin), text).toBeNull();
    }
  });
});

describe("the page's own path", () => {
  it("names a meeting below /m/ only", () => {
    expect(keyOfPath(`/m/${code}`)).toBe(code);
    expect(keyOfPath("/")).toBeNull();
    expect(keyOfPath("/m/")).toBeNull();
    expect(keyOfPath("/m/a/b")).toBeNull();
  });
});
