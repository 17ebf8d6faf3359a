// The figures of a meeting, gathered when they are asked for.
import type {
  IncomingAudioStats,
  IncomingVideoStats,
  MeetingStats,
  OutgoingStats,
  TransportName,
  TransportStats,
} from "@darktower/session";
import type { CarrierChoice } from "../rules/carrier-choice";
import type { Engine } from "./engine";
import { VideoSender } from "./video-sender";

export interface Timings {
  /** Milliseconds since the Unix epoch. */
  readonly pressedAt: number;
  joinedMs?: number;
  mediaReadyMs?: number;
  keysMs?: number;
  firstVideoFrameMs?: number;
  firstVideoDecodedMs?: number;
  firstVideoDrawnMs?: number;
  firstAudioMs?: number;
}

export function collectStats(engine: Engine): MeetingStats {
  const links = [...engine.handlers.values()];
  const media = links.find((link) => link.ready);
  const shown = media ?? links.find((link) => link.carrier !== undefined);
  const { timings } = engine;
  return {
    phase: engine.signaling.phase.phase,
    signalingTransport: transport(engine.carrier, engine.choice),
    mediaTransport: transport(shown?.carrier, shown?.choice),
    controllerRttMs: engine.signaling.rttMs,
    mediaRttMs: media?.rttMs ?? null,
    mediaConnected: media !== undefined,
    outgoing: outgoing(engine),
    ...incoming(engine),
    encryption: engine.encryption.stats(),
    discarded: Object.fromEntries(engine.discarded),
    audioOutput: "unknown",
    joinTimings:
      timings === undefined
        ? null
        : {
            pressedAt: timings.pressedAt,
            joinedMs: timings.joinedMs ?? null,
            mediaReadyMs: timings.mediaReadyMs ?? null,
            keysMs: timings.keysMs ?? null,
            firstVideoFrameMs: timings.firstVideoFrameMs ?? null,
            firstVideoDecodedMs: timings.firstVideoDecodedMs ?? null,
            firstVideoDrawnMs: timings.firstVideoDrawnMs ?? null,
            firstAudioMs: timings.firstAudioMs ?? null,
          },
  };
}

function transport(
  carrier: TransportName | undefined,
  choice: CarrierChoice | undefined,
): TransportStats | null {
  return carrier === undefined ? null : { carrier, reason: choice?.reason(carrier) ?? null };
}

function outgoing(engine: Engine): OutgoingStats[] {
  return [...engine.senders.values()].map((sender) => {
    const out = sender.outgoing;
    const { width, height } = sender instanceof VideoSender ? sender.size : { width: 0, height: 0 };
    return {
      streamId: sender.streamId,
      kind: sender.kind,
      carrier: out.carrier,
      active: sender.active,
      muted: engine.isMuted(sender.streamId),
      frames: out.sent.count,
      keyFrames: out.keyFrames,
      bytes: out.sent.bytes,
      ...out.sent.rates(performance.now()),
      width,
      height,
      droppedFrames: sender.droppedFrames,
      droppedGroups: out.droppedGroups,
    };
  });
}

function incoming(engine: Engine): { video: IncomingVideoStats[]; audio: IncomingAudioStats[] } {
  const video: IncomingVideoStats[] = [];
  const audio: IncomingAudioStats[] = [];
  for (const [id, sink] of engine.incoming.sinks) {
    const known = engine.signaling.roster.stream(id);
    const owner = known?.owner.participantId ?? "";
    if (sink.type === "audio") audio.push(sink.stats(owner));
    else video.push(sink.stats(owner, known?.stream.kind === "screen" ? "screen" : "camera"));
  }
  return { video, audio };
}
