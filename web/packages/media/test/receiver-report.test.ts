import { describe, expect, it } from "vitest";
import { forSeeds } from "../../protocol/test/random";
import { ReceiverReports, type Report } from "../src/rules/receiver-report";

const slots = (...streams: string[]) => streams.map((streamId, i) => ({ slot: i + 1, streamId }));
const size = (width: number, height: number) => ({ width, height });
/** Slots and widths. */
const seen = (report: Report | undefined) => report?.tiles.map((one) => [one.slot, one.width]);

/** Two people, each with a tile of 640 × 360, reported at 0. */
function watching(): ReceiverReports {
  const reports = new ReceiverReports();
  reports.assign(slots("a", "b"), 0);
  reports.setTile("a", 1, size(640, 360));
  reports.setTile("b", 2, size(640, 360));
  expect(seen(reports.poll(0))).toEqual([
    [1, 640],
    [2, 640],
  ]);
  return reports;
}

describe("a receiver", () => {
  it("says nothing before it has drawn anything", () => {
    const reports = new ReceiverReports();
    reports.assign(slots("a"), 0);
    reports.setTile("a", 1, null);
    expect(reports.poll(10)).toBeUndefined();
    expect(reports.whole(10)).toBeUndefined();
  });

  it("tells at once of a tile that appears or grows, and later of the others", () => {
    const reports = watching();
    reports.setTile("a", 1, size(1280, 720));
    expect(seen(reports.poll(5))).toEqual([
      [1, 1280],
      [2, 640],
    ]);
    reports.setTile("a", 1, size(320, 180));
    expect(reports.poll(10)).toBeUndefined();
    expect(reports.due(10)).toBe(255);
    expect(seen(reports.poll(255))).toEqual([
      [1, 320],
      [2, 640],
    ]);
    reports.assign(slots("a", "b", "c"), 260);
    expect(seen(reports.poll(260))).toHaveLength(3);
  });

  it("says each thing once", () => {
    const reports = watching();
    expect(reports.poll(1000)).toBeUndefined();
    reports.setTile("a", 1, size(639, 358));
    expect(reports.poll(2000)).toBeUndefined();
    expect(reports.due(3000)).toBeUndefined();
  });

  it("leaves out what is hidden, scrolled away or not drawn at all", () => {
    const reports = watching();
    reports.setTile("a", 1, size(0, 0));
    expect(seen(reports.poll(300))).toEqual([[2, 640]]);
    reports.removeTile("b", 2);
    expect(reports.poll(2600)?.tiles).toEqual([]);
    reports.setTile("a", 1, size(640, 360));
    expect(seen(reports.poll(2700))).toEqual([[1, 640]]);
    reports.setHidden(true);
    expect(reports.poll(3000)?.tiles).toEqual([]);
    reports.setHidden(false);
    expect(seen(reports.poll(3001))).toEqual([[1, 640]]);
  });

  it("asks for whom it was just assigned before the page has drawn them, but not for ever", () => {
    const reports = watching();
    reports.assign(slots("a", "b", "c"), 1000);
    expect(seen(reports.poll(1000))?.at(2)).toEqual([3, 640]);
    expect(reports.due(1000)).toBe(3000);
    expect(reports.poll(2999)).toBeUndefined();
    expect(seen(reports.poll(3000))).toHaveLength(2);
  });

  it("counts the largest canvas of a stream", () => {
    const reports = watching();
    reports.setTile("a", 3, size(100, 1000));
    expect(reports.poll(5)?.tiles[0]).toEqual({ slot: 1, width: 640, height: 1000 });
  });

  it("follows a stream that changes its slot", () => {
    const reports = watching();
    reports.setTile("b", 2, size(320, 180));
    reports.poll(300);
    reports.assign(slots("b", "a"), 400);
    expect(seen(reports.poll(700))).toEqual([
      [1, 320],
      [2, 640],
    ]);
  });

  it("tells at once that it is overloaded", () => {
    const reports = watching();
    reports.setOverloaded(true);
    expect(reports.poll(1)?.overloaded).toBe(true);
  });

  it("whatever happens, reports ten times a second at most, and in the end the truth", () => {
    forSeeds(1000, (random) => {
      const reports = new ReceiverReports();
      const sent: { at: number; report: Report }[] = [];
      let nowMs = 0;
      const poll = () => {
        const report = reports.poll(nowMs);
        if (report !== undefined) sent.push({ at: nowMs, report });
      };
      const widths = new Map<string, number>();
      let assigned: string[] = [];
      for (let step = 0; step < 120; step++) {
        nowMs += random.below(60);
        const stream = `s${random.below(5)}`;
        switch (random.below(4)) {
          case 0:
            assigned = ["s0", "s1", "s2", "s3", "s4"].filter(() => random.chance(60));
            reports.assign(slots(...assigned), nowMs);
            break;
          case 1:
            widths.delete(stream);
            reports.removeTile(stream, 1);
            break;
          default: {
            const width = random.below(4) * 400;
            widths.set(stream, width);
            reports.setTile(stream, 1, size(width, width));
          }
        }
        poll();
      }
      for (let due = reports.due(nowMs); due !== undefined; due = reports.due(nowMs)) {
        nowMs = Math.max(nowMs, due);
        poll();
      }
      for (const [i, { at }] of sent.entries()) {
        const eleventh = sent[i + 10];
        if (eleventh !== undefined) expect(eleventh.at - at).toBeGreaterThanOrEqual(1000);
      }
      const truth = assigned.flatMap((stream, i) => {
        const width = widths.get(stream) ?? 0;
        return width > 0 ? [[i + 1, width]] : [];
      });
      if (sent.length > 0) expect(seen(sent.at(-1)?.report)).toEqual(truth);
    });
  });
});
