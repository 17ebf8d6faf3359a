// Whole meetings: several sessions with the real MLS module and a controller
// that judges as the real one does.
import { create } from "@bufbuild/protobuf";
import { E2eeEntrySchema, EntryWay, MlsKind, type Mls } from "@darktower/protocol";
import { describe, expect, it } from "vitest";
import { forSeedsAsync } from "../../protocol/test/random";
import { Meeting, Person } from "./delivery";
import { expectTogether, spoiled, three } from "./together";

/** Hundreds of steps of real MLS, on a machine that may be busy. */
const LONG = { timeout: 60_000 };

describe("the way in", () => {
  it("the first founds the group, others enter it by themselves, with new keys each time", async () => {
    const [, a, b, c] = await three();
    expect(a.sent[0]).toBe(MlsKind.MLS_FOUNDED);
    expect(b.sent[0]).toBe(MlsKind.MLS_COMMIT);
    expect(c.sent).toEqual([MlsKind.MLS_COMMIT, MlsKind.MLS_APPLIED]);
    expect(a.keys.map((keys) => keys.epoch)).toEqual([0, 1, 2]);
    expect(a.keys.map((keys) => keys.added)).toEqual([false, true, true]);
    expect(new Set(a.keys.map((keys) => keys.id)).size).toBe(3);
  });

  it("who loses the race to found the group enters the one that won", async () => {
    const meeting = new Meeting();
    const [a, b] = [await meeting.add("A"), await meeting.add("B")];
    await meeting.settle();
    expectTogether([a, b], ["A", "B"]);
    expect(b.sent).toEqual([MlsKind.MLS_FOUNDED, MlsKind.MLS_COMMIT, MlsKind.MLS_APPLIED]);
  });

  it("many who enter at once all come in, one commit after the other", async () => {
    const meeting = new Meeting();
    const [a] = await meeting.join("A");
    const others = await Promise.all(["B", "C", "D", "E"].map((name) => meeting.add(name)));
    await meeting.settle();
    expect(meeting.refused.length).toBeGreaterThan(0);
    expectTogether([...(a ? [a] : []), ...others], ["A", "B", "C", "D", "E"]);
  });

  it("with proposals open a member adds who comes", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (_, mls) => (mls.kind === MlsKind.MLS_COMMIT_WANTED ? undefined : mls);
    meeting.remove(c);
    await meeting.settle();
    meeting.tamper = (_, mls) => mls;
    const d = await meeting.add("D");
    await meeting.settle();
    await meeting.advance(0);
    expectTogether([a, b, d], ["A", "B", "D"]);
    expect(d.sent).toEqual([MlsKind.MLS_KEY_PACKAGE, MlsKind.MLS_APPLIED]);
    expect(d.keys).toHaveLength(1);
    expect(a.keys.at(-1)).toMatchObject({ added: true, removed: true });
  });

  it("a group that is not this meeting's is not entered", async () => {
    const meeting = new Meeting();
    const a = await Person.create(9, "A");
    const entry = create(E2eeEntrySchema, {
      way: EntryWay.FOUND,
      position: { group: 1 },
      groupId: new Uint8Array(20),
      externalSender: new Uint8Array(32),
      sframeSuite: 4,
    });
    a.session.handleEntry(entry, 0);
    await a.drain(0);
    expect(a.sent).toEqual([]);
    a.session.handleTimeout(5000);
    await a.drain(5000);
    expect(a.sent).toEqual([MlsKind.MLS_STRANDED]);
    expect(meeting.people).toEqual([]);
  });

  it("a spoiled Welcome makes the new one ask for another way in", async () => {
    const [meeting, a, b, c] = await three();
    let spoil = true;
    meeting.tamper = (_, mls) => {
      if (mls.kind !== MlsKind.MLS_WELCOME || !spoil) return mls;
      spoil = false;
      return spoiled(mls);
    };
    meeting.disconnect(c);
    const again = c;
    // Its memory is gone: an old leaf of it is in the group.
    again.session.close();
    meeting.connect(again);
    await meeting.advance(100);
    await meeting.advance(100);
    expectTogether([a, b, again], ["A", "B", "C"]);
    expect(again.sent).toContain(MlsKind.MLS_STRANDED);
  });
});

