import { create } from "@bufbuild/protobuf";
import {
  ActiveSpeakersSchema,
  ErrorCode,
  ErrorMessageSchema,
  HealthReportSchema,
  LeaveReason,
  MediaStreamSchema,
  ParticipantJoinedSchema,
  ParticipantLeftSchema,
  ParticipantSchema,
  ParticipantUpdatedSchema,
  SendDirectiveSchema,
  StreamAssignmentsSchema,
  StreamPublishedSchema,
  StreamType,
  type ServerBody,
} from "@darktower/protocol";
import { describe, expect, it } from "vitest";
import { streamId, type Publication } from "../src";
import { Driver } from "./server";

const CAMERA: Publication = {
  streamId: streamId("550e8400-e29b-41d4-a716-446655440000"),
  kind: "camera",
  number: 2,
  codec: "vp08",
  maxBitrate: 1_000_000,
  muted: false,
};

function error(code: ErrorCode, message = "", retryAfterMs?: number): ServerBody {
  const value = create(ErrorMessageSchema, { code, message });
  if (retryAfterMs !== undefined) value.retryAfterMs = retryAfterMs;
  return { case: "error", value };
}

function joined(driver = new Driver()): Driver {
  driver.signaling.publish(CAMERA);
  driver.signaling.join("Me", driver.now);
  driver.pump();
  driver.open();
  driver.seat();
  return driver;
}

function left(participantId: string, reason: LeaveReason): ServerBody {
  return {
    case: "participantLeft",
    value: create(ParticipantLeftSchema, { participantId, reason }),
  };
}

describe("joining", () => {
  it("says all that is wanted at once, without waiting for the seat", () => {
    const driver = new Driver();
    driver.signaling.publish(CAMERA);
    driver.signaling.join("Me", 0);
    driver.pump();
    driver.open();
    expect(driver.sent.map((body) => body.case)).toEqual([
      "joinRequest",
      "publishStream",
      "subscribeLayout",
    ]);
    driver.seat();
    expect(driver.signaling.phase.phase).toBe("joined");
    expect(driver.count("publishStream")).toBe(1);
  });

  it.each([
    [ErrorCode.CAPACITY_EXCEEDED, "full"],
    [ErrorCode.NOT_FOUND, "not-found"],
    [ErrorCode.UNAUTHORIZED, "unauthorized"],
    [ErrorCode.INVALID_REQUEST, "failed"],
  ] as const)("ends for good when it is refused with code %i", (code, failure) => {
    const driver = new Driver();
    driver.signaling.join("Me", 0);
    driver.pump();
    driver.open();
    driver.answer(driver.idOf("joinRequest"), error(code));
    expect(driver.signaling.phase).toMatchObject({ phase: "ended", failure, neverJoined: true });
    driver.advance(60_000);
    expect(driver.connects).toHaveLength(1);
  });

  it("tries again after a rate limit, not before its time", () => {
    const driver = new Driver();
    driver.signaling.join("Me", 0);
    driver.pump();
    driver.open();
    driver.answer(driver.idOf("joinRequest"), error(ErrorCode.RATE_LIMITED, "", 3000));
    driver.advance(2999);
    expect(driver.connects).toHaveLength(1);
    driver.advance(1);
    expect(driver.connects).toHaveLength(2);
  });

  it("is given up as unreachable after twelve seconds", () => {
    const driver = new Driver();
    driver.signaling.join("Me", 0);
    driver.pump();
    for (let i = 0; i < 40; i++) {
      driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
      driver.pump();
      driver.advance(1000);
    }
    expect(driver.signaling.phase).toMatchObject({ phase: "ended", failure: "unreachable" });
  });

  it("with an old resume token falls back to the join token", () => {
    const driver = new Driver({ resumeToken: new Uint8Array(32).fill(1) });
    driver.signaling.join("Me", 0);
    driver.pump();
    driver.open();
    expect(driver.sent[0]).toMatchObject({ case: "joinRequest", value: { joinToken: "" } });
    driver.answer(driver.idOf("joinRequest"), error(ErrorCode.UNAUTHORIZED));
    driver.open();
    driver.seat();
    expect(driver.sent.findLast((body) => body.case === "joinRequest")).toMatchObject({
      value: { joinToken: "token", resumeToken: new Uint8Array() },
    });
    expect(driver.signaling.phase.phase).toBe("joined");
  });
});

