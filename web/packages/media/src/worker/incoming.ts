// All that is received: which stream a group or a datagram belongs to, its sink,
// and the sinks' life as people come, publish, mute and go. In encrypted meetings
// a frame is opened before its sink gets it.
import {
  Reassembler,
  splitLabel,
  type ParsedDatagram,
  type FrameHeader,
  type StreamHeader,
  type WholeFrame,
} from "@darktower/protocol";
import {
  AssignmentMap,
  streamId,
  type Assignment,
  type HandlerId,
  type Signaling,
  type StreamId,
} from "@darktower/session";
import type { FromPlayout, ToPlayout } from "../audio-messages";
import { TurnQueue } from "../rules/turn-queue";
import { AudioSink } from "./audio-sink";
import type { Encryption, FrameFacts, OpenFailure } from "./encryption";
import type { GroupSink } from "./carrier/types";
import { VideoSink, type VideoStep } from "./video-sink";

/** Streams received at once at most. */
const SINKS_MAX = 128;
/** Media may arrive before the message that announces it, by no more than this. */
const UNANNOUNCED_MS = 3000;

/** A datagram, and which handler brought it. */
export interface Arrived extends ParsedDatagram {
  readonly from: HandlerId;
}

export interface IncomingEvents {
  /** A handler brought something of a video stream. */
  came(from: HandlerId, id: StreamId): void;
  /** So many frames wait in the decoder of a stream. */
  queued(id: StreamId, frames: number): void;
  /** The stream is received no more. */
  gone(id: StreamId): void;
  requestKeyframe(id: StreamId, encoding: number): void;
  /** Something that views show changed. */
  changed(): void;
  firstVideo(step: VideoStep): void;
  firstAudio(): void;
  discard(cause: string): void;
}

type Sink = VideoSink | AudioSink;
type Turns = TurnQueue<OpenFailure>;

export class Incoming {
  readonly assignments = new AssignmentMap<Arrived>();
  readonly #signaling: Signaling;
  readonly #encryption: Encryption;
  readonly #events: IncomingEvents;
  readonly #turns = new Map<StreamId, Turns>();
  readonly #sinks = new Map<StreamId, Sink>();
  readonly #since = new Map<StreamId, number>();
  readonly #reassembler = new Reassembler();
  #playout: MessagePort | undefined;
  #nextSource = 1;

  constructor(signaling: Signaling, encryption: Encryption, events: IncomingEvents) {
    this.#signaling = signaling;
    this.#encryption = encryption;
    this.#events = events;
  }

  get sinks(): ReadonlyMap<StreamId, Sink> {
    return this.#sinks;
  }

  setPlayout(port: MessagePort): void {
    this.#playout = port;
    port.onmessage = (event: MessageEvent<FromPlayout>) => {
      for (const { source, ...stats } of event.data.sources) {
        for (const sink of this.#sinks.values()) {
          if (sink.type === "audio" && sink.source === source) sink.playout = stats;
        }
      }
    };
  }

  group(from: HandlerId, header: StreamHeader): GroupSink | undefined {
    const sink = this.#sinkOf(streamId(header.streamId), header.kind);
    if (sink?.type === "video") this.#events.came(from, sink.streamId);
    const group = sink?.group(header);
    if (sink === undefined || group === undefined || !this.#encryption.required) return group;
    const turns = this.#turnsOf(sink.streamId);
    return {
      frame: (frame: FrameHeader, payload) => {
        this.#open(
          sink,
          { ...frame, ...frame.flags, streamId: sink.streamId },
          payload,
          (plain) => {
            void group.frame(frame, plain);
          },
        );
        return turns.room();
      },
      end: () => {
        turns.mark(() => {
          group.end();
        });
      },
    };
  }

  datagram(datagram: Arrived): void {
    const { header } = datagram;
    const { generation, slot } = splitLabel(header.label);
    const resolved = this.assignments.resolve(generation, slot, datagram, performance.now());
    if (resolved.type === "held") return;
    if (resolved.type === "unknown") {
      this.#events.discard("datagram of an unassigned slot");
      return;
    }
    this.#deliver(resolved.assignment, datagram);
  }

  assign(generation: number, list: readonly Assignment[]): void {
    const now = performance.now();
    for (const datagram of this.assignments.apply(generation, list, now)) this.datagram(datagram);
  }

  attach(id: StreamId, attachment: number, canvas: OffscreenCanvas): void {
    const sink = this.#sinkOf(id, "video");
    if (sink?.type === "video") sink.attach(attachment, canvas);
  }

