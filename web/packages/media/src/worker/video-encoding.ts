// One encoding of a picture: an encoder of its own size, that runs while somebody
// receives it, and its way out. Told what to encode by the sender that has the
// pictures.
import type { StreamId } from "@darktower/session";
import type { EncodingPlan } from "../rules/encodings";
import {
  CODEC_STRINGS,
  TEMPORAL_MODE,
  encoderScales,
  encodesLayers,
  type VideoCodec,
} from "./encoder-support";
import type { Encryption } from "./encryption";
import { Outgoing } from "./outgoing";

/** Pictures in the encoder at most; further ones are left out. */
const ENCODING_MAX = 3;
/** Encoder failures in a row after which it is not tried again. */
const FAILURES_MAX = 5;

export interface EncodingSource {
  readonly streamId: StreamId;
  readonly number: number;
  readonly screen: boolean;
  readonly fps: number;
  readonly contentHint: "motion" | "detail";
  /** Whether what is built upon by nothing may be told apart. */
  readonly layered: boolean;
}

export interface EncodingOptions {
  readonly active: boolean;
  /** Bits per second at most, 0: as planned. */
  readonly bitrateMax: number;
  readonly codec: VideoCodec;
}

/** What can't change without a key frame. */
interface Encoded {
  readonly width: number;
  readonly height: number;
  readonly codec: VideoCodec;
  readonly layers: boolean;
}

export class VideoEncoding {
  readonly outgoing: Outgoing;
  active = false;
  droppedFrames = 0;
  codec: VideoCodec = "vp08";
  readonly #source: EncodingSource;
  readonly #onFailed: () => void;
  #plan: EncodingPlan | undefined;
  #bitrateMax = 0;
  #encoder: VideoEncoder | undefined;
  /** The encoder's configuration is the one that is wanted. */
  #configured = false;
  #encodes: Encoded | undefined;
  #needKey = true;
  /** A key frame is being encoded. */
  #keyInEncoder = false;
  #encodedAt = Number.NEGATIVE_INFINITY;
  #counter = 0;
  #failures = 0;
  /** Kept with its context: Firefox gives one out only once. */
  #scaler: OffscreenCanvasRenderingContext2D | null = null;

  /** `onLate`: a key frame is wanted soon; `onFailed`: it can't be encoded at all. */
  constructor(
    source: EncodingSource,
    readonly encoding: number,
    encryption: Encryption,
    onLate: () => void,
    onFailed: () => void,
  ) {
    this.#source = source;
    this.#onFailed = onFailed;
    const { streamId, number, screen } = source;
    this.outgoing = new Outgoing(
      { streamId, number, kind: "video", codec: "vp08", screen, encoding },
      encryption,
      onLate,
    );
  }

  get size(): { readonly width: number; readonly height: number } {
    return this.#plan ?? { width: 0, height: 0 };
  }

  /** What the encoder is to keep to. */
  get bitrate(): number {
    const planned = this.#plan?.bitrate ?? 0;
    return this.#bitrateMax === 0 ? planned : Math.min(this.#bitrateMax, planned);
  }

  /** A key frame comes next, or is on its way already. */
  get keyInEncoder(): boolean {
    return this.#keyInEncoder;
  }

  setPlan(plan: EncodingPlan): void {
    const before = this.#plan;
    this.#plan = plan;
    const same =
      before?.width === plan.width &&
      before.height === plan.height &&
      before.bitrate === plan.bitrate;
    if (!same) this.#configured = false;
  }