describe("a health report", () => {
  it("is sent to nobody but a seat's controller, and waits for no answer", () => {
    const driver = new Driver();
    const report = create(HealthReportSchema, { signalingRttMs: 7 });
    driver.signaling.reportHealth(report);
    driver.signaling.join("Me", 0);
    driver.pump();
    driver.open();
    driver.signaling.reportHealth(report);
    driver.pump();
    expect(driver.count("healthReport")).toBe(0);
    driver.seat();
    driver.signaling.reportHealth(report);
    driver.pump();
    expect(driver.sent.at(-1)).toMatchObject({
      case: "healthReport",
      value: { signalingRttMs: 7 },
    });
    expect(driver.ids.at(-1)).toBe(0n);
  });
});

describe("a lost session", () => {
  it("is noticed 2.5 s after the last sign of life, and the seat taken back", () => {
    const driver = joined();
    driver.advance(10_000);
    expect(driver.signaling.phase.phase).toBe("joined");
    expect(driver.signaling.rttMs).toBe(0);
    driver.echo = false;
    driver.advance(3600);
    expect(driver.signaling.phase.phase).toBe("reconnecting");
    driver.echo = true;
    driver.open();
    const join = driver.sent.findLast((body) => body.case === "joinRequest");
    expect(join).toMatchObject({
      value: { joinToken: "", resumeToken: new Uint8Array(32).fill(7) },
    });
  });

  it("that died or never answered is the carrier's fault; one that was left is not", () => {
    const driver = joined();
    driver.echo = false;
    driver.advance(2600);
    expect(driver.failures).toEqual([1]);
    driver.advance(100);
    driver.open();
    expect(driver.attempt).toBe(2);
    // Open, and silent: what browsers do whose streams stall.
    driver.advance(2999);
    expect(driver.failures).toEqual([1]);
    driver.advance(1);
    expect(driver.failures).toEqual([1, 2]);
    driver.echo = true;
    driver.advance(500);
    driver.open();
    driver.seat();
    driver.signaling.leave();
    driver.pump();
    expect(driver.closes).toContain(driver.attempt);
    expect(driver.failures).toEqual([1, 2]);
  });

  it("keeps the streams that the server knows and publishes the others again", () => {
    const driver = joined();
    const value = create(StreamPublishedSchema, { participantId: "me" });
    driver.answer(driver.idOf("publishStream"), { case: "streamPublished", value });
    driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
    driver.pump();
    driver.signaling.setMuted(CAMERA.streamId, true);
    driver.advance(200);
    driver.open();
    expect(driver.sent.findLast((body) => body.case === "joinRequest")).toMatchObject({
      value: { keptStreamIds: [CAMERA.streamId] },
    });
    expect(driver.count("publishStream")).toBe(1);
    const streams = [
      create(MediaStreamSchema, { streamId: CAMERA.streamId, streamType: StreamType.VIDEO_CAMERA }),
    ];
    driver.seat({ self: create(ParticipantSchema, { participantId: "me", streams }) });
    expect(driver.count("publishStream")).toBe(1);
    expect(driver.sent.at(-1)).toMatchObject({ case: "setMute", value: { muted: true } });
  });

  it("is over when the seat is not kept any more", () => {
    const driver = joined();
    driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
    driver.pump();
    for (let i = 0; i < 400 && driver.signaling.phase.phase !== "ended"; i++) {
      driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
      driver.advance(1000);
    }
    expect(driver.signaling.phase).toMatchObject({ phase: "ended", reason: "lost" });
    expect(driver.now).toBeGreaterThan(290_000);
  });

  it("sends no request twice to the session that came after", () => {
    const driver = joined();
    driver.signaling.handleClosed(driver.attempt, undefined, "", driver.now);
    driver.pump();
    driver.signaling.removeParticipant("other");
    driver.pump();
    expect(driver.count("removeParticipant")).toBe(0);
  });
});

