import type { EncodingStats, MeetingStats, OutgoingStats } from "@darktower/session";
import { describe, expect, it } from "vitest";
import { asText, sections } from "./statistics";

const stats: MeetingStats = {
  phase: "joined",
  signalingTransport: { carrier: "websocket", reason: "blocked" },
  mediaTransport: { carrier: "webtransport", reason: null },
  controllerRttMs: 3.6,
  mediaRttMs: null,
  mediaConnected: true,
  handlers: [],
  uplinkLostPpm: null,
  overloaded: false,
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
      encoding: 2,
      codec: "vp08",
      switches: 1,
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
      "Ana, camera: stream · VP8 · layer 3 · 1280×720 · 30 fps · 1.5 Mbit/s · 0 lost · 1 switch · 3 not opened",
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

  it("say of each encoding that is sent what it is, and why it is not", () => {
    const encoding = (n: number, active: boolean): EncodingStats => ({
      encoding: n,
      active,
      codec: "vp08",
      width: 320 * 2 ** n,
      height: 180 * 2 ** n,
      bitrate: 100_000 * 4 ** n,
      frames: 10,
      keyFrames: 1,
      fps: 30,
      kbps: 95 * 4 ** n,
    });
    const camera: OutgoingStats = {
      streamId: "c",
      kind: "camera",
      carrier: "stream",
      active: true,
      muted: false,
      frames: 20,
      keyFrames: 2,
      bytes: 1,
      fps: 30,
      kbps: 475,
      width: 640,
      height: 360,
      encodings: [encoding(0, true), encoding(1, true), encoding(2, false)],
      repeating: false,
      droppedFrames: 0,
      droppedGroups: 0,
    };
    const text = asText(sections({ ...stats, outgoing: [camera] }, () => "Ana"));
    expect(text).toContain("Camera: stream · 640×360 · 30 fps · 475 kbit/s\n");
    expect(text).toContain("Camera, layer 3: paused, nobody watches\n");
    expect(text).toContain("Camera, layer 2: VP8 · 640×360 · 30 fps · 380 kbit/s of 400 kbit/s");
    const muted = asText(sections({ ...stats, outgoing: [{ ...camera, muted: true }] }, () => ""));
    expect(muted).toContain("Camera: muted\n");
    expect(muted).not.toContain("layer 1");
    const [only] = camera.encodings;
    const one = { ...camera, encodings: only === undefined ? [] : [only] };
    const single = asText(sections({ ...stats, outgoing: [one] }, () => ""));
    expect(single).toContain("Camera: stream · VP8 · 640×360");
  });

  it("tell when the device or the path is too slow", () => {
    const text = asText(sections({ ...stats, uplinkLostPpm: 12_300, overloaded: true }, () => ""));
    expect(text).toContain("Lost on the way up: 1.2 %\n");
    expect(text).toContain("Decoding: too slow here");
    expect(asText(sections(stats, () => ""))).not.toContain("Lost on the way up");
  });

  it("say nothing of a cipher where there is none", () => {
    const text = asText(sections({ ...stats, encryption: null }, () => "Ana"));
    expect(text).not.toContain("Encryption");
  });
});