describe("commits", () => {
  it("who leaves is shut out of the next epoch by whoever is named first", async () => {
    const [meeting, a, b, c] = await three();
    meeting.remove(c);
    await meeting.advance(0);
    expectTogether([a, b], ["A", "B"]);
    expect(a.keys.at(-1)).toMatchObject({ epoch: 3, removed: true, added: false });
    expect(c.key).not.toBe(a.key);
    expect(a.sent.filter((kind) => kind === MlsKind.MLS_COMMIT)).toHaveLength(1);
    expect(b.sent.filter((kind) => kind === MlsKind.MLS_COMMIT)).toHaveLength(1);
  });

  it("a standby commits when the first named does not", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (to, mls) =>
      to === a && mls.kind === MlsKind.MLS_COMMIT_WANTED ? undefined : mls;
    meeting.remove(c);
    await meeting.advance(399);
    expect(a.epoch).toBe(2);
    await meeting.advance(1);
    expectTogether([a, b], ["A", "B"]);
    expect(a.epoch).toBe(3);
  });

  it("of two commits that race one wins, and the other's sender follows it", async () => {
    const [meeting, a, b, c] = await three();
    meeting.wantAtOnce(b, c);
    await meeting.advance(0);
    expect(meeting.refused).toEqual(["stale"]);
    expectTogether([a, b, c]);
    await meeting.advance(1000);
    expect(a.epoch).toBe(3);
  });

  it("a commit that misses a proposal is made again with it", async () => {
    const [meeting, a, b, c] = await three();
    // The commit is on its way when the proposal is made.
    meeting.wantAtOnce(a);
    await meeting.settle();
    a.session.handleTimeout(meeting.nowMs);
    meeting.tamper = (_, mls) => (mls.kind === MlsKind.MLS_COMMIT_WANTED ? undefined : mls);
    meeting.remove(c);
    await meeting.settle();
    expect(meeting.refused.join()).toContain("incomplete");
    expect(a.epoch).toBe(2);
    await meeting.advance(100);
    expectTogether([a, b], ["A", "B"]);
    expect(a.epoch).toBe(3);
  });

  it("new keys without a change of members", async () => {
    const [meeting, a, b, c] = await three();
    const before = a.key;
    b.session.rotate();
    await meeting.advance(0);
    expectTogether([a, b, c], ["A", "B", "C"]);
    expect(a.key).not.toBe(before);
    expect(a.keys.at(-1)).toMatchObject({ added: false, removed: false });
  });

  it("a void commit is gone back from, and the next one taken", async () => {
    const [meeting, a, b, c] = await three();
    const before = a.key;
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    const void_ = a.key;
    meeting.rollBack();
    await meeting.settle();
    expectTogether([a, b, c]);
    expect(a.key).toBe(before);
    meeting.wantAtOnce(c);
    await meeting.advance(0);
    expectTogether([a, b, c]);
    expect(a.epoch).toBe(3);
    expect(a.key).not.toBe(void_);
  });

  it("an open proposal outlives the commit that is void", async () => {
    const [meeting, a, b, c] = await three();
    meeting.remove(c);
    await meeting.advance(0);
    expect(a.names).toEqual(["A", "B"]);
    meeting.rollBack();
    await meeting.settle();
    expect(a.names).toEqual(["A", "B", "C"]);
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    expectTogether([a, b], ["A", "B"]);
  });

  it("who entered by a commit that is void enters again", async () => {
    const [meeting, a, b, c] = await three();
    const d = await meeting.add("D");
    await meeting.settle();
    expectTogether([a, b, c, d]);
    meeting.rollBack();
    await meeting.settle();
    expect(d.session.isMember).toBe(false);
    expect(d.log).toContain("lost");
    meeting.push(d);
    await meeting.settle();
    expectTogether([a, b, c, d], ["A", "B", "C", "D"]);
  });
});