describe("the end", () => {
  it.each([
    [5, "replaced"],
    [6, "removed"],
    [7, "meeting-ended"],
  ] as const)("with close code %i is %s", (code, reason) => {
    const driver = joined();
    driver.signaling.handleClosed(driver.attempt, code, "", driver.now);
    expect(driver.signaling.phase).toMatchObject({ phase: "ended", reason, neverJoined: false });
  });

  it.each([0, 3, 4, 8, 99])("is not the close code %i", (code) => {
    const driver = joined();
    driver.signaling.handleClosed(driver.attempt, code, "", driver.now);
    expect(driver.signaling.phase.phase).toBe("reconnecting");
  });

  it("is told before the session closes", () => {
    const driver = joined();
    driver.push(left("me", LeaveReason.KICKED));
    expect(driver.signaling.phase).toMatchObject({ phase: "ended", reason: "removed" });
    expect(driver.closes).toContain(driver.attempt);
  });

  it("by leaving says so to the server first", () => {
    const driver = joined();
    driver.signaling.leave();
    driver.pump();
    expect(driver.sent.at(-1)?.case).toBe("leave");
    expect(driver.signaling.phase).toMatchObject({ phase: "ended", reason: "left" });
  });
});

describe("the roster", () => {
  const ben = create(ParticipantSchema, { participantId: "ben", userId: 2n, name: "Ben" });
  const id = streamId("550e8400-e29b-41d4-a716-446655440009");

  it("follows people, streams and mutes", () => {
    const driver = joined();
    driver.push({
      case: "participantJoined",
      value: create(ParticipantJoinedSchema, { participant: ben }),
    });
    const stream = create(MediaStreamSchema, {
      streamId: id,
      streamType: StreamType.AUDIO,
      streamNumber: 1,
    });
    driver.push({
      case: "streamPublished",
      value: create(StreamPublishedSchema, { participantId: "ben", stream, userId: 2n }),
    });
    expect(driver.signaling.roster.stream(id)).toMatchObject({
      owner: { name: "Ben" },
      stream: { kind: "microphone", muted: false, carrier: "datagram" },
    });
    const mutes = [{ streamId: id, muted: true }];
    const value = create(ParticipantUpdatedSchema, { participantId: "ben", mutes });
    driver.push({ case: "participantUpdated", value });
    expect(driver.signaling.roster.stream(id)?.stream.muted).toBe(true);
    driver.push(left("ben", LeaveReason.CONNECTION_LOST));
    expect(driver.signaling.roster.stream(id)).toBeUndefined();
    expect(driver.of("left")).toMatchObject([{ reason: "lost", participant: { name: "Ben" } }]);
  });

  it("announces nobody who was there before, and nobody twice", () => {
    const driver = new Driver();
    driver.signaling.join("Me", 0);
    driver.pump();
    driver.open();
    driver.seat({ existingParticipants: [ben] });
    driver.push({
      case: "participantJoined",
      value: create(ParticipantJoinedSchema, { participant: ben }),
    });
    expect(driver.of("joined")).toEqual([]);
    expect(driver.signaling.roster.others.size).toBe(1);
  });

  it("stays bounded whatever the server sends", () => {
    const driver = joined();
    for (let i = 0; i < 5000; i++) {
      const participant = create(ParticipantSchema, { participantId: `p${i}` });
      driver.push({
        case: "participantJoined",
        value: create(ParticipantJoinedSchema, { participant }),
      });
    }
    expect(driver.signaling.roster.others.size).toBe(4096);
    for (let i = 0; i < 50; i++) {
      const uuid = `550e8400-e29b-41d4-a716-4466554400${(10 + i).toString()}`;
      const stream = create(MediaStreamSchema, { streamId: uuid, streamType: StreamType.AUDIO });
      const value = create(StreamPublishedSchema, { participantId: "p1", stream });
      driver.push({ case: "streamPublished", value });
    }
    const [, p1] = [...driver.signaling.roster.others.values()];
    expect(p1?.streams.size).toBe(16);
  });
});

