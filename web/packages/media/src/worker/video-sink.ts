// One incoming video: frames in whatever order become pictures on a canvas. A
// missing base-layer frame stops decoding until a key frame, which is asked for.
import {
  BaseLayer,
  Deduplicator,
  type Extension,
  type FrameType,
  type StreamHeader,
  type WholeFrame,
} from "@darktower/protocol";
import type { CarrierName, IncomingVideoStats, StreamId } from "@darktower/session";
import { epochMicros } from "../rules/clock";
import { EncodingGate } from "../rules/encoding-gate";
import type { StreamCounts } from "../rules/health";
import { Pacer } from "../rules/pacer";
import { RateMeter } from "../rules/rate";
import { SequenceOrder } from "../rules/sequence-order";
import { VideoOrder } from "../rules/video-order";
import type { GroupSink } from "./carrier/types";
import { takeVideoDecoder, type VideoOutput } from "./video-decoders";

/**
 * More frames in the decoder than this for so long: it is too slow, and begins
 * anew. A kept group comes as a whole, two seconds of pictures.
 */
const DECODING_LONG = 20;
const DECODING_LONG_MS = 1000;
const DECODING_MAX = 120;
/** A picture that is older than the one shown by more than this is of another clock. */
const CLOCK_JUMP_MICROS = 5_000_000;
const KEYFRAME_INTERVAL_MS = 500;
/** Pictures waiting for their time at most; the oldest are not drawn. */
const PICTURES_MAX = 4;
const REORDER_MS = 50;
const CODECS: Readonly<Partial<Record<string, string>>> = {
  vp08: "vp8",
  vp09: "vp09.00.10.08",
  av01: "av01.0.04M.08",
  avc1: "avc1.42E01F",
};

interface Frame {
  readonly frameType: FrameType;
  readonly timestamp: bigint;
  readonly extension: Extension;
  readonly codec: string;
  readonly payload: Uint8Array;
}

/** The way of a picture: a frame arrives, is decoded, is drawn. */
export type VideoStep = "frame" | "decoded" | "drawn";

export interface VideoSinkEvents {
  requestKeyframe(streamId: StreamId, encoding: number): void;
  /** First picture, or another size. */
  changed(): void;
  reached(step: VideoStep): void;
  /** So many frames are in the decoder. */
  queued(frames: number): void;
}

export class VideoSink implements VideoOutput {
  readonly type = "video";
  live = false;
  decryptFailures = 0;
  width = 0;
  height = 0;
  readonly #events: VideoSinkEvents;
  readonly #groups = new VideoOrder<Frame>();
  /** Of datagrams, by encoding. */
  readonly #sequences = new Map<number, SequenceOrder<Frame>>();
  readonly #gate = new EncodingGate();
  /** Of the encoding that is followed. */
  #encoding: number | undefined;
  #base = new BaseLayer();
  #seen = new Deduplicator();
  #switches = 0;
  /** Of the picture that was drawn last, in microseconds. */
  #shownAt = 0;
  readonly #pacer = new Pacer();
  readonly #received = new RateMeter();
  #carrier: CarrierName | "none" = "none";
  #decoder: VideoDecoder | undefined;
  #decodes: string | undefined;
  /** Since when there are many frames in the decoder. */
  #longSince: number | undefined;
  /** Contexts are kept: Firefox gives one out only once. */
  readonly #canvases = new Map<number, OffscreenCanvasRenderingContext2D>();
  #latest: VideoFrame | undefined;
  #pictures: { readonly frame: VideoFrame; readonly due: number }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #orderTimer: ReturnType<typeof setTimeout> | undefined;
  #askedAt = -Infinity;
  #drawn = 0;
  #lost = 0;
  #decodeErrors = 0;
  #behind = 0;
  #decoded = 0;
  #keyframeRequests = 0;
  #latencySum = 0;

  constructor(
    readonly streamId: StreamId,
    events: VideoSinkEvents,
  ) {
    this.#events = events;
  }

  // ---- what comes in --------------------------------------------------------

  /** A stream of the stream carrier began. */
  group(header: StreamHeader): GroupSink | undefined {
    const { codec } = header;
    const group = this.#groups.open(header.encoding, header.group);
    if (group === undefined) return undefined;
    this.#carrier = "stream";
    return {
      frame: (header, payload) => {
        const now = performance.now();
        this.#received.add(payload.length, now);
        this.#decodeAll(group.push({ ...pick(header), codec, payload }, now));
        this.#scheduleOrder();
      },
      end: () => {
        this.#decodeAll(group.end(performance.now()));
        this.#scheduleOrder();
      },
    };
  }

