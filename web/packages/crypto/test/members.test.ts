// What a person is warned of, and who counts as whom.
import { describe, expect, it } from "vitest";
import { Members, MISMATCH_MS } from "../src/members";
import type { LeafIdentity, LeafView } from "../src/mls";
import { utf8 } from "./bytes";
import { MEETING, Meeting } from "./delivery";
import { MlsKind } from "@darktower/protocol";

const CLAIMS = { meetingId: MEETING, participantId: "me", name: "Me" };

function view(leaf: number, participantId: string, more: Partial<LeafIdentity> = {}): LeafView {
  const identity = { participantId, name: participantId, meetingId: MEETING, ...more };
  return { leaf, signatureKey: utf8(`key ${leaf}`), identity: utf8(JSON.stringify(identity)) };
}

function read({ identity }: LeafView): LeafIdentity {
  const told = JSON.parse(new TextDecoder().decode(identity)) as Partial<LeafIdentity>;
  if (told.name === "bad") throw new Error("the device did not sign this leaf");
  return { deviceKey: utf8("device"), statement: "", ...told } as LeafIdentity;
}

function group(...views: LeafView[]): Members {
  const members = new Members(CLAIMS, read);
  members.setLeaves([view(0, "me"), ...views], 0, 0);
  return members;
}

describe("leaves read ahead", () => {
  it("are not read again, and a leaf that is another by then is", () => {
    const seen: string[] = [];
    const members = new Members(CLAIMS, (view) => {
      const identity = read(view);
      seen.push(identity.participantId);
      return identity;
    });
    members.prepare([view(0, "me"), view(1, "bob"), view(2, "carol")]);
    members.setLeaves([view(0, "me"), view(1, "eve"), view(2, "carol")], 0, 0);
    expect(seen).toEqual(["me", "bob", "carol", "eve"]);
    expect([...members.senders().values()]).toEqual(["me", "eve", "carol"]);
  });

  it("are no members", () => {
    const members = new Members(CLAIMS, read);
    members.prepare([view(0, "me"), view(1, "bob")]);
    expect(members.list()).toEqual([]);
    members.setLeaves([view(0, "me")], 0, 0);
    expect([...members.senders().values()]).toEqual(["me"]);
  });
});

describe("alarms", () => {
  it("somebody in the group who is not on the roster is a stranger after two seconds", () => {
    const members = group(view(1, "ghost"));
    expect(members.alarms(MISMATCH_MS)).toEqual([]);
    members.setRoster(["me"], 100);
    expect(members.due(100)).toBe(100 + MISMATCH_MS);
    expect(members.alarms(99 + MISMATCH_MS)).toEqual([]);
    const alarm = { kind: "stranger", name: "ghost", leaf: 1 };
    expect(members.alarms(100 + MISMATCH_MS)).toEqual([alarm]);
    members.setRoster(["me", "ghost"], 5000);
    expect(members.alarms(9000)).toEqual([]);
    expect(members.due(9000)).toBeUndefined();
  });

  it("who was removed and keeps the keys over two seconds stays", () => {
    const members = group(view(1, "bob"));
    members.setRoster(["me", "bob"], 0);
    members.setRoster(["me"], 1000);
    expect(members.alarms(2999)).toEqual([]);
    expect(members.alarms(3000)).toEqual([{ kind: "stays", name: "bob", leaf: 1 }]);
    members.setLeaves([view(0, "me")], 0, 3100);
    expect(members.alarms(9000)).toEqual([]);
  });

  it("new epochs don't give a stranger more time", () => {
    const members = group(view(1, "ghost"));
    members.setRoster(["me"], 0);
    members.setLeaves([view(0, "me"), view(1, "ghost"), view(2, "bob")], 0, 1500);
    members.setRoster(["me", "bob"], 1500);
    expect(members.alarms(2000)).toEqual([{ kind: "stranger", name: "ghost", leaf: 1 }]);
  });

  it("of two leaves that claim one participant neither is believed", () => {
    const members = group(view(1, "bob"), view(2, "bob"));
    expect(members.alarms(0)).toEqual([{ kind: "double", name: "bob", participantId: "bob" }]);
    expect([...members.senders()]).toEqual([[0, "me"]]);
  });

  it("a leaf that claims to be us is an alarm", () => {
    const members = group(view(1, "me"));
    expect(members.alarms(0)).toEqual([{ kind: "double", name: "me", participantId: "me" }]);
  });

  it("a credential that is forged or of another meeting is not believed", () => {
    const members = group(
      view(1, "eve", { name: "bad" }),
      view(2, "mallory", { meetingId: "another" }),
      view(3, "bob"),
    );
    expect(members.alarms(0).map((alarm) => alarm.kind)).toEqual([
      "untrustworthy",
      "untrustworthy",
    ]);
    expect([...members.senders().values()]).toEqual(["me", "bob"]);
    expect(members.list().map((member) => member.problem)).toEqual([
      undefined,
      "bad-credential",
      "other-meeting",
      undefined,
    ]);
  });
});

