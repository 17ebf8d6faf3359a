// A controller that lies, and what each client does: what it warns of, which
// frames it leaves closed, and when it gives the group up for another way in.
// That frames are replayed or put into another's stream is tested where they
// are opened, here and in the media package.
import { EntryWay, MlsKind, type Mls } from "@darktower/protocol";
import { beforeAll, describe, expect, it } from "vitest";
import type { MlsMember } from "../src/mls";
import { Opener, Sealer, importBaseKey, type EpochKeys } from "../src/sframe";
import { thumbprint, verifyStatement } from "../src/statement";
import { bytesToBase64Url } from "../src/text";
import { utf8 } from "./bytes";
import { Meeting, Person } from "./delivery";
import { MISMATCH_MS } from "../src/members";
import { expectTogether, three } from "./together";
import { engine } from "./wasm";

const AAD = utf8("about the frame");
/** Whoever the controller itself plays has a number that nobody has. */
const INTRUDER = 66;

async function keysOf(person: Person): Promise<EpochKeys> {
  const keys = person.keys.at(-1);
  if (keys === undefined) throw new Error(`${person.claims.name} has no keys`);
  const { senders } = person;
  return { ...keys, senders, baseKey: await importBaseKey(keys.baseKey.slice()) };
}

async function sealedWith(keys: EpochKeys): Promise<Uint8Array<ArrayBuffer>> {
  const sealer = new Sealer(4);
  sealer.setEpoch(keys);
  return sealer.seal(1, 0, AAD, utf8("a picture"));
}

/** What becomes of a frame at this person: whose it is, or why it stays closed. */
async function opened(by: Person, frame: Uint8Array<ArrayBuffer>): Promise<string> {
  const opener = new Opener(4);
  opener.addEpoch(await keysOf(by), 0);
  const result = await opener.open(AAD, frame, 0);
  return result.ok ? result.participantId : result.error;
}

async function frameOf(person: Person): Promise<Uint8Array<ArrayBuffer>> {
  return sealedWith(await keysOf(person));
}

/** Of a member that is no participant. */
async function frameOfLeaf(member: MlsMember, by: Person): Promise<Uint8Array<ArrayBuffer>> {
  const { baseKey } = member.keys(4);
  const like = await keysOf(by);
  return sealedWith({ ...like, leaf: member.ownLeaf, baseKey: await importBaseKey(baseKey) });
}

/** A key package of the controller's own. */
async function candidateOf(claimed: Person) {
  const leafKey = engine.newLeafKey();
  return engine.candidate(leafKey, await claimed.credential(leafKey));
}

/** Somebody who comes while the way in is to be added by a member. */
async function addedLater(meeting: Meeting, name: string, statement = ""): Promise<Person> {
  meeting.mislead = (to, entry) =>
    to.claims.name === name ? { ...entry, way: EntryWay.BE_ADDED } : entry;
  return meeting.add(name, statement);
}

