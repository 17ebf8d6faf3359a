// A camera or a shared screen: captured pictures are encoded while somebody
// watches. The newest picture is kept so that who begins to watch, or asks for
// a key frame, is served at once and not at the next picture.
import type { SourceKind, StreamId } from "@darktower/session";
import { RisingClock, epochMicros } from "../rules/clock";
import { bitrateFor, encodedSize, type Size } from "../rules/scale";
import { encoderScales } from "./encoder-scaling";
import type { Encryption } from "./encryption";
import { Outgoing } from "./outgoing";

interface Quality {
  readonly pixelsMax: number;
  readonly fps: number;
  readonly bitrate: number;
  readonly contentHint: "motion" | "detail";
}

export const VIDEO_QUALITY: Readonly<Record<"camera" | "screen", Quality>> = {
  camera: { pixelsMax: 640 * 360, fps: 30, bitrate: 1_000_000, contentHint: "motion" },
  screen: { pixelsMax: 1920 * 1080, fps: 15, bitrate: 2_500_000, contentHint: "detail" },
};

/** Pictures in the encoder at most; further ones are left out. */
const ENCODING_MAX = 3;
/** A picture older than this is shown again when a key frame is asked for. */
const STILL_MS = 60;
/**
 * A picture held longer than this is held as a copy. Chromium counts the
 * pictures of a camera that are open anywhere in the process, those of the page
 * before a reload too, and captures no more while too many are: the last one
 * must not be what it waits for.
 */
const HELD_MS = 100;
/** Encoder failures in a row after which it is not tried again. */
const FAILURES_MAX = 5;

export class VideoSender {
  readonly outgoing: Outgoing;
  size: Size = { width: 0, height: 0 };
  droppedFrames = 0;
  active = false;
  readonly #quality: Quality;
  readonly #clock = new RisingClock();
  #encoder: VideoEncoder | undefined;
  #last: VideoFrame | undefined;
  #lastAt = 0;
  #held: ReturnType<typeof setTimeout> | undefined;
  #encodedAt = 0;
  /** The encoder's configuration is the one that is wanted. */
  #configured = false;
  #needKey = true;
  /** A key frame is being encoded. */
  #keyInEncoder = false;
  #counter = 0;
  #failures = 0;
  #bitrateMax = 0;
  /** Kept with its context: Firefox gives one out only once. */
  #scaler: OffscreenCanvasRenderingContext2D | null = null;

  constructor(
    readonly kind: Extract<SourceKind, "camera" | "screen">,
    readonly streamId: StreamId,
    number: number,
    encryption: Encryption,
  ) {
    this.#quality = VIDEO_QUALITY[kind];
    this.outgoing = new Outgoing(
      { streamId, number, kind: "video", codec: "vp08", screen: kind === "screen" },
      encryption,
      () => {
        this.requestKey();
      },
    );
  }

