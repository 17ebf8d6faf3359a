import type { Alarm, EncryptionState } from "@darktower/media";
import { describe, expect, it } from "vitest";
import { lockOf } from "./lock";

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