describe("a controller that puts itself into somebody's place", () => {
  it("by another key behind their credential is found out, and nothing of it is opened", async () => {
    const [meeting, a, b] = await three();
    const d = await addedLater(meeting, "D");
    // D's credential is D's and says so, for another leaf than this.
    const credential = await d.credential(engine.newLeafKey());
    const own = engine.candidate(engine.newLeafKey(), credential);
    meeting.hostile = (from, mls) => {
      if (from !== d || mls.kind !== MlsKind.MLS_KEY_PACKAGE) return undefined;
      meeting.addLeaf(own.keyPackage);
      return "ack";
    };
    await meeting.advance(0);
    const inside = own.join(meeting.welcome, meeting.setup);
    for (const person of [a, b]) {
      expect(person.alarms).toContainEqual({ kind: "untrustworthy", name: "", leaf: 3 });
      expect(await opened(person, await frameOfLeaf(inside, person))).toBe("untrusted");
      expect(await opened(person, await frameOf(a))).toBe(a.id);
    }
    expect(d.session.isMember).toBe(false);
  });

  it("and hands them the Welcome of its own key package: they ask for another way in", async () => {
    const [meeting] = await three();
    const d = await addedLater(meeting, "D");
    const own = await candidateOf(d);
    meeting.hostile = (from, mls) => {
      if (from !== d || mls.kind !== MlsKind.MLS_KEY_PACKAGE) return undefined;
      meeting.addLeaf(own.keyPackage);
      return "ack";
    };
    await meeting.advance(0);
    meeting.mislead = (_, entry) => entry;
    const position = { group: 1, epoch: BigInt(meeting.epoch - 1) };
    const kind = MlsKind.MLS_WELCOME;
    d.session.handleMls({ kind, position, data: meeting.welcome } as Mls, meeting.nowMs);
    expect(d.session.isMember).toBe(false);
    await d.drain(meeting.nowMs);
    expect(d.sent.at(-1)).toBe(MlsKind.MLS_STRANDED);
    expect(d.keys).toEqual([]);
  });

  it("beside them is one of two who claim to be the same, and neither is opened", async () => {
    const [meeting, a, b, c] = await three();
    const own = await candidateOf(await Person.create(3, "C"));
    meeting.addLeaf(own.keyPackage);
    await meeting.advance(0);
    const inside = own.join(meeting.welcome, meeting.setup);
    const alarm = { kind: "double", name: "C", participantId: c.id };
    for (const person of [a, b, c]) expect(person.alarms).toEqual([alarm]);
    expect(await opened(a, await frameOfLeaf(inside, a))).toBe("untrusted");
    expect(await opened(a, await frameOf(c))).toBe("untrusted");
    expect(await opened(a, await frameOf(b))).toBe(b.id);
  });

  it("between two whom it keeps apart gives them two codes, for the meeting and the pair", async () => {
    const [real, played] = [new Meeting(), new Meeting()];
    const [a, asB] = await real.join("A", "B");
    const [asA, b] = await played.join("A", "B");
    if (!a || !b || !asA || !asB) throw new Error("two come to each");
    expect([a.names, a.alarms]).toEqual([b.names, b.alarms]);
    expect(a.code).not.toBe(b.code);
    const pair = (one: Person, other: Person): string => {
      const seen = one.members.find((member) => member.participantId === other.id)?.deviceKey;
      if (seen === undefined) throw new Error("nobody of that name is in the group");
      return engine.pairCode(one.device.publicKey, seen);
    };
    expect(pair(a, b)).not.toBe(pair(b, a));
    expect(pair(a, b)).toBe(pair(asB, a));
    expect(await opened(a, await frameOf(b))).toBe("forged");
  });
});

describe("an account's statement", () => {
  let issuer: CryptoKeyPair;
  let jwks: string;

  beforeAll(async () => {
    issuer = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    const { x } = await crypto.subtle.exportKey("jwk", issuer.publicKey);
    jwks = JSON.stringify({ keys: [{ kty: "OKP", crv: "Ed25519", kid: "one", x }] });
  });

  async function statementFor(device: Uint8Array): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object): string => bytesToBase64Url(utf8(JSON.stringify(value)));
    const claims = { iss: "https://dt", sub: "7", name: "Dora D.", iat: now, exp: now + 60 };
    const named = await thumbprint(device as Uint8Array<ArrayBuffer>);
    const head = part({ alg: "EdDSA", typ: "dt-device+jwt", kid: "one" });
    const signed = `${head}.${part({ ...claims, thumbprint: named })}`;
    const made = await crypto.subtle.sign("Ed25519", issuer.privateKey, utf8(signed));
    return `${signed}.${bytesToBase64Url(new Uint8Array(made))}`;
  }

  async function judge(person: Person, nowMs: number): Promise<void> {
    for (const check of person.checks.splice(0)) {
      const verdict = await verifyStatement(check.statement, jwks, check.deviceKey, Date.now());
      person.session.handleVerdict(check, verdict, nowMs);
    }
    await person.drain(nowMs);
  }

  it("vouches for its own device, and shown by another makes that one untrustworthy", async () => {
    const [meeting, a] = await three();
    const [real, other] = [await Person.create(4, "D"), await Person.create(4, "D")];
    const statement = await statementFor(real.device.publicKey);
    for (const [device, standing] of [
      [real, "account"],
      [other, "unchecked"],
    ] as const) {
      const shown = { ...device.device, statement };
      const leafKey = engine.newLeafKey();
      Object.assign(device, { device: shown });
      const own = engine.candidate(leafKey, await device.credential(leafKey));
      a.session.handleRoster([...meeting.people.map(({ id }) => id), real.id], meeting.nowMs);
      meeting.addLeaf(own.keyPackage);
      await meeting.advance(0);
      const inside = own.join(meeting.welcome, meeting.setup);
      await judge(a, meeting.nowMs);
      const member = a.members.find(({ leaf }) => leaf === inside.ownLeaf);
      expect(member?.standing.kind).toBe(standing);
      const good = standing === "account";
      const alarm = { kind: "untrustworthy", name: "D", leaf: inside.ownLeaf };
      expect(a.alarms).toEqual(good ? [] : [alarm]);
      const frame = await frameOfLeaf(inside, a);
      expect(await opened(a, frame)).toBe(good ? real.id : "untrusted");
      meeting.removeLeaf(real.id);
      await meeting.advance(0);
    }
  });
});

