// One incoming video: frames in whatever order become pictures on a canvas. A
// missing base-layer frame stops decoding until a key frame, which is asked for.
import {
  BaseLayer,
  Deduplicator,
  type Extension,
  type FrameHeader,
  type FrameType,
  type StreamHeader,
  type WholeFrame,
} from "@darktower/protocol";
import type { CarrierName, IncomingVideoStats, StreamId } from "@darktower/session";
import { epochMicros } from "../rules/clock";
import { GroupOrder } from "../rules/group-order";
import type { StreamCounts } from "../rules/health";
import { Pacer } from "../rules/pacer";
import { RateMeter } from "../rules/rate";
import { SequenceOrder } from "../rules/sequence-order";
import type { GroupSink } from "./carrier/types";
import { takeVideoDecoder, type VideoOutput } from "./video-decoders";

/** Frames in the decoder at most; then it is too slow, and begins anew. */
const DECODING_MAX = 20;
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
}

export class VideoSink implements VideoOutput {
  readonly type = "video";
  live = false;
  decryptFailures = 0;
  width = 0;
  height = 0;
  readonly #events: VideoSinkEvents;
  readonly #groups = new GroupOrder<Frame>();
  readonly #sequence = new SequenceOrder<Frame>(REORDER_MS);
  readonly #base = new BaseLayer();
  readonly #seen = new Deduplicator();
  readonly #pacer = new Pacer();
  readonly #received = new RateMeter();
  #carrier: CarrierName | "none" = "none";
  #decoder: VideoDecoder | undefined;
  #decodes: string | undefined;
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
    if (!this.#groups.open(header.group)) return undefined;
    this.#carrier = "stream";
    return {
      frame: (frame, payload) => {
        this.#fromStream(header, frame, payload);
      },
      end: () => {
        this.#decodeAll(this.#groups.end(header.group, performance.now()));
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
    const last = header.sequence;
    for (const { item, missing } of this.#sequence.push(first, last, frame, performance.now())) {
      this.#lost += missing > 0 ? 1 : 0;
      this.#decode(item);
    }
  }

  /** A frame could not be opened: what follows can't be decoded either. */
  unopened(counts: boolean): void {
    if (!counts) return;
    this.decryptFailures += 1;
    this.#base.reset();
    this.#askForKey(0);
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

  #fromStream(stream: StreamHeader, header: FrameHeader, payload: Uint8Array): void {
    const now = performance.now();
    this.#received.add(payload.length, now);
    const frame: Frame = { ...pick(header), codec: stream.codec, payload };
    this.#decodeAll(this.#groups.push(stream.group, frame, now));
    this.#scheduleOrder();
  }

  /** A newer group that waits takes over even if nothing else arrives. */
  #scheduleOrder(): void {
    clearTimeout(this.#orderTimer);
    const due = this.#groups.due;
    if (due === undefined) return;
    this.#orderTimer = setTimeout(
      () => {
        this.#decodeAll(this.#groups.poll(performance.now()));
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
    if (!this.#seen.isNew(frame.timestamp)) return;
    const verdict = this.#base.accept(frame.frameType, frame.extension);
    if (verdict === "late") return;
    if (verdict !== "decodable") {
      if (verdict === "gap") this.#lost += 1;
      this.#askForKey(frame.extension.encoding);
      return;
    }
    const decoder = this.#decoderFor(frame.codec);
    if (decoder === undefined || decoder.decodeQueueSize > DECODING_MAX) {
      if (decoder !== undefined) this.#behind += 1;
      this.#base.reset();
      this.#askForKey(frame.extension.encoding);
      return;
    }
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
    this.#askForKey(0);
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
