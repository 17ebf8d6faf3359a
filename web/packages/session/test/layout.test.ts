import { describe, expect, it } from "vitest";
import { participantId, streamId, type Assignment, type MeetingLayout } from "../src/index";
import { placesFrom, placesOf, wireLayout } from "../src/layout";

const assigned = (slot: number, kind: Assignment["kind"], name: string): Assignment => ({
  slot,
  kind,
  streamId: streamId(name),
  participantId: participantId(name),
  userId: BigInt(slot),
  carrier: "stream",
  codec: "vp08",
});

describe("a layout", () => {
  it("says all that was asked for", () => {
    const layout = wireLayout({
      kind: "grid",
      rows: 2,
      columns: 3,
      pinned: [4],
      excluded: [5, 6],
      includeSelf: true,
      preferVideo: true,
    });
    expect(layout.kind).toMatchObject({ case: "grid", value: { rows: 2, columns: 3 } });
    expect(layout.videoSlots).toEqual([1, 2, 3, 4, 5, 6]);
    expect(layout).toMatchObject({
      pinnedUserIds: [4n],
      excludedUserIds: [5n, 6n],
      includeSelf: true,
      preferVideoOverAudio: true,
    });
  });

  it("of a speaker has one place more than its strip", () => {
    const layout = wireLayout({ kind: "speaker", strip: 4 });
    expect(layout.kind).toMatchObject({ case: "speaker", value: { strip: 4 } });
    expect(layout.videoSlots).toHaveLength(5);
    expect(placesOf({ kind: "speaker", strip: 0 })).toBe(1);
  });

  it("is cut at what the wire and a client can take", () => {
    const wild: MeetingLayout[] = [
      { kind: "grid", rows: 1e9, columns: 1e9 },
      { kind: "grid", rows: -3, columns: 0.5 },
      { kind: "speaker", strip: 1e9 },
      { kind: "speaker", strip: -1 },
    ];
    for (const layout of wild) {
      const { kind, videoSlots, audioSlots } = wireLayout(layout);
      expect(videoSlots.length).toBeGreaterThan(0);
      expect(videoSlots.length).toBeLessThanOrEqual(49);
      expect(new Set([...videoSlots, ...audioSlots]).size).toBe(
        videoSlots.length + audioSlots.length,
      );
      if (kind.case === "grid") expect(kind.value.rows).toBeLessThanOrEqual(256);
      else expect(kind).toMatchObject({ case: "speaker", value: { strip: videoSlots.length - 1 } });
    }
  });

  it("has its places in reading order, empty ones included, and no sound among them", () => {
    const places = placesFrom({ kind: "grid", rows: 1, columns: 3 }, [
      assigned(3, "screen", "c"),
      assigned(0x1_0000, "microphone", "m"),
      assigned(1, "camera", "a"),
      assigned(9, "camera", "of a larger layout"),
    ]);
    expect(places).toMatchObject([
      { streamId: "a", userId: 1, kind: "camera" },
      null,
      { streamId: "c", kind: "screen" },
    ]);
  });
});