describe("a controller that adds a ghost", () => {
  it("shows it in the list at once, and is told on after two seconds", async () => {
    const [meeting, a, b, c] = await three();
    const own = await candidateOf(await Person.create(INTRUDER, "Ghost"));
    const before = a.code;
    meeting.addLeaf(own.keyPackage);
    await meeting.advance(0);
    const inside = own.join(meeting.welcome, meeting.setup);
    expectTogether([a, b, c], ["A", "B", "C", "Ghost"]);
    expect(a.code).not.toBe(before);
    await meeting.advance(MISMATCH_MS);
    const alarm = { kind: "stranger", name: "Ghost", leaf: inside.ownLeaf };
    for (const person of [a, b, c]) expect(person.alarms).toEqual([alarm]);
    // What it sends is its own and nobody's on the roster.
    const whose = await opened(a, await frameOfLeaf(inside, a));
    expect(meeting.people.map(({ id }) => id)).not.toContain(whose);
  });

  it("and takes the removal of somebody back is told on as well", async () => {
    const [meeting, a, b, c] = await three();
    meeting.remove(c);
    await meeting.advance(0);
    expectTogether([a, b], ["A", "B"]);
    meeting.rollBack();
    await meeting.advance(MISMATCH_MS);
    const alarm = { kind: "stranger", name: "C", leaf: 2 };
    expect([a.alarms, b.alarms]).toEqual([[alarm], [alarm]]);
  });

  it("can't take a removal back after ten seconds: the keys of before are wiped", async () => {
    const [meeting, a, b, c] = await three();
    meeting.remove(c);
    await meeting.advance(10_000);
    const { key } = a;
    meeting.tamper = (_, mls) => (mls.kind === MlsKind.MLS_ROLLED_BACK ? mls : undefined);
    meeting.rollBack();
    await meeting.settle();
    for (const person of [a, b]) {
      expect(person.session.isMember).toBe(false);
      expect(person.key).toBe(key);
    }
  });
});

describe("a controller that holds commits and proposals back", () => {
  it("from one: the others' frames stay closed to it, until it notices and is back", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (to, mls) => (to === c && mls.kind === MlsKind.MLS_COMMIT ? undefined : mls);
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    expect(await opened(c, await frameOf(a))).toBe("newer-epoch");
    expect(await opened(b, await frameOf(a))).toBe(a.id);
    meeting.tamper = (_, mls) => mls;
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    expect(c.sent).toContain(MlsKind.MLS_STRANDED);
    await meeting.advance(0);
    expectTogether([a, b, c], ["A", "B", "C"]);
    expect(await opened(c, await frameOf(a))).toBe(a.id);
  });

  it("from one, and no other follows: the frames that stay closed bring it back", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (to, mls) => (to === c && mls.kind === MlsKind.MLS_COMMIT ? undefined : mls);
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    expect(await opened(c, await frameOf(a))).toBe("newer-epoch");
    meeting.tamper = (_, mls) => mls;
    c.session.handleBehind(meeting.nowMs);
    await meeting.settle();
    await meeting.advance(1000);
    expectTogether([a, b, c], ["A", "B", "C"]);
    expect(await opened(c, await frameOf(a))).toBe(a.id);
  });

  it("by hiding who is to go: the commit is refused, and the other is back as a new leaf", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (to, mls) => (to === b && mls.kind === MlsKind.MLS_PROPOSAL ? undefined : mls);
    meeting.remove(c);
    const before = b.key;
    await meeting.advance(0);
    expect(b.sent.at(-1)).toBe(MlsKind.MLS_FAILED);
    expect(b.key).toBe(before);
    meeting.tamper = (_, mls) => mls;
    await meeting.advance(3000);
    expect(b.sent).toContain(MlsKind.MLS_STRANDED);
    await meeting.advance(100);
    expectTogether([a, b], ["A", "B"]);
  });

  it("in another order: the later is not taken, and the one who got it enters anew", async () => {
    const [meeting, a, b, c] = await three();
    const held: Mls[] = [];
    meeting.tamper = (to, mls) => {
      if (to !== c || mls.kind !== MlsKind.MLS_COMMIT) return mls;
      held.unshift(mls);
      return undefined;
    };
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    expect(held).toHaveLength(2);
    const before = c.key;
    meeting.tamper = (_, mls) => mls;
    for (const mls of held) c.session.handleMls(mls, meeting.nowMs);
    expect(c.session.isMember).toBe(false);
    expect(c.key).toBe(before);
    await meeting.advance(0);
    expect(c.sent).toContain(MlsKind.MLS_STRANDED);
    await meeting.advance(0);
    expectTogether([a, b, c], ["A", "B", "C"]);
  });
});