  detach(id: StreamId, attachment: number): void {
    const sink = this.#sinks.get(id);
    if (sink?.type === "video") sink.detach(attachment);
  }

  /** Keys came, or it became known whose stream is whose. */
  wake(): void {
    for (const turns of this.#turns.values()) turns.wake();
  }

  /** After the roster changed: sinks of streams that are gone go too. */
  sweep(): void {
    const now = performance.now();
    for (const [id, sink] of this.#sinks) {
      const known = this.#signaling.roster.stream(id);
      if (known === undefined) {
        if (now - (this.#since.get(id) ?? 0) > UNANNOUNCED_MS) this.#remove(id, sink);
      } else if (known.stream.muted && sink.live) {
        sink.stop();
      }
    }
  }

  close(): void {
    for (const [id, sink] of this.#sinks) this.#remove(id, sink);
  }

  #deliver(assignment: Assignment, datagram: Arrived): void {
    if (assignment.userId !== datagram.header.userId) {
      this.#events.discard("datagram of another sender than assigned");
      return;
    }
    const kind = assignment.kind === "microphone" ? "audio" : "video";
    if ((datagram.header.frameType === "audio") !== (kind === "audio")) {
      this.#events.discard("datagram of another kind than assigned");
      return;
    }
    const whole = this.#reassembler.push(assignment.streamId, datagram, performance.now());
    if (whole === undefined) return;
    const sink = this.#sinkOf(assignment.streamId, kind);
    if (sink === undefined) return;
    if (sink.type === "video") this.#events.came(datagram.from, sink.streamId);
    const take = (frame: WholeFrame): void => {
      if (sink.type === "audio") sink.datagram(frame);
      else sink.datagram(frame, assignment.codec);
    };
    if (!this.#encryption.required) {
      take(whole);
      return;
    }
    const { header, payload } = whole;
    this.#open(sink, { ...header, ...header.flags, streamId: sink.streamId }, payload, (plain) => {
      take({ header, payload: plain });
    });
  }

  /** Has a frame opened in its turn; `take` gets the payload. */
  #open(
    sink: Sink,
    facts: FrameFacts,
    payload: Uint8Array,
    take: (plain: Uint8Array) => void,
  ): void {
    const taken = this.#turnsOf(sink.streamId).push(
      payload.length,
      () => this.#encryption.open(facts, payload, this.#ownerOf(sink.streamId)),
      take,
      (failure) => {
        this.#events.discard(failure.cause);
        if (failure.counts) this.#encryption.countFailure(failure);
        sink.unopened(failure.counts, facts.extension.encoding);
      },
    );
    if (!taken) this.#events.discard("frame that found no room before it was opened");
  }

  #ownerOf(id: StreamId): { participantId: string; streamNumber: number } | undefined {
    const known = this.#signaling.roster.stream(id);
    if (known === undefined) return undefined;
    return { participantId: known.owner.participantId, streamNumber: known.stream.number };
  }

  #turnsOf(id: StreamId): Turns {
    let turns = this.#turns.get(id);
    if (turns === undefined) {
      turns = new TurnQueue(() => performance.now());
      this.#turns.set(id, turns);
    }
    return turns;
  }

  #sinkOf(id: StreamId, kind: "audio" | "video"): Sink | undefined {
    const existing = this.#sinks.get(id);
    if (existing !== undefined) return existing.type === kind ? existing : undefined;
    if (this.#sinks.size >= SINKS_MAX) return undefined;
    const sink = kind === "video" ? this.#newVideo(id) : this.#newAudio(id);
    this.#sinks.set(id, sink);
    this.#since.set(id, performance.now());
    return sink;
  }

  #newVideo(id: StreamId): VideoSink {
    return new VideoSink(id, {
      requestKeyframe: (stream, encoding) => {
        this.#events.requestKeyframe(stream, encoding);
      },
      changed: () => {
        this.#events.changed();
      },
      reached: (step) => {
        this.#events.firstVideo(step);
      },
      queued: (frames) => {
        this.#events.queued(id, frames);
      },
    });
  }

  #newAudio(id: StreamId): AudioSink {
    return new AudioSink(
      id,
      this.#nextSource++,
      (message: ToPlayout, transfer) => this.#playout?.postMessage(message, transfer),
      () => {
        this.#events.firstAudio();
        this.#events.changed();
      },
    );
  }

  #remove(id: StreamId, sink: Sink): void {
    sink.close();
    this.#events.gone(id);
    this.#turns.get(id)?.close();
    this.#turns.delete(id);
    this.#sinks.delete(id);
    this.#since.delete(id);
  }
}