describe("statements", () => {
  const account = { issuer: "here", subject: "7", name: "Bob B." };

  it("each is checked once, however many epochs it is in", () => {
    const members = new Members(CLAIMS, read);
    const leaves = [view(0, "me"), view(1, "bob", { statement: "jws" })];
    expect(members.setLeaves(leaves, 0, 0)).toHaveLength(1);
    expect(members.setLeaves([...leaves, view(2, "carol")], 0, 0)).toEqual([]);
  });

  it("a good one names the account, a bad one makes its member untrustworthy", () => {
    const members = new Members(CLAIMS, read);
    const leaves = [
      view(0, "me"),
      view(1, "bob", { statement: "good" }),
      view(2, "eve", { statement: "bad" }),
      view(3, "carol", { statement: "unknown" }),
    ];
    const checks = members.setLeaves(leaves, 0, 0);
    expect(members.list().map((member) => member.standing.kind)).toEqual([
      "guest",
      "unchecked",
      "unchecked",
      "unchecked",
    ]);
    for (const check of checks) {
      if (check.statement === "good") members.setVerdict(check, { verdict: "good", account });
      if (check.statement === "bad") members.setVerdict(check, { verdict: "bad", reason: "" });
    }
    expect(members.list()[1]?.standing).toEqual({ kind: "account", account });
    expect(members.alarms(0)).toEqual([{ kind: "untrustworthy", name: "eve", leaf: 2 }]);
    expect([...members.senders().values()]).toEqual(["me", "bob", "carol"]);
  });
});

describe("in a meeting", () => {
  it("a removed participant whose leaf nobody removes raises the alarm, until it is gone", async () => {
    const meeting = new Meeting();
    const [a, b, c] = await meeting.join("A", "B", "C");
    if (a === undefined || b === undefined || c === undefined) throw new Error("three come");
    meeting.tamper = (_, mls) => (mls.kind === MlsKind.MLS_COMMIT_WANTED ? undefined : mls);
    meeting.remove(c);
    await meeting.advance(1999);
    expect(a.alarms).toEqual([]);
    await meeting.advance(1);
    expect(a.alarms).toEqual([{ kind: "stays", name: "C", leaf: 2 }]);
    meeting.tamper = (_, mls) => mls;
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    expect(a.alarms).toEqual([]);
  });

  it("somebody whom the controller hides raises the alarm", async () => {
    const meeting = new Meeting();
    const [a, b, c] = await meeting.join("A", "B", "C");
    if (a === undefined || b === undefined || c === undefined) throw new Error("three come");
    meeting.people.splice(2, 1);
    a.session.handleRoster([a.id, b.id], meeting.nowMs);
    await meeting.advance(2000);
    expect(a.alarms.map((alarm) => alarm.kind)).toEqual(["stays"]);
    expect(b.alarms).toEqual([]);
  });

  it("keys tell whose frames are opened", async () => {
    const meeting = new Meeting();
    const [a, b] = await meeting.join("A", "B");
    expect([...(a?.keys.at(-1)?.senders.values() ?? [])]).toEqual([a?.id, b?.id]);
  });

  it("a statement is handed out to be checked, and its verdict changes whom we open", async () => {
    const meeting = new Meeting();
    const [a] = await meeting.join("A");
    const b = await meeting.add("B", "a.b.c");
    await meeting.settle();
    const check = a?.checks[0];
    if (a === undefined || check === undefined) throw new Error("a statement is shown");
    expect(check.statement).toBe("a.b.c");
    a.session.handleVerdict(check, { verdict: "bad", reason: "forged" }, meeting.nowMs);
    const senders = a.session.effects.find((effect) => effect.type === "senders");
    expect(senders?.id).toBe(a.keys.at(-1)?.id);
    expect([...(senders?.senders.values() ?? [])]).toEqual([a.id]);
    await meeting.settle();
    expect(a.alarms).toEqual([{ kind: "untrustworthy", name: "B", leaf: 1 }]);
    expect(b.session.isMember).toBe(true);
  });
});
