// Senders whose path leads back to the sinks of the same worker.
import { GroupParser, Reassembler, parseDatagram, writeStreamHeader } from "@darktower/protocol";
import { streamId, type CarrierName } from "@darktower/session";
import type { FromCapture, FromPlayout } from "../../src/audio-messages";
import type { ToWorker } from "../../src/messages";
import { AudioSender } from "../../src/worker/audio-sender";
import { AudioSink } from "../../src/worker/audio-sink";
import { Encryption } from "../../src/worker/encryption";
import type { GroupSink } from "../../src/worker/carrier/types";
import type { MediaPath } from "../../src/worker/outgoing";
import { VideoSender } from "../../src/worker/video-sender";
import { VideoSink } from "../../src/worker/video-sink";

type Message =
  | Extract<ToWorker, { type: "sound" | "frame" }>
  | { type: "canvas"; canvas: OffscreenCanvas }
  | { type: "carrier"; carrier: CarrierName }
  | { type: "stats" };

let playout: MessagePort | undefined;
const video = streamId("550e8400-e29b-41d4-a716-446655440000");
const audio = streamId("550e8400-e29b-41d4-a716-446655440001");
const videoSink = new VideoSink(video, {
  requestKeyframe: () => {
    camera.requestKey();
  },
  changed: () => undefined,
  reached: () => undefined,
  queued: () => undefined,
});
const audioSink = new AudioSink(
  audio,
  1,
  (message, transfer) => playout?.postMessage(message, transfer),
  () => undefined,
);
const reassembler = new Reassembler();

const path: MediaPath = {
  ready: true,
  datagramBytes: 1000,
  sendDatagram: (datagram) => {
    const parsed = parseDatagram(datagram);
    const stream = parsed.header.frameType === "audio" ? "audio" : "video";
    const whole = reassembler.push(stream, parsed, performance.now());
    if (whole === undefined) return;
    if (stream === "audio") audioSink.datagram(whole);
    else videoSink.datagram(whole, "vp08");
  },
  openGroup: async (header) => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    void read(readable);
    const writer = writable.getWriter();
    await writer.write(writeStreamHeader(header));
    return {
      write: (frame) => writer.write(frame),
      close: () => writer.close(),
      abort: () => void writer.abort(),
    };
  },
};

async function read(readable: ReadableStream<Uint8Array>): Promise<void> {
  const parser = new GroupParser();
  let sink: GroupSink | undefined;
  for await (const chunk of readable) {
    parser.push(chunk);
    for (let item = parser.next(); item !== undefined; item = parser.next()) {
      if (item.type === "opened") sink = videoSink.group(item.header);
      else void sink?.frame(item.header, item.payload);
    }
  }
  sink?.end();
}

// Media alone is looked at here; sealing has tests of its own.
const ignore = (): void => undefined;
const inTheClear = new Encryption({
  keys: ignore,
  send: ignore,
  position: ignore,
  shown: ignore,
  unsupported: ignore,
});
const camera = new VideoSender("camera", video, 2, 1, inTheClear, ignore);
const microphone = new AudioSender(audio, 1, inTheClear);
const outgoings = [...camera.outgoings, ...microphone.outgoings];
for (const outgoing of outgoings) {
  outgoing.userId = 1n;
  outgoing.links = [path];
}
camera.obey(new Map([[0, { active: true, bitrateMax: 0, codec: "vp08" }]]));
microphone.setActive(true);

self.onmessage = (event: MessageEvent<Message>) => {
  const message = event.data;
  switch (message.type) {
    case "canvas":
      videoSink.attach(1, message.canvas);
      return;
    case "sound":
      playout = message.playout;
      playout.onmessage = (report: MessageEvent<FromPlayout>) => {
        audioSink.playout = report.data.sources[0];
      };
      message.capture.onmessage = (sound: MessageEvent<FromCapture>) => {
        microphone.push(sound.data);
      };
      return;
    case "frame":
      camera.push(message.frame);
      return;
    case "carrier":
      for (const outgoing of camera.outgoings) outgoing.carrier = message.carrier;
      camera.requestKey();
      return;
    case "stats":
      self.postMessage({
        video: videoSink.stats("", "camera"),
        audio: audioSink.stats(""),
        sent: {
          video: camera.outgoings.reduce((all, one) => all + one.sent.count, 0),
          audio: microphone.outgoing.sent.count,
        },
      });
  }
};
