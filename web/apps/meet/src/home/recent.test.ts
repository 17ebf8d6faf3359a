import { describe, expect, it } from "vitest";
import { parseRecent, withMeeting, type RecentMeeting } from "./recent";

const meeting = (code: string, at = 0): RecentMeeting => ({ code, title: "", at });

describe("recent meetings", () => {
  it("hold each meeting once, the newest first", () => {
    const list = withMeeting(withMeeting([meeting("a")], meeting("b")), meeting("a", 5));
    expect(list).toEqual([meeting("a", 5), meeting("b")]);
  });

  it("are bounded", () => {
    let list: readonly RecentMeeting[] = [];
    for (let i = 0; i < 100; i++) list = withMeeting(list, meeting(String(i)));
    expect(list).toHaveLength(8);
    expect(list[0]?.code).toBe("99");
  });

  it("survive whatever stands in the storage", () => {
    for (const stored of [null, "", "{", "{}", "[1,null,{}]", '[{"code":1,"title":"","at":0}]']) {
      expect(parseRecent(stored)).toEqual([]);
    }
    expect(parseRecent(JSON.stringify([meeting("a"), 7]))).toEqual([meeting("a")]);
  });
});
