// The figures of a meeting, gathered when they are asked for.
import type {
  HandlerStats,
  IncomingAudioStats,
  IncomingVideoStats,
  MeetingStats,
  OutgoingStats,
  TransportName,
  TransportStats,
} from "@darktower/session";
import type { CarrierChoice } from "../rules/carrier-choice";
import type { Engine } from "./engine";
import type { Outgoing } from "./outgoing";
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
  const links = engine.handlers.all;
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
    handlers: handlers(engine),
    uplinkLostPpm: uplinkLostPpm(engine),
    overloaded: engine.reporter.overloaded,
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

function handlers({ handlers: { all, home, arrivals } }: Engine): HandlerStats[] {
  return all.map((link) => ({
    handlerId: link.id,
    home: link === home,
    connected: link.ready,
    transport: transport(link.carrier, link.choice),
    rttMs: link.rttMs,
    lostPpm: arrivals.get(link.id)?.lostPpm ?? null,
  }));
}

function uplinkLostPpm(engine: Engine): number | null {
  const lost = [...engine.handlers.arrivals.values()].map((one) => one.lostPpm);
  return lost.length === 0 ? null : Math.max(...lost);
}

function outgoing(engine: Engine): OutgoingStats[] {
  return [...engine.sources.senders.values()].map((sender) => {
    const outs = sender.outgoings;
    const sum = (of: (out: Outgoing) => number): number =>
      outs.reduce((all, out) => all + of(out), 0);
    const rates = outs.map((out) => out.sent.rates(performance.now()));
    const video = sender instanceof VideoSender ? sender : undefined;
    return {
      streamId: sender.streamId,
      kind: sender.kind,
      carrier: outs[0]?.carrier ?? "stream",
      active: sender.active,
      muted: engine.sources.isMuted(sender.streamId),
      frames: sum((out) => out.sent.count),
      keyFrames: sum((out) => out.keyFrames),
      bytes: sum((out) => out.sent.bytes),
      // Of one picture there are several encodings.
      fps: Math.max(0, ...rates.map((one) => one.fps)),
      kbps: Math.round(rates.reduce((all, one) => all + one.kbps, 0) * 10) / 10,
      width: video?.size.width ?? 0,
      height: video?.size.height ?? 0,
      encodings: video?.encodingStats() ?? [],
      repeating: outs.some((out) => out.repeats > 0),
      droppedFrames: sender.droppedFrames,
      droppedGroups: sum((out) => out.droppedGroups),
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
