import { create } from "@bufbuild/protobuf";
import {
  EncodingDirectiveSchema,
  HandlerAssignedSchema,
  HandlerRemovedSchema,
  MediaServerInfoSchema,
  MediaTokenSchema,
  MeetingInfoSchema,
  MeetingUpdatedSchema,
  RequestKeyframeSchema,
  SendDirectiveSchema,
} from "@darktower/protocol";
import { describe, expect, it } from "vitest";
import { streamId, type Publication } from "../src";
import { Driver } from "./server";

const CAMERA: Publication = {
  streamId: streamId("550e8400-e29b-41d4-a716-446655440000"),
  kind: "camera",
  number: 2,
  codec: "vp08",
  maxBitrate: 2_000_000,
  muted: false,
  video: {
    width: 1280,
    height: 720,
    framerate: 30,
    layers: [
      { width: 320, height: 180, maxBitrate: 100_000 },
      { width: 1280, height: 720, maxBitrate: 1_500_000 },
    ],
  },
};

function joined(publication: Publication): Driver {
  const driver = new Driver();
  driver.signaling.publish(publication);
  driver.signaling.setVideoCodecs(["VP8", "AV1"]);
  driver.signaling.join("Me", driver.now);
  driver.pump();
  driver.open();
  return driver;
}

describe("a camera in several encodings", () => {
  it("is announced with them, smallest first, and this client decodes what it says", () => {
    const driver = joined(CAMERA);
    expect(driver.sent.find((body) => body.case === "joinRequest")?.value).toMatchObject({
      capabilities: { videoCodecs: ["VP8", "AV1"], supportsSimulcast: true },
    });
    expect(driver.sent.find((body) => body.case === "publishStream")?.value).toMatchObject({
      metadata: {
        video: {
          width: 1280,
          simulcastLayers: [
            { layerId: "0", width: 320, maxBitrate: 100_000 },
            { layerId: "1", width: 1280, maxBitrate: 1_500_000 },
          ],
        },
      },
    });
  });

  it("with a single one needs no list", () => {
    const video = { width: 320, height: 180, framerate: 15, layers: [] };
    const driver = joined({ ...CAMERA, video });
    const body = driver.sent.find((one) => one.case === "publishStream");
    if (body?.case !== "publishStream") return expect.fail("not published");
    expect(body.value.metadata?.video).toMatchObject({ framerate: 15, simulcastLayers: [] });
  });

  it("is told of each which to send, how fast and with what", () => {
    const driver = joined(CAMERA);
    driver.seat();
    const encodings = [
      { encoding: 0, active: true, maxBitrate: 80_000, codec: "vp09" },
      { encoding: 1, active: false },
    ].map((one) => create(EncodingDirectiveSchema, { streamId: CAMERA.streamId, ...one }));
    driver.push({ case: "sendDirective", value: create(SendDirectiveSchema, { encodings }) });
    expect(driver.of("directive").at(-1)?.encodings).toMatchObject([
      { encoding: 0, active: true, maxBitrate: 80_000, codec: "vp09" },
      { encoding: 1, active: false, codec: "" },
    ]);
    const value = create(RequestKeyframeSchema, { streamId: CAMERA.streamId, encoding: 1 });
    driver.push({ case: "requestKeyframe", value });
    expect(driver.of("keyframe")).toMatchObject([{ encoding: 1 }]);
  });
});

describe("media handlers", () => {
  const mediaServer = create(MediaServerInfoSchema, {
    handlerId: "h2",
    mediaHandlerUrl: "https://127.0.0.1:1/mh/1",
    connectionToken: "token",
  });

  it("are assigned and removed in the middle of a meeting", () => {
    const driver = joined(CAMERA);
    driver.seat();
    const assigned = create(HandlerAssignedSchema, { mediaServer });
    driver.push({ case: "handlerAssigned", value: assigned });
    expect(driver.of("handler-assigned")).toMatchObject([
      { server: { endpoint: { handlerId: "h2" }, token: "token" } },
    ]);
    const removed = create(HandlerRemovedSchema, { handlerId: "h2" });
    driver.push({ case: "handlerRemoved", value: removed });
    expect(driver.of("handler-removed")).toMatchObject([{ id: "h2" }]);
  });

  it("of which no browser can make use are not assigned", () => {
    const driver = joined(CAMERA);
    driver.seat();
    const bad = create(MediaServerInfoSchema, { ...mediaServer, mediaHandlerUrl: "http://x/" });
    const value = create(HandlerAssignedSchema, { mediaServer: bad });
    driver.push({ case: "handlerAssigned", value });
    driver.push({ case: "handlerAssigned", value: create(HandlerAssignedSchema) });
    expect(driver.of("handler-assigned")).toEqual([]);
  });

  it("get a fresh token each, which is no assignment", () => {
    const driver = joined(CAMERA);
    driver.seat();
    driver.push({ case: "mediaToken", value: create(MediaTokenSchema, { mediaServer }) });
    expect(driver.of("media-server")).toMatchObject([{ server: { token: "token" } }]);
    expect(driver.of("handler-assigned")).toEqual([]);
  });
});

describe("a newcomer", () => {
  it("is told when nobody sends what it decodes", () => {
    const driver = joined(CAMERA);
    driver.seat({ noCommonVideoCodec: true });
    expect(driver.signaling.phase.phase).toBe("joined");
    expect(driver.of("missing-codecs")).toMatchObject([{ missing: { video: true, audio: false } }]);
  });
});

describe("the spotlight", () => {
  it("is asked for with nine people at most", () => {
    const driver = joined(CAMERA);
    driver.seat();
    driver.signaling.setSpotlight(Array.from({ length: 12 }, (_, i) => `p${i}`));
    driver.pump();
    const body = driver.sent.at(-1);
    if (body?.case !== "setSpotlight") return expect.fail("not asked for");
    expect(body.value.participantIds).toHaveLength(9);
  });

  it("comes with what the meeting is, also when it changes", () => {
    const driver = joined(CAMERA);
    const info = (...spotlightUserIds: bigint[]) => create(MeetingInfoSchema, { spotlightUserIds });
    driver.seat({ meeting: info(3n) });
    const value = create(MeetingUpdatedSchema, { meeting: info(4n, 5n) });
    driver.push({ case: "meetingUpdated", value });
    expect(driver.of("meeting").map((event) => event.info.spotlightUserIds)).toEqual([
      [3n],
      [4n, 5n],
    ]);
  });
});
