// Sealing and opening: order, counters, epochs, and whatever a handler can do to
// a frame.
import { describe, expect, it } from "vitest";
import { forSeeds, forSeedsAsync } from "../../protocol/test/random";
import { writeHeader, writeKid } from "../src/kid";
import { ReplayWindow, WINDOW_COUNTERS } from "../src/replay-window";
import {
  importBaseKey,
  Opener,
  Sealer,
  SealError,
  type EpochKeys,
  type OpenError,
  type OpenResult,
} from "../src/sframe";
import { utf8 } from "./bytes";

const AAD = utf8("aad");
const SENDERS = new Map([
  [0, "alice"],
  [1, "bob"],
]);

/** Keys of an epoch; `key` tells two of one number apart. */
async function epochKeys(epoch: number, leaf = 0, key = 0, group = 1): Promise<EpochKeys> {
  const bytes = new Uint8Array(16).fill(key + 1);
  new DataView(bytes.buffer).setUint32(0, epoch);
  bytes[4] = group;
  const baseKey = await importBaseKey(bytes);
  return { group, epoch, leaf, id: `${group} ${epoch} ${key}`, baseKey, senders: SENDERS };
}

async function pair(epoch = 5): Promise<{ sealer: Sealer; opener: Opener; keys: EpochKeys }> {
  const keys = await epochKeys(epoch);
  const sealer = new Sealer(4);
  sealer.setEpoch(keys);
  const opener = new Opener(4);
  opener.addEpoch(keys, 0);
  return { sealer, opener, keys };
}

function text(result: OpenResult): string {
  return result.ok ? new TextDecoder().decode(result.plain) : result.error;
}

async function sealedIn(keys: EpochKeys, plain = "x"): Promise<Uint8Array<ArrayBuffer>> {
  const sealer = new Sealer(4);
  sealer.setEpoch(keys);
  return sealer.seal(1, 0, AAD, utf8(plain));
}

