import type { Alarm, EncryptionState, KeyHolder } from "@darktower/media";
import { describe, expect, it } from "vitest";
import { texts } from "../texts";
import { byParticipant, lockOf, standingOf } from "./lock";

const endToEnd = (...alarms: Alarm[]): EncryptionState => ({
  kind: "end-to-end",
  suite: 4,
  view: { position: { group: 1, epoch: 0n }, meetingCode: "", holders: [], alarms },
});

describe("the lock", () => {
  it("is closed only while keys are held and nothing is wrong", () => {
    expect(lockOf(endToEnd(), 0)).toBe("end-to-end");
    expect(lockOf({ kind: "waiting" }, 0)).toBe("waiting");
    expect(lockOf({ kind: "transport" }, 0)).toBe("transport");
  });

  it("warns of a stranger and of a key that is not the known one", () => {
    expect(lockOf(endToEnd({ kind: "stranger", name: "Eve", leaf: 3 }), 0)).toBe("alarm");
    expect(lockOf(endToEnd(), 1)).toBe("alarm");
  });
});

function holder(participantId: string, more: Partial<KeyHolder> = {}): KeyHolder {
  const common = { leaf: 0, name: participantId, self: false, account: null };
  return { ...common, participantId, deviceThumbprint: "device", pairCode: "", ...more };
}

describe("who holds the keys", () => {
  it("is an account that is vouched for, a guest, or nobody who could prove it", () => {
    const account = { issuer: "here", subject: "7", name: "Bo B." };
    expect(standingOf(holder("bo", { account }))).toMatch(/verified account Bo B\./i);
    expect(standingOf(holder("bo"))).toMatch(/guest, not verified/i);
    expect(standingOf(holder("bo", { deviceThumbprint: "" }))).toMatch(/can’t prove/i);
  });

  it("is nobody where two claim to be the same", () => {
    const found = byParticipant([holder("ana"), holder("bo"), holder("bo", { name: "Bo too" })]);
    expect([...found.keys()]).toEqual(["ana"]);
  });

  it("is named in alarms in quotes, and not at all where the name can't be read", () => {
    const { alarms } = texts.encryption;
    for (const say of Object.values(alarms)) {
      expect(say("Eve")).toContain("“\u2068Eve\u2069”");
      expect(say("")).not.toContain("“");
    }
  });
});
