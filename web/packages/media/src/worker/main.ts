// The media worker's entrance: messages of the page become calls of the engine.
import { streamId } from "@darktower/session";
import type { FromCapture } from "../audio-messages";
import type { FromWorker, ToWorker, VideoKind } from "../messages";
import { Engine } from "./engine";

let engine: Engine | undefined;

function post(message: FromWorker): void {
  self.postMessage(message);
}

self.onmessage = (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  if (message.type === "init") {
    engine = new Engine(message.access, message.resumeToken, message.webTransportFailedAt, post);
  } else if (engine !== undefined) {
    handle(engine, message);
  }
};

function handle(engine: Engine, message: Exclude<ToWorker, { type: "init" }>): void {
  switch (message.type) {
    case "warm":
      engine.warm();
      return;
    case "crypto":
      engine.encryption.connect(message.port);
      return;
    case "crypto-failed":
      engine.cannotEncrypt(message.message);
      return;
    case "join":
      engine.join(message.name, message.pressedAt);
      return;
    case "sound":
      engine.incoming.setPlayout(message.playout);
      message.capture.onmessage = (sound: MessageEvent<FromCapture>) => {
        engine.sources.microphone?.push(sound.data);
      };
      return;
    case "publish":
      engine.sources.publish(message.kind, message.info);
      return;
    case "unpublish":
      engine.sources.unpublish(message.kind);
      return;
    case "video-stopped":
      engine.sources.video(message.kind)?.forgetPicture();
      return;
    case "frame":
      take(engine, message.kind, message.frame);
      return;
    case "mute":
      engine.sources.mute(message.kind, message.muted);
      return;
    case "layout":
      engine.setLayout(message.layout);
      return;
    case "attach":
      engine.attach(streamId(message.streamId), message.id, message.canvas);
      return;
    case "detach":
      engine.detach(streamId(message.streamId), message.id);
      return;
    case "tile":
      engine.reporter.setTile(message.streamId, message.id, message.size);
      return;
    case "hidden":
      engine.reporter.setHidden(message.hidden);
      return;
    case "receive-limit":
      engine.reporter.setMaxBitrate(message.bitsPerSecond);
      return;
    case "spotlight":
      engine.setSpotlight(message.participantIds);
      return;
    case "remove":
      engine.removeParticipant(message.participantId);
      return;
    case "rotate-keys":
      engine.encryption.tell({ type: "rotate" });
      return;
    case "end-meeting":
      engine.endMeeting();
      return;
    case "leave":
      engine.leave();
      return;
    case "hurry":
      engine.hurry();
      return;
    case "stats":
      post({ type: "stats", id: message.id, stats: engine.stats() });
  }
}

function take(engine: Engine, kind: VideoKind, frame: VideoFrame): void {
  const sender = engine.sources.video(kind);
  if (sender === undefined || engine.sources.isMuted(sender.streamId)) frame.close();
  else sender.push(frame);
}