describe("Sealer", () => {
  it("frames of a stream come out in the order of the calls, whatever their length", async () => {
    const { sealer, opener } = await pair();
    const order: number[] = [];
    const frames = Array.from({ length: 40 }, (_, i) => {
      const plain = new Uint8Array(i % 2 === 0 ? 400_000 : 1).fill(i);
      return sealer.seal(3, 1, AAD, plain).then((sealed) => {
        order.push(i);
        return sealed;
      });
    });
    for (const [i, sealed] of (await Promise.all(frames)).entries()) {
      expect(await opener.open(AAD, sealed, 0)).toMatchObject({ ok: true, counter: i, stream: 3 });
    }
    expect(order).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  it("each stream and encoding counts for itself, and not anew when a stream comes back", async () => {
    const { sealer, opener } = await pair();
    const counters: number[] = [];
    for (const [stream, encoding] of [
      [1, 0],
      [1, 1],
      [2, 0],
      [1, 0],
      [1, 0],
    ] as const) {
      const opened = await opener.open(AAD, await sealer.seal(stream, encoding, AAD, AAD), 0);
      counters.push(opened.ok ? opened.counter : -1);
    }
    expect(counters).toEqual([0, 0, 0, 1, 2]);
  });

  it("goes on counting in an epoch that it comes back to", async () => {
    const { sealer, opener, keys } = await pair();
    const first = await sealer.seal(1, 0, AAD, utf8("first"));
    sealer.setEpoch(await epochKeys(6));
    await sealer.seal(1, 0, AAD, utf8("void"));
    sealer.setEpoch(keys);
    const second = await sealer.seal(1, 0, AAD, utf8("second"));
    expect(text(await opener.open(AAD, first, 0))).toBe("first");
    expect(await opener.open(AAD, second, 0)).toMatchObject({ ok: true, counter: 1 });
  });

  it("a frame is sealed in the epoch that held at the call", async () => {
    const { sealer, opener } = await pair();
    const sealing = sealer.seal(1, 0, AAD, utf8("before"));
    sealer.setEpoch(await epochKeys(6));
    expect(text(await opener.open(AAD, await sealing, 0))).toBe("before");
  });

  it("seals nothing without an epoch, and nothing that does not fit", async () => {
    const sealer = new Sealer(5);
    await expect(sealer.seal(1, 0, AAD, AAD)).rejects.toThrow(SealError);
    sealer.setEpoch(await epochKeys(1, 4096));
    await expect(sealer.seal(1, 0, AAD, AAD)).rejects.toThrow(SealError);
    sealer.setEpoch(await epochKeys(2));
    await expect(sealer.seal(1, 16, AAD, AAD)).rejects.toThrow(SealError);
    await expect(sealer.seal(256, 0, AAD, AAD)).rejects.toThrow(SealError);
    await expect(sealer.seal(1, 0, AAD, new Uint8Array(4 << 20))).rejects.toThrow(SealError);
    expect((await sealer.seal(1, 0, AAD, AAD)).length).toBeGreaterThan(AAD.length);
    sealer.clear();
    await expect(sealer.seal(1, 0, AAD, AAD)).rejects.toThrow(SealError);
  });
});

describe("Opener", () => {
  it("opens a frame once, also when both copies arrive together", async () => {
    const { sealer, opener } = await pair();
    const sealed = await sealer.seal(1, 0, AAD, utf8("once"));
    const both = await Promise.all([opener.open(AAD, sealed, 0), opener.open(AAD, sealed, 0)]);
    expect(both.map(text).toSorted()).toEqual(["once", "replayed"]);
    expect(text(await opener.open(AAD, sealed, 0))).toBe("replayed");
  });

  it("late frames are opened within the window, and refused beyond it", async () => {
    const { sealer, opener } = await pair();
    const frames: Uint8Array<ArrayBuffer>[] = [];
    for (let i = 0; i <= WINDOW_COUNTERS; i++) frames.push(await sealer.seal(1, 0, AAD, AAD));
    const at = (i: number) => opener.open(AAD, frames.at(i) ?? new Uint8Array(), 0);
    expect(await at(-1)).toMatchObject({ ok: true });
    expect(await at(1)).toMatchObject({ ok: true });
    expect(text(await at(1))).toBe("replayed");
    expect(text(await at(0))).toBe("replayed");
  });

  it("a frame that was changed anywhere is not opened, and does not stop the real one", async () => {
    await forSeedsAsync(60, async (random) => {
      const { sealer, opener } = await pair();
      const sealed = await sealer.seal(1, 2, AAD, random.bytes(random.below(60)).slice());
      const changed = sealed.slice();
      const at = random.below(changed.length);
      changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
      expect((await opener.open(AAD, changed, 0)).ok).toBe(false);
      const cut = sealed.slice(0, random.below(sealed.length));
      expect((await opener.open(AAD, cut, 0)).ok).toBe(false);
      expect(text(await opener.open(utf8("other"), sealed, 0))).toBe("forged");
      expect((await opener.open(AAD, sealed, 0)).ok).toBe(true);
    });
  });

  it("any bytes are answered by an error", async () => {
    await forSeedsAsync(200, async (random) => {
      const { opener } = await pair();
      const opened = await opener.open(AAD, random.bytes(random.below(64)).slice(), 0);
      expect(opened.ok).toBe(false);
    });
  });

  it("a key id or a counter beyond ours is malformed", async () => {
    const { opener } = await pair();
    const tail = new Uint8Array(32);
    const open = async (kid: bigint, counter: bigint) => {
      const header = writeHeader(kid, counter);
      const sealed = new Uint8Array(header.length + tail.length);
      sealed.set(header);
      return text(await opener.open(AAD, sealed, 0));
    };
    const kid = BigInt(writeKid({ stream: 1, encoding: 0, leaf: 0, epoch: 5 }));
    expect(await open(kid, 7n)).toBe("forged");
    expect(await open(kid | (1n << 40n), 7n)).toBe("malformed");
    expect(await open(kid, (1n << 64n) - 1n)).toBe("malformed");
  });

  it("tells epochs to come from those of before the join and those that are over", async () => {
    const { opener } = await pair(300);
    const errorIn = async (epoch: number, nowMs = 0): Promise<OpenError | "opened"> => {
      const opened = await opener.open(AAD, await sealedIn(await epochKeys(epoch)), nowMs);
      return opened.ok ? "opened" : opened.error;
    };
    expect(await errorIn(301)).toBe("newer-epoch");
    expect(await errorIn(299)).toBe("older-than-join");
    expect(await errorIn(300)).toBe("opened");
    for (let epoch = 301; epoch <= 303; epoch++) opener.addEpoch(await epochKeys(epoch), 1000);
    expect(await errorIn(302, 10_999)).toBe("opened");
    expect(await errorIn(302, 11_000)).toBe("unknown-epoch");
    expect(await errorIn(303, 11_000)).toBe("opened");
    expect(text(await new Opener(4).open(AAD, await sealedIn(await epochKeys(1)), 0))).toBe(
      "older-than-join",
    );
  });

  it("keeps sixteen epochs at most", async () => {
    const { opener } = await pair(0);
    for (let epoch = 1; epoch <= 16; epoch++) opener.addEpoch(await epochKeys(epoch), 0);
    const open = async (epoch: number) =>
      text(await opener.open(AAD, await sealedIn(await epochKeys(epoch)), 0));
    expect(await open(0)).toBe("unknown-epoch");
    expect(await open(1)).toBe("x");
  });

  it("remembers what it saw in an epoch that is come back to", async () => {
    const { sealer, opener, keys } = await pair();
    const sealed = await sealer.seal(1, 0, AAD, utf8("seen"));
    expect(text(await opener.open(AAD, sealed, 0))).toBe("seen");
    opener.addEpoch(await epochKeys(6, 0, 1), 10);
    opener.addEpoch(keys, 20);
    expect(text(await opener.open(AAD, sealed, 20_000))).toBe("replayed");
    expect(opener.epoch).toBe(5);
    // The epoch of the same number that is in force instead of the void one.
    const instead = await epochKeys(6, 0, 2);
    opener.addEpoch(instead, 20_000);
    expect(text(await opener.open(AAD, await sealedIn(instead, "valid"), 20_000))).toBe("valid");
  });

  it("another group begins anew", async () => {
    const { opener } = await pair(40);
    const founded = await epochKeys(0, 0, 0, 2);
    opener.addEpoch(founded, 0);
    expect(text(await opener.open(AAD, await sealedIn(founded), 0))).toBe("x");
    expect(text(await opener.open(AAD, await sealedIn(await epochKeys(40)), 0))).toBe(
      "newer-epoch",
    );
  });

  it("frames of a leaf that is not trusted stay closed until it is", async () => {
    const { opener, keys } = await pair();
    const sealed = await sealedIn({ ...keys, leaf: 9 });
    expect(text(await opener.open(AAD, sealed, 0))).toBe("untrusted");
    opener.setSenders(keys.id, new Map([[9, "carol"]]));
    expect(await opener.open(AAD, sealed, 0)).toMatchObject({ ok: true, participantId: "carol" });
    expect(text(await opener.open(AAD, await sealedIn(keys), 0))).toBe("untrusted");
  });

  it("a flood of key ids under which nothing opens leaves real senders alone", async () => {
    const { sealer, opener, keys } = await pair();
    const first = await sealer.seal(1, 0, AAD, utf8("first"));
    expect(text(await opener.open(AAD, first, 0))).toBe("first");
    const flood: Promise<OpenResult>[] = [];
    for (let stream = 2; stream < 255; stream++) {
      const kid = writeKid({ stream, encoding: 3, leaf: 0, epoch: keys.epoch });
      const forged = new Uint8Array(40);
      forged.set(writeHeader(BigInt(kid), 0n));
      flood.push(opener.open(AAD, forged, 0));
    }
    for (const opened of await Promise.all(flood)) expect(text(opened)).toBe("forged");
    expect(text(await opener.open(AAD, first, 0))).toBe("replayed");
    const second = await sealer.seal(1, 0, AAD, utf8("second"));
    expect(text(await opener.open(AAD, second, 0))).toBe("second");
  });
});

describe("ReplayWindow", () => {
  it("remembers as a set would", () => {
    forSeeds(50, (random) => {
      const window = new ReplayWindow();
      const seen = new Set<number>();
      let base = 0;
      let newest = -1;
      for (let step = 0; step < 400; step++) {
        if (random.chance(50)) base += random.below(400);
        const counter = random.chance(50) ? base : Math.max(0, base - random.below(1500));
        const old = newest - counter >= WINDOW_COUNTERS;
        expect(window.has(counter)).toBe(old || seen.has(counter));
        if (old || seen.has(counter)) continue;
        window.mark(counter);
        seen.add(counter);
        newest = Math.max(newest, counter);
      }
    });
  });
});