describe("what goes wrong", () => {
  it("a commit with a broken tag is refused, and the group stands where it stood", async () => {
    const [meeting, a, b, c] = await three();
    const before = b.key;
    meeting.tamper = (to, mls) =>
      to !== a && mls.kind === MlsKind.MLS_COMMIT ? spoiled(mls) : mls;
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    expect(b.sent.at(-1)).toBe(MlsKind.MLS_FAILED);
    expect(c.sent.at(-1)).toBe(MlsKind.MLS_FAILED);
    expect(b.key).toBe(before);
    meeting.tamper = (_, mls) => mls;
    meeting.rollBack();
    await meeting.settle();
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    expectTogether([a, b, c]);
    expect(a.epoch).toBe(3);
  });

  it("who alone can't take a commit comes back as a new leaf", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (to, mls) =>
      to === c && mls.kind === MlsKind.MLS_COMMIT ? spoiled(mls) : mls;
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    meeting.tamper = (_, mls) => mls;
    expect(c.sent.at(-1)).toBe(MlsKind.MLS_FAILED);
    meeting.push(c);
    await meeting.advance(0);
    expectTogether([a, b, c], ["A", "B", "C"]);
  });

  it("who missed a commit notices at the next message and asks for a way in", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (to, mls) => (to === c && mls.kind === MlsKind.MLS_COMMIT ? undefined : mls);
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    meeting.tamper = (_, mls) => mls;
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    expect(c.sent).toContain(MlsKind.MLS_STRANDED);
    await meeting.advance(0);
    expectTogether([a, b, c], ["A", "B", "C"]);
  });

  it("a refused commit that nobody decides on makes its refuser ask for a way in", async () => {
    const [meeting, a, b, c] = await three();
    meeting.tamper = (to, mls) =>
      to === c && mls.kind === MlsKind.MLS_COMMIT ? spoiled(mls) : mls;
    meeting.wantAtOnce(a);
    await meeting.advance(2999);
    meeting.tamper = (_, mls) => mls;
    expect(c.sent).not.toContain(MlsKind.MLS_STRANDED);
    await meeting.advance(2);
    expect(c.sent).toContain(MlsKind.MLS_STRANDED);
    expectTogether([a, b, c], ["A", "B", "C"]);
  });

  it("messages twice, late or spoiled change nothing", async () => {
    const [meeting, a, b, c] = await three();
    const told: Mls[] = [];
    meeting.tamper = (to, mls) => {
      if (to === b) told.push(mls);
      return mls;
    };
    meeting.wantAtOnce(a);
    await meeting.advance(0);
    const before = b.key;
    for (const mls of told) {
      b.session.handleMls(mls, meeting.nowMs);
      b.session.handleMls(spoiled(mls), meeting.nowMs);
    }
    await meeting.settle();
    expect(b.key).toBe(before);
    expectTogether([a, b, c]);
  });

  it("any bytes in place of a message leave a member that still works", LONG, async () => {
    const [meeting, a, b, c] = await three();
    await forSeedsAsync(30, async (random) => {
      const kinds = [MlsKind.MLS_PROPOSAL, MlsKind.MLS_COMMIT, MlsKind.MLS_WELCOME];
      const kind = kinds[random.below(3)] ?? MlsKind.MLS_COMMIT;
      let sample: Mls | undefined;
      meeting.tamper = (to, mls) => {
        if (to === b && mls.kind === MlsKind.MLS_COMMIT) sample = mls;
        return mls;
      };
      meeting.wantAtOnce(a);
      await meeting.advance(0);
      if (sample?.position === undefined) throw new Error("a commit is sent");
      const data = random.chance(50)
        ? random.bytes(random.below(300))
        : sample.data.slice(0, random.below(sample.data.length));
      const position = { ...sample.position, epoch: BigInt(meeting.epoch) };
      b.session.handleMls({ ...sample, kind, data, position }, meeting.nowMs);
      await meeting.settle();
      // What was refused is forgotten with a verdict, or by the next commit.
      meeting.wantAtOnce(c);
      await meeting.advance(0);
      expectTogether([a, b, c]);
    });
  });
});

describe("connections", () => {
  it("who returns with the group in memory goes on as the same leaf", async () => {
    const [meeting, a, b, c] = await three();
    const leaf = c.keys.at(-1)?.leaf;
    meeting.disconnect(c);
    const [d] = await meeting.join("D");
    meeting.wantAtOnce(b);
    await meeting.advance(0);
    expect(c.session.offer().position?.epoch).toBe(2n);
    meeting.connect(c);
    await meeting.settle();
    expectTogether([a, b, c, ...(d ? [d] : [])], ["A", "B", "C", "D"]);
    expect(c.keys.at(-1)?.leaf).toBe(leaf);
    expect(c.log).not.toContain("lost");
  });

  it("a commit of ours that won while we were away is known as ours", async () => {
    const [meeting, a, b, c] = await three();
    meeting.wantAtOnce(c);
    await meeting.settle();
    c.session.handleTimeout(meeting.nowMs);
    // It arrives, and its answer finds nobody.
    meeting.tamper = (to, mls) => (to === c ? undefined : mls);
    await meeting.settle();
    meeting.disconnect(c);
    meeting.tamper = (_, mls) => mls;
    expect(a.epoch).toBe(3);
    meeting.connect(c);
    await meeting.settle();
    expectTogether([a, b, c]);
  });

  it("when the last member is gone the next who comes founds another group", async () => {
    const meeting = new Meeting();
    const [a] = await meeting.join("A");
    if (a === undefined) throw new Error("one comes");
    meeting.disconnect(a);
    const [b] = await meeting.join("B");
    expect(b?.keys.at(-1)).toMatchObject({ group: 2, epoch: 0 });
    meeting.connect(a);
    await meeting.advance(0);
    if (b !== undefined) expectTogether([a, b], ["A", "B"]);
  });

  it("meetings of random comings and goings end with everybody at one", LONG, async () => {
    await forSeedsAsync(8, async (random) => {
      const meeting = new Meeting();
      await meeting.join("P0");
      for (let step = 1; step <= 14; step++) {
        const [host, ...others] = meeting.people;
        const other = others[random.below(Math.max(1, others.length))];
        const what = random.below(100);
        if (others.length < 2 || other === undefined || what < 35) {
          await meeting.add(`P${step}`);
        } else if (what < 60) {
          meeting.remove(other);
        } else if (what < 80) {
          meeting.disconnect(other);
          await meeting.advance(random.below(50));
          meeting.connect(other);
        } else if (host !== undefined) {
          meeting.wantAtOnce(host, ...others.slice(0, random.below(3)));
        }
        if (random.chance(60)) await meeting.advance(random.below(300));
      }
      await meeting.advance(15_000);
      expectTogether(meeting.people, undefined);
      expect(meeting.people[0]?.alarms).toEqual([]);
    });
  });
});