  /** A frame of the datagram carrier, whole. */
  datagram(whole: WholeFrame, codec: string): void {
    const { header, payload } = whole;
    this.#carrier = "datagram";
    const first = header.sequence - BigInt(header.extension.fragment);
    this.#received.add(payload.length, performance.now());
    const frame: Frame = { ...pick(header), codec, payload };
    const now = performance.now();
    const order = this.#sequenceOf(header.extension.encoding);
    for (const { item, missing } of order.push(first, header.sequence, frame, now)) {
      const { encoding } = item.extension;
      const verdict = this.#gate.accept(encoding, item.frameType === "key", item.timestamp, now);
      if (verdict === "lost") this.#askForKey(encoding);
      if (verdict === "lost" || verdict === "stray") continue;
      this.#lost += missing > 0 ? 1 : 0;
      this.#decode(item);
    }
  }

  /** A frame could not be opened: what follows can't be decoded either. */
  unopened(counts: boolean, encoding: number): void {
    if (!counts) return;
    this.decryptFailures += 1;
    if (encoding === this.#encoding) this.#base.reset();
    this.#askForKey(encoding);
  }

  /** The sender muted it: the next picture is a new beginning. */
  stop(): void {
    clearTimeout(this.#timer);
    for (const { frame } of this.#pictures.splice(0)) frame.close();
    this.#latest?.close();
    this.#latest = undefined;
    this.live = false;
  }

  close(): void {
    this.stop();
    clearTimeout(this.#orderTimer);
    if (this.#decoder?.state === "configured") this.#decoder.close();
    this.#decoder = undefined;
    this.#canvases.clear();
  }

  #sequenceOf(encoding: number): SequenceOrder<Frame> {
    const order = this.#sequences.get(encoding) ?? new SequenceOrder<Frame>(REORDER_MS);
    this.#sequences.set(encoding, order);
    return order;
  }

  /** A newer group that waits takes over even if nothing else arrives. */
  #scheduleOrder(): void {
    clearTimeout(this.#orderTimer);
    const due = this.#groups.due;
    if (due === undefined) return;
    this.#orderTimer = setTimeout(
      () => {
        this.#decodeAll(this.#groups.poll(performance.now()));
        this.#scheduleOrder();
      },
      Math.max(0, due - performance.now()),
    );
  }

  // ---- decoding -------------------------------------------------------------

  #decodeAll(frames: readonly Frame[]): void {
    for (const frame of frames) this.#decode(frame);
  }

  #decode(frame: Frame): void {
    if (!this.live) this.#events.reached("frame");
    this.#follow(frame.extension.encoding);
    if (!this.#seen.isNew(frame.timestamp)) return;
    const verdict = this.#base.accept(frame.frameType, frame.extension);
    if (verdict === "late") return;
    if (verdict !== "decodable") {
      if (verdict === "gap") this.#lost += 1;
      this.#askForKey(frame.extension.encoding);
      return;
    }
    const decoder = this.#decoderFor(frame.codec);
    if (decoder === undefined || this.#isBehind(decoder)) {
      if (decoder !== undefined) this.#behind += 1;
      this.#base.reset();
      this.#askForKey(frame.extension.encoding);
      return;
    }
    this.#events.queued(decoder.decodeQueueSize);
    try {
      decoder.decode(
        new EncodedVideoChunk({
          type: frame.frameType === "key" ? "key" : "delta",
          timestamp: Number(frame.timestamp),
          data: frame.payload,
        }),
      );
    } catch {
      this.decodeFailed();
    }
  }

  #isBehind({ decodeQueueSize }: VideoDecoder): boolean {
    if (decodeQueueSize <= DECODING_LONG) {
      this.#longSince = undefined;
      return false;
    }
    const now = performance.now();
    this.#longSince ??= now;
    return decodeQueueSize > DECODING_MAX || now - this.#longSince > DECODING_LONG_MS;
  }

  /** Counters and timestamps are an encoding's own, and a kept group comes again. */
  #follow(encoding: number): void {
    if (encoding === this.#encoding) return;
    if (this.#encoding !== undefined) this.#switches += 1;
    this.#encoding = encoding;
    this.#base = new BaseLayer();
    this.#seen = new Deduplicator();
  }

  #decoderFor(codec: string): VideoDecoder | undefined {
    if (this.#decoder?.state === "configured" && this.#decodes === codec) return this.#decoder;
    const name = CODECS[codec];
    if (name === undefined) return undefined;
    if (this.#decoder?.state === "configured") this.#decoder.close();
    this.#decodes = codec;
    this.#decoder = takeVideoDecoder(name, this);
    return this.#decoder;
  }

  decodeFailed(): void {
    this.#decodeErrors += 1;
    this.#decoder = undefined;
    this.#base.reset();
    this.#askForKey(this.#encoding ?? 0);
  }

  #askForKey(encoding: number): void {
    const now = performance.now();
    if (now - this.#askedAt < KEYFRAME_INTERVAL_MS) return;
    this.#askedAt = now;
    this.#keyframeRequests += 1;
    this.#events.requestKeyframe(this.streamId, encoding);
  }

  // ---- drawing --------------------------------------------------------------

  attach(id: number, canvas: OffscreenCanvas): void {
    const context = canvas.getContext("2d", { alpha: false });
    if (context === null) return;
    this.#canvases.set(id, context);
    if (this.#latest !== undefined) this.#draw(this.#latest);
  }

  detach(id: number): void {
    this.#canvases.delete(id);
  }

  picture(frame: VideoFrame): void {
    this.#decoded += 1;
    if (!this.live) this.#events.reached("decoded");
    // Of a group of another encoding that began long ago: it catches up.
    const behind = this.#shownAt - frame.timestamp;
    if (behind >= 0 && behind < CLOCK_JUMP_MICROS) {
      frame.close();
      return;
    }
    const capturedMs = frame.timestamp / 1000 - performance.timeOrigin;
    const now = performance.now();
    const due = this.#pacer.due(capturedMs, now);
    this.#pictures.push({ frame, due });
    while (this.#pictures.length > PICTURES_MAX) this.#pictures.shift()?.frame.close();
    // What is there first is shown at once.
    if (!this.live || due <= now + 2) this.#show();
    else this.#schedulePicture();
  }

  #schedulePicture(): void {
    clearTimeout(this.#timer);
    const next = this.#pictures[0];
    if (next === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#show();
      },
      Math.max(0, next.due - performance.now()),
    );
  }

  /** Draws the newest picture whose time has come. */
  #show(): void {
    const now = performance.now() + 2;
    let newest: VideoFrame | undefined;
    while (this.#pictures[0] !== undefined && (!this.live || this.#pictures[0].due <= now)) {
      newest?.close();
      newest = this.#pictures.shift()?.frame;
      if (!this.live) break;
    }
    if (newest !== undefined) {
      this.#latest?.close();
      this.#latest = newest;
      this.#shownAt = newest.timestamp;
      this.#draw(newest);
      this.#latencySum += (epochMicros() - newest.timestamp) / 1000;
      this.#drawn += 1;
      this.#note(newest);
    }
    this.#schedulePicture();
  }

  #draw(frame: VideoFrame): void {
    const { displayWidth: width, displayHeight: height } = frame;
    for (const context of this.#canvases.values()) {
      const { canvas } = context;
      if (canvas.width !== width) canvas.width = width;
      if (canvas.height !== height) canvas.height = height;
      context.drawImage(frame, 0, 0, width, height);
    }
    if (this.#canvases.size > 0) this.#events.reached("drawn");
  }

  #note(frame: VideoFrame): void {
    const same =
      this.live && this.width === frame.displayWidth && this.height === frame.displayHeight;
    if (same) return;
    this.live = true;
    this.width = frame.displayWidth;
    this.height = frame.displayHeight;
    this.#events.changed();
  }

  counts(): StreamCounts {
    return {
      kind: "video",
      received: this.#received.count,
      lost: this.#lost,
      decodeErrors: this.#decodeErrors,
      behind: this.#behind,
      decoded: this.#decoded,
      jitterMs: null,
    };
  }

  stats(participantId: string, kind: "camera" | "screen"): IncomingVideoStats {
    return {
      streamId: this.streamId,
      participantId,
      kind,
      carrier: this.#carrier,
      frames: this.#received.count,
      bytes: this.#received.bytes,
      ...this.#received.rates(performance.now()),
      drawn: this.#drawn,
      width: this.width,
      height: this.height,
      encoding: this.#encoding ?? null,
      codec: this.#decodes ?? "",
      switches: this.#switches,
      lost: this.#lost,
      decodeErrors: this.#decodeErrors,
      keyframeRequests: this.#keyframeRequests,
      decryptFailures: this.decryptFailures,
      latencyMs: this.#drawn === 0 ? 0 : Math.round(this.#latencySum / this.#drawn),
    };
  }
}

function pick(header: {
  readonly frameType: FrameType;
  readonly timestamp: bigint;
  readonly extension: Extension;
}): Pick<Frame, "frameType" | "timestamp" | "extension"> {
  return { frameType: header.frameType, timestamp: header.timestamp, extension: header.extension };
}
