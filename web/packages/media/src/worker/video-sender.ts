// A camera or a shared screen: captured pictures are encoded, in each size that
// somebody watches, while somebody does. The newest picture is kept so that who
// begins to watch, or asks for a key frame, is served at once and not at the next
// picture.
import type { OutgoingStats, SourceKind, StreamId } from "@darktower/session";
import { RisingClock, epochMicros } from "../rules/clock";
import { cameraPixelsMax, planEncodings, type SourceQuality } from "../rules/encodings";
import type { Size } from "../rules/scale";
import type { Encryption } from "./encryption";
import type { Outgoing } from "./outgoing";
import { VideoEncoding, type EncodingOptions } from "./video-encoding";

interface Quality extends SourceQuality {
  readonly fps: number;
  readonly contentHint: "motion" | "detail";
  readonly layered: boolean;
}

export const VIDEO_QUALITY: Readonly<Record<"camera" | "screen", Quality>> = {
  camera: {
    pixelsMax: cameraPixelsMax(navigator.hardwareConcurrency),
    bitrate: 1_500_000,
    encodingsMax: 3,
    fps: 30,
    contentHint: "motion",
    layered: true,
  },
  screen: {
    pixelsMax: 1920 * 1080,
    bitrate: 2_500_000,
    encodingsMax: 1,
    fps: 15,
    contentHint: "detail",
    layered: false,
  },
};

/** A picture older than this is shown again when a key frame is asked for. */
const STILL_MS = 15;
/**
 * A picture held longer than this is held as a copy. Chromium counts the
 * pictures of a camera that are open anywhere in the process, those of the page
 * before a reload too, and captures no more while too many are: the last one
 * must not be what it waits for.
 */
const HELD_MS = 100;

export class VideoSender {
  /** Smallest first: the place is the number. */
  readonly encodings: readonly VideoEncoding[];
  readonly #quality: Quality;
  readonly #clock = new RisingClock();
  #captured: Size = { width: 0, height: 0 };
  #last: VideoFrame | undefined;
  #lastAt = 0;
  #held: ReturnType<typeof setTimeout> | undefined;

  /** `onFailed`: this browser can't encode so much. */
  constructor(
    readonly kind: Extract<SourceKind, "camera" | "screen">,
    readonly streamId: StreamId,
    number: number,
    encodings: number,
    encryption: Encryption,
    onFailed: () => void,
  ) {
    const quality = VIDEO_QUALITY[kind];
    this.#quality = quality;
    const { fps, contentHint, layered } = quality;
    const source = { streamId, number, screen: kind === "screen", fps, contentHint, layered };
    this.encodings = Array.from({ length: encodings }, (_, encoding) => {
      const late = (): void => {
        this.requestKey(encoding);
      };
      return new VideoEncoding(source, encoding, encryption, late, onFailed);
    });
  }

  get outgoings(): Outgoing[] {
    return this.encodings.map((one) => one.outgoing);
  }

  /** Somebody receives one of its encodings. */
  get active(): boolean {
    return this.encodings.some((one) => one.active);
  }

  /** Of the largest encoding that somebody receives, else of the largest. */
  get size(): Size {
    const shown = this.encodings.findLast((one) => one.active) ?? this.encodings.at(-1);
    return shown?.size ?? { width: 0, height: 0 };
  }

  get droppedFrames(): number {
    return this.encodings.reduce((all, one) => all + one.droppedFrames, 0);
  }

  /** Takes a captured picture, which is the sender's from here on. */
  push(picture: VideoFrame): void {
    const now = performance.now();
    this.#last?.close();
    this.#last = picture;
    this.#lastAt = now;
    this.#held ??= setTimeout(() => {
      this.#release();
    }, HELD_MS);
    this.#plan({ width: picture.displayWidth, height: picture.displayHeight });
    if (!this.active) {
      // So that nobody waits for it who comes to watch. One at a time: a join has
      // other things to do.
      this.encodings.find((encoding) => !encoding.prepared)?.prepare();
      return;
    }
    const wanted = this.encodings.filter((encoding) => encoding.wants(now));
    if (wanted.length > 0) this.#encode(picture, wanted);
  }

  /** By the number of the encoding; of what is not named nothing is sent. */
  obey(orders: ReadonlyMap<number, EncodingOptions>): void {
    const begun = this.encodings.filter((encoding, number) => {
      const order = orders.get(number);
      if (order === undefined) return encoding.set({ ...IDLE, codec: encoding.codec });
      return encoding.set(order);
    });
    if (begun.length > 0 && this.#last !== undefined) this.#encode(this.#last, begun);
  }

  /** Of one encoding, or of all. */
  requestKey(number?: number): void {
    const asked = this.encodings.filter(
      ({ encoding, active }) => active && (number === undefined || encoding === number),
    );
    for (const encoding of asked) encoding.requestKey();
    const still = performance.now() - this.#lastAt > STILL_MS;
    if (still && asked.length > 0 && this.#last !== undefined) this.#encode(this.#last, asked);
  }

  /** Somebody came who can open nothing sealed before: they begin with a key frame. */
  beginEpoch(): void {
    for (const { encoding, active, keyInEncoder } of this.encodings) {
      // One that leaves the encoder from here on is sealed with the new keys.
      if (active && !keyInEncoder) this.requestKey(encoding);
    }
  }

  /** The source is off: its last picture must not be shown again. */
  forgetPicture(): void {
    clearTimeout(this.#held);
    this.#held = undefined;
    this.#last?.close();
    this.#last = undefined;
    for (const encoding of this.encodings) encoding.requestKey();
  }

  close(): void {
    this.forgetPicture();
    for (const encoding of this.encodings) encoding.close();
  }

  encodingStats(): OutgoingStats["encodings"] {
    return this.encodings.map(({ encoding, active, codec, size, bitrate, outgoing }) => ({
      encoding,
      active,
      codec,
      width: size.width,
      height: size.height,
      bitrate,
      frames: outgoing.sent.count,
      keyFrames: outgoing.keyFrames,
      ...outgoing.sent.rates(performance.now()),
    }));
  }

  #plan(captured: Size): void {
    const { width, height } = this.#captured;
    if (captured.width === width && captured.height === height) return;
    this.#captured = captured;
    const plans = planEncodings(captured, this.#quality, this.encodings.length);
    for (const [number, plan] of plans.entries()) this.encodings[number]?.setPlan(plan);
  }

  /** All with one timestamp: a receiver goes from one to the other by it. */
  #encode(picture: VideoFrame, encodings: readonly VideoEncoding[]): void {
    const timestamp = this.#clock.next(epochMicros());
    for (const encoding of encodings) encoding.encode(picture, timestamp);
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
}

const IDLE = { active: false, bitrateMax: 0 } as const;

/** The same picture in memory of its own. */
function copyOf(frame: VideoFrame): VideoFrame {
  const { displayWidth: width, displayHeight: height, timestamp } = frame;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false });
  if (context === null) throw new Error("no canvas");
  context.drawImage(frame, 0, 0, width, height);
  return new VideoFrame(canvas, { timestamp });
}