  /** Takes a captured picture, which is the sender's from here on. */
  push(frame: VideoFrame): void {
    const now = performance.now();
    // Cameras are not exact: up to a fifth early is not too soon.
    const tooSoon = now - this.#encodedAt < 800 / this.#quality.fps;
    this.#last?.close();
    this.#last = frame;
    this.#lastAt = now;
    this.#held ??= setTimeout(() => {
      this.#release();
    }, HELD_MS);
    if (!this.active) {
      this.#prepare(frame);
      return;
    }
    if (tooSoon && !this.#needKey) return;
    this.#encode(frame);
  }

  /** Somebody watches, or nobody any more. */
  setActive(active: boolean, bitrateMax: number): void {
    if (bitrateMax !== this.#bitrateMax) {
      this.#bitrateMax = bitrateMax;
      this.#configured = false;
    }
    if (active === this.active) return;
    this.active = active;
    if (active) {
      this.#needKey = true;
      if (this.#last !== undefined) this.#encode(this.#last);
    } else {
      this.outgoing.pause();
    }
  }

  requestKey(): void {
    this.#needKey = true;
    const still = performance.now() - this.#lastAt > STILL_MS;
    if (this.active && still && this.#last !== undefined) this.#encode(this.#last);
  }

  /** Somebody came who can open nothing sealed before: they begin with a key frame. */
  beginEpoch(): void {
    // One that leaves the encoder from here on is sealed with the new keys.
    if (!this.#keyInEncoder) this.requestKey();
  }

  /** The source is off: its last picture must not be shown again. */
  forgetPicture(): void {
    clearTimeout(this.#held);
    this.#held = undefined;
    this.#last?.close();
    this.#last = undefined;
    this.#needKey = true;
  }

  close(): void {
    this.forgetPicture();
    this.active = false;
    this.outgoing.pause();
    if (this.#encoder?.state === "configured") this.#encoder.close();
    this.#encoder = undefined;
  }

  /** Has the encoder ready for this picture's size before anybody watches. */
  #prepare(frame: VideoFrame): VideoEncoder | undefined {
    const size = encodedSize(
      { width: frame.displayWidth, height: frame.displayHeight },
      this.#quality.pixelsMax,
    );
    const fits = size.width === this.size.width && size.height === this.size.height;
    if (this.#encoder?.state === "configured" && this.#configured && fits) return this.#encoder;
    if (this.#failures >= FAILURES_MAX) return undefined;
    if (this.#encoder?.state !== "configured") this.#encoder = this.#newEncoder();
    const ceiling = this.#bitrateMax === 0 ? this.#quality.bitrate : this.#bitrateMax;
    const config: VideoEncoderConfig & { contentHint?: string } = {
      codec: "vp8",
      width: size.width,
      height: size.height,
      framerate: this.#quality.fps,
      bitrate: bitrateFor(size, this.#quality.pixelsMax, Math.min(ceiling, this.#quality.bitrate)),
      latencyMode: "realtime",
      contentHint: this.#quality.contentHint,
    };
    this.#encoder.configure(config);
    this.#configured = true;
    this.size = size;
    this.#needKey = true;
    return this.#encoder;
  }

  /** Gives the captured picture back if no newer one came, and keeps a copy. */
  #release(): void {
    this.#held = undefined;
    const last = this.#last;
    if (last === undefined) return;
    const age = performance.now() - this.#lastAt;
    if (age < HELD_MS) {
      this.#held = setTimeout(() => {
        this.#release();
      }, HELD_MS - age);
      return;
    }
    try {
      this.#last = copyOf(last);
    } catch {
      // No memory for it: who comes now waits for the next picture.
      this.#last = undefined;
    }
    last.close();
  }

  #newEncoder(): VideoEncoder {
    return new VideoEncoder({
      output: (chunk) => {
        this.#failures = 0;
        this.#out(chunk);
      },
      error: () => {
        this.#failures += 1;
        this.#encoder = undefined;
        this.#keyInEncoder = false;
        this.#needKey = true;
      },
    });
  }

  #encode(frame: VideoFrame): void {
    const encoder = this.#prepare(frame);
    if (encoder === undefined || encoder.encodeQueueSize > ENCODING_MAX) {
      this.droppedFrames += 1;
      return;
    }
    let stamped: VideoFrame | undefined;
    try {
      stamped = this.#fit(frame, this.#clock.next(epochMicros()));
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

  /** The picture at the encoded size, where the encoder does not scale. */
  #fit(frame: VideoFrame, timestamp: number): VideoFrame {
    const { width, height } = this.size;
    const fits = frame.displayWidth === width && frame.displayHeight === height;
    if (fits || encoderScales()) {
      return new VideoFrame(frame, { timestamp });
    }
    this.#scaler ??= new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
    if (this.#scaler === null) return new VideoFrame(frame, { timestamp });
    const { canvas } = this.#scaler;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    this.#scaler.drawImage(frame, 0, 0, width, height);
    return new VideoFrame(canvas, { timestamp });
  }

  #out(chunk: EncodedVideoChunk): void {
    if (chunk.type === "key") this.#keyInEncoder = false;
    if (!this.active) return;
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    this.#counter = (this.#counter + 1) & 0xff;
    this.outgoing.send({
      frameType: chunk.type === "key" ? "key" : "delta",
      timestamp: chunk.timestamp,
      mark: this.#counter,
      payload,
    });
  }
}

/** The same picture in memory of its own. */
function copyOf(frame: VideoFrame): VideoFrame {
  const { displayWidth: width, displayHeight: height, timestamp } = frame;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false });
  if (context === null) throw new Error("no canvas");
  context.drawImage(frame, 0, 0, width, height);
  return new VideoFrame(canvas, { timestamp });
}
