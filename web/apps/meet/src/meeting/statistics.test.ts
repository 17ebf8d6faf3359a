import type { MeetingStats } from "@darktower/session";
import { describe, expect, it } from "vitest";
import { asText, sections } from "./statistics";

const stats: MeetingStats = {
  phase: "joined",
  transport: "webtransport",
  controllerRttMs: 3.6,
  mediaRttMs: null,
  mediaConnected: true,
  outgoing: [],
  video: [
    {
      streamId: "s",
      participantId: "p",
      kind: "camera",
      carrier: "stream",
      frames: 10,
      drawn: 9,
      bytes: 1,
      fps: 29.7,
      kbps: 1480,
      width: 1280,
      height: 720,
      lost: 0,
      decodeErrors: 0,
      keyframeRequests: 0,
      latencyMs: 40,
    },
  ],
  audio: [],
  discarded: { late: 2, none: 0 },
  audioOutput: "running",
  joinTimings: null,
};

describe("statistics", () => {
  it("are the same lines to look at and to copy", () => {
    const text = asText(sections(stats, () => "Ana"));
    expect(text).toContain("Round trip, signaling: 4 ms");
    expect(text).toContain("Round trip, media: –");
    expect(text).toContain("Ana, camera: stream · 1280×720 · 30 fps · 1.5 Mbit/s · 0 lost");
    expect(text).toContain("late: 2");
    expect(text).not.toContain("none:");
  });
});