  /** True: it begins to be received, with a key frame that is to be encoded now. */
  set({ active, bitrateMax, codec }: EncodingOptions): boolean {
    if (bitrateMax !== this.#bitrateMax || codec !== this.codec) this.#configured = false;
    // Another codec goes on with a key frame, a bitrate by itself.
    if (codec !== this.codec) this.#needKey = true;
    this.#bitrateMax = bitrateMax;
    this.codec = codec;
    if (active === this.active) return false;
    this.active = active;
    if (active) this.#needKey = true;
    else this.outgoing.pause();
    return active;
  }

  requestKey(): void {
    this.#needKey = true;
  }

  /** Whether a picture of this moment is to be encoded. */
  wants(nowMs: number): boolean {
    // Cameras are not exact: up to a fifth early is not too soon.
    return this.active && (this.#needKey || nowMs - this.#encodedAt >= 800 / this.#source.fps);
  }

  /** `timestamp`: microseconds since the Unix epoch, rising. */
  encode(picture: VideoFrame, timestamp: number): void {
    const encoder = this.prepare();
    if (encoder === undefined || encoder.encodeQueueSize > ENCODING_MAX) {
      this.droppedFrames += 1;
      return;
    }
    let stamped: VideoFrame | undefined;
    try {
      stamped = this.#fit(picture, timestamp);
      encoder.encode(stamped, { keyFrame: this.#needKey });
      this.#keyInEncoder ||= this.#needKey;
      this.#needKey = false;
      this.#encodedAt = performance.now();
    } catch {
      // Encoder or picture were closed under our hands, by an error that is
      // reported by itself; the next picture finds a new encoder.
      this.droppedFrames += 1;
    } finally {
      stamped?.close();
    }
  }

  /** There is an encoder, or there can be none. */
  get prepared(): boolean {
    const ready = this.#encoder?.state === "configured" && this.#configured;
    return ready || this.#failures >= FAILURES_MAX;
  }

  /** Has the encoder ready; undefined where there can be none. */
  prepare(): VideoEncoder | undefined {
    const plan = this.#plan;
    if (plan === undefined || this.#failures >= FAILURES_MAX) return undefined;
    const layers = this.#source.layered && encodesLayers(this.codec);
    const wanted = { width: plan.width, height: plan.height, codec: this.codec, layers };
    const goesOn = this.#encoder?.state === "configured" && same(wanted, this.#encodes);
    if (goesOn && this.#configured) return this.#encoder;
    if (this.#encoder?.state !== "configured") this.#encoder = this.#newEncoder();
    this.#encoder.configure(this.#config(wanted));
    this.#configured = true;
    this.#encodes = wanted;
    if (!goesOn) this.#needKey = true;
    return this.#encoder;
  }

  close(): void {
    this.active = false;
    this.outgoing.pause();
    if (this.#encoder?.state === "configured") this.#encoder.close();
    this.#encoder = undefined;
    this.#configured = false;
  }

  #config({ width, height, codec, layers }: Encoded): VideoEncoderConfig {
    const { fps, contentHint } = this.#source;
    return {
      codec: CODEC_STRINGS[codec],
      width,
      height,
      framerate: fps,
      bitrate: this.bitrate,
      latencyMode: "realtime",
      contentHint,
      ...(layers ? { scalabilityMode: TEMPORAL_MODE } : {}),
      ...(codec === "avc1" ? { avc: { format: "annexb" } } : {}),
    };
  }

  #newEncoder(): VideoEncoder {
    return new VideoEncoder({
      output: (chunk, metadata) => {
        this.#failures = 0;
        this.#out(chunk, metadata?.svc?.temporalLayerId ?? 0);
      },
      error: () => {
        this.#failures += 1;
        this.#encoder = undefined;
        this.#configured = false;
        this.#keyInEncoder = false;
        this.#needKey = true;
        if (this.#failures === FAILURES_MAX) this.#onFailed();
      },
    });
  }

  /** The picture at the encoded size, where the encoder does not scale. */
  #fit(picture: VideoFrame, timestamp: number): VideoFrame {
    const { width, height } = this.size;
    const fits = picture.displayWidth === width && picture.displayHeight === height;
    if (fits || encoderScales()) return new VideoFrame(picture, { timestamp });
    this.#scaler ??= new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
    if (this.#scaler === null) return new VideoFrame(picture, { timestamp });
    const { canvas } = this.#scaler;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    this.#scaler.drawImage(picture, 0, 0, width, height);
    return new VideoFrame(canvas, { timestamp });
  }

  #out(chunk: EncodedVideoChunk, temporalLayer: number): void {
    const key = chunk.type === "key";
    if (key) this.#keyInEncoder = false;
    if (!this.active) return;
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    if (temporalLayer === 0) this.#counter = (this.#counter + 1) & 0xff;
    this.outgoing.send({
      frameType: key ? "key" : "delta",
      timestamp: chunk.timestamp,
      mark: this.#counter,
      temporalLayer,
      codec: this.codec,
      payload,
    });
  }
}

function same(a: Encoded, b: Encoded | undefined): boolean {
  return (
    a.width === b?.width && a.height === b.height && a.codec === b.codec && a.layers === b.layers
  );
}
