import type { MeetingStats } from "@darktower/session";
import { describe, expect, it } from "vitest";
import { asText, sections } from "./statistics";

const stats: MeetingStats = {
  phase: "joined",
  signalingTransport: { carrier: "websocket", reason: "blocked" },
  mediaTransport: { carrier: "webtransport", reason: null },
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
      decryptFailures: 3,
      latencyMs: 40,
    },
  ],
  audio: [],
  encryption: {
    suite: 4,
    group: 1,
    epoch: 7,
    leaf: 2,
    sealed: 10,
    opened: 20,
    decryptFailures: 3,
    openMs: 0.127,
  },
  discarded: { late: 2, none: 0 },
  audioOutput: "running",
  joinTimings: null,
};

describe("statistics", () => {
  it("are the same lines to look at and to copy", () => {
    const text = asText(sections(stats, () => "Ana"));
    expect(text).toContain("Round trip, signaling: 4 ms");
    expect(text).toContain("Round trip, media: –");
    expect(text).toContain(
      "Ana, camera: stream · 1280×720 · 30 fps · 1.5 Mbit/s · 0 lost · 3 not opened",
    );
    expect(text).toContain("Cipher: AES-128-GCM");
    expect(text).toContain("Epoch: 7 of group 1");
    expect(text).toContain("Frames that could not be opened: 3");
    expect(text).toContain("late: 2");
    expect(text).not.toContain("none:");
  });

  it("say in plain words what carries the meeting, and why", () => {
    const text = asText(sections(stats, () => "Ana"));
    expect(text).toContain(
      "Signaling by: WebSocket (TCP), because UDP does not get through here\n",
    );
    expect(text).toContain("Media by: WebTransport (UDP)\n");
    const other: MeetingStats = {
      ...stats,
      signalingTransport: { carrier: "websocket", reason: "unsupported" },
      mediaTransport: null,
    };
    const words = asText(sections(other, () => "Ana"));
    expect(words).toContain("because this browser has no WebTransport");
    expect(words).toContain("Media by: –");
  });

  it("say nothing of a cipher where there is none", () => {
    const text = asText(sections({ ...stats, encryption: null }, () => "Ana"));
    expect(text).not.toContain("Encryption");
  });
});