describe("what the server pushes", () => {
  it("becomes events", () => {
    const driver = joined();
    const encodings = [{ streamId: CAMERA.streamId, active: true, handlerIds: ["h"] }];
    driver.push({ case: "sendDirective", value: create(SendDirectiveSchema, { encodings }) });
    expect(driver.of("directive").at(-1)?.encodings).toMatchObject([
      { streamId: CAMERA.streamId, active: true, carrier: undefined, handlerIds: ["h"] },
    ]);
    const assignments = [
      { slot: 1, streamId: "s", participantId: "p", streamType: StreamType.AUDIO, codec: "opus" },
    ];
    driver.push({
      case: "streamAssignments",
      value: create(StreamAssignmentsSchema, { generation: 4, assignments }),
    });
    expect(driver.of("assignments").at(-1)).toMatchObject({
      generation: 4,
      list: [{ slot: 1, codec: "opus" }],
    });
    driver.push({
      case: "activeSpeakers",
      value: create(ActiveSpeakersSchema, { participantIds: ["a", "b"] }),
    });
    expect(driver.of("speakers").at(-1)?.participantIds).toEqual(["a", "b"]);
  });

  it("of an older session is ignored", () => {
    const driver = joined();
    const value = create(ActiveSpeakersSchema, { participantIds: ["a"] });
    driver.signaling.handleMessage(
      99,
      { requestId: 0n, body: { case: "activeSpeakers", value } },
      0,
    );
    driver.pump();
    expect(driver.of("speakers")).toEqual([]);
  });
});

describe("requests", () => {
  it("that are rate-limited are said again after the wait", () => {
    const driver = joined();
    driver.signaling.setMuted(CAMERA.streamId, true);
    driver.pump();
    driver.answer(driver.idOf("setMute"), error(ErrorCode.RATE_LIMITED, "", 500));
    driver.advance(499);
    expect(driver.count("setMute")).toBe(1);
    driver.advance(1);
    expect(driver.count("setMute")).toBe(2);
  });

  it("of layouts go one at a time, the newest last", () => {
    const driver = joined();
    const empty = {
      case: "streamAssignments",
      value: create(StreamAssignmentsSchema, {}),
    } as const;
    driver.answer(driver.idOf("subscribeLayout"), empty);
    for (let columns = 1; columns <= 5; columns++)
      driver.signaling.setLayout({ kind: "grid", rows: 1, columns });
    driver.pump();
    expect(driver.count("updateLayout")).toBe(1);
    driver.answer(driver.idOf("updateLayout"), empty);
    expect(driver.count("updateLayout")).toBe(2);
    expect(driver.sent.at(-1)).toMatchObject({
      value: { layout: { kind: { value: { rows: 1, columns: 5 } } } },
    });
    driver.answer(driver.idOf("updateLayout"), empty);
    expect(driver.count("updateLayout")).toBe(2);
  });

  it("that are refused are told, and a refused stream is not published", () => {
    const driver = joined();
    driver.answer(driver.idOf("publishStream"), error(ErrorCode.CONFLICT, "taken"));
    expect(driver.of("refused")).toMatchObject([{ request: "publishStream", message: "taken" }]);
    expect(driver.signaling.publications.size).toBe(0);
  });
});