describe("a controller that replays", () => {
  it("a commit as that of the present epoch is refused, and its member back in three seconds", async () => {
    const [meeting, a, b, c] = await three();
    const old: Mls[] = [];
    meeting.tamper = (to, mls) => {
      if (to === b && mls.kind === MlsKind.MLS_COMMIT) old.push(mls);
      return mls;
    };
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    meeting.tamper = (_, mls) => mls;
    const [first] = old;
    if (first === undefined) throw new Error("a commit is sent");
    const { key } = b;
    // As it was: not even looked at.
    b.session.handleMls(first, meeting.nowMs);
    await meeting.advance(0);
    expect(b.sent).not.toContain(MlsKind.MLS_FAILED);
    const position = { group: 1, epoch: BigInt(meeting.epoch) };
    b.session.handleMls({ ...first, position } as Mls, meeting.nowMs);
    await meeting.advance(0);
    expect(b.sent.at(-1)).toBe(MlsKind.MLS_FAILED);
    expect(b.key).toBe(key);
    await meeting.advance(3000);
    expect(b.sent).toContain(MlsKind.MLS_STRANDED);
    await meeting.advance(100);
    expectTogether([a, b, c], ["A", "B", "C"]);
  });

  it("a Welcome to who is waiting for another makes it ask for another way in", async () => {
    const [meeting, a, b, c] = await three();
    const first = await addedLater(meeting, "D");
    await meeting.advance(0);
    const old = meeting.welcome;
    expectTogether([a, b, c, first]);
    const second = await addedLater(meeting, "E");
    let swap = true;
    meeting.tamper = (to, mls) => {
      if (to !== second || mls.kind !== MlsKind.MLS_WELCOME || !swap) return mls;
      swap = false;
      return { ...mls, data: old };
    };
    await meeting.advance(0);
    expect(second.sent).toContain(MlsKind.MLS_STRANDED);
    meeting.mislead = (_, entry) => entry;
    await meeting.advance(100);
    expectTogether([a, b, c, first, second], ["A", "B", "C", "D", "E"]);
    expect(second.keys).toHaveLength(1);
  });

  it("a Welcome to a member changes nothing, its own included", async () => {
    const [meeting, a, b, c] = await three();
    const d = await addedLater(meeting, "D");
    await meeting.advance(0);
    const { key } = d;
    const kind = MlsKind.MLS_WELCOME;
    const position = { group: 1, epoch: BigInt(meeting.epoch) };
    for (const to of [a, d]) {
      to.session.handleMls({ kind, position, data: meeting.welcome } as Mls, meeting.nowMs);
    }
    await meeting.advance(0);
    expect(d.key).toBe(key);
    expectTogether([a, b, c, d], ["A", "B", "C", "D"]);
  });

  it("a GroupInfo of before a removal leads into a group of its own: another code, an alarm, no frames", async () => {
    const [meeting, a, b, c] = await three();
    const old = { groupInfo: meeting.groupInfo(), epoch: BigInt(meeting.epoch) };
    meeting.remove(c);
    await meeting.advance(0);
    const { key } = a;
    meeting.mislead = (to, entry) =>
      to.claims.name !== "D"
        ? entry
        : {
            ...entry,
            way: EntryWay.COMMIT,
            groupInfo: old.groupInfo,
            ...(entry.position && { position: { ...entry.position, epoch: old.epoch } }),
          };
    meeting.hostile = (from, mls) => {
      if (from.claims.name !== "D" || mls.kind !== MlsKind.MLS_COMMIT) return undefined;
      // To D alone, as if it were in force.
      from.inbox.push({ type: "mls", mls });
      return "ack";
    };
    const d = await meeting.add("D");
    await meeting.advance(MISMATCH_MS);
    expect(d.names).toEqual(["A", "B", "C", "D"]);
    expect(d.alarms).toEqual([{ kind: "stranger", name: "C", leaf: 2 }]);
    expect(d.code).not.toBe(a.code);
    expect(await opened(d, await frameOf(a))).toBe("forged");
    expect(await opened(a, await frameOf(d))).not.toBe(d.id);
    expect([a.key, b.key]).toEqual([key, key]);
  });
});
