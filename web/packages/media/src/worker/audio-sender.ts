// The microphone: blocks of 20 ms become Opus packets with their level while
// somebody listens and it is not muted.
import type { StreamId } from "@darktower/session";
import { AUDIO_BLOCK, AUDIO_RATE, type FromCapture } from "../audio-messages";
import { SampleClock, epochMicros } from "../rules/clock";
import { levelByte } from "../rules/level";
import type { Encryption } from "./encryption";
import { Outgoing } from "./outgoing";

export const AUDIO_BITRATE = 32_000;
const BLOCK_MICROS = 20_000;
/** Losses that Opus prepares for, in percent: it spends its bits on them. */
const LOSS_STEPS = [0, 5, 10, 20] as const;
/** Above so many lost in a million one copy leaves too much; below so many it is enough again. */
const TWICE_ABOVE_PPM = 40_000;
const ONCE_BELOW_PPM = 10_000;
/** Blocks in the encoder at most; it is normally done in a millisecond. */
const ENCODING_MAX = 25;

export class AudioSender {
  readonly kind = "microphone";
  readonly outgoing: Outgoing;
  droppedFrames = 0;
  active = false;
  readonly #clock = new SampleClock(BLOCK_MICROS);
  #lossPercent = 0;
  #encoder: AudioEncoder | undefined;
  /** What went in and has not come out: one packet a block, in order. */
  #inside: { readonly timestamp: number; readonly level: number }[] = [];

  constructor(
    readonly streamId: StreamId,
    number: number,
    encryption: Encryption,
  ) {
    this.outgoing = new Outgoing(
      { streamId, number, kind: "audio", codec: "opus", screen: false },
      encryption,
      () => undefined,
    );
    // So that the first packet does not wait for it.
    this.#prepare();
  }

  setActive(active: boolean): void {
    if (active === this.active) return;
    this.active = active;
    if (!active) {
      this.outgoing.pause();
      this.#reset();
    }
  }

  get outgoings(): Outgoing[] {
    return [this.outgoing];
  }

  /** How much of what is sent does not arrive, as a handler saw it. */
  setLoss(lostPpm: number, repeat: boolean): void {
    if (!repeat) this.outgoing.repeats = 0;
    else if (lostPpm > TWICE_ABOVE_PPM) this.outgoing.repeats = 2;
    else if (lostPpm < ONCE_BELOW_PPM || this.outgoing.repeats === 0) this.outgoing.repeats = 1;
    const percent = LOSS_STEPS.findLast((step) => lostPpm >= step * 10_000) ?? 0;
    if (percent === this.#lossPercent) return;
    this.#lossPercent = percent;
    if (this.#encoder?.state === "configured") this.#encoder.configure(this.#config());
  }

  push(samples: FromCapture): void {
    if (!this.active || samples.length !== AUDIO_BLOCK) return;
    const encoder = this.#prepare();
    if (this.#inside.length >= ENCODING_MAX) {
      this.droppedFrames += this.#inside.length;
      this.#reset();
      return;
    }
    const timestamp = this.#clock.next(epochMicros());
    this.#inside.push({ timestamp, level: levelByte(samples) });
    const data = new AudioData({
      format: "f32-planar",
      sampleRate: AUDIO_RATE,
      numberOfFrames: samples.length,
      numberOfChannels: 1,
      timestamp,
      data: samples,
    });
    encoder.encode(data);
    data.close();
  }

  close(): void {
    this.setActive(false);
    if (this.#encoder?.state === "configured") this.#encoder.close();
    this.#encoder = undefined;
  }

  #prepare(): AudioEncoder {
    if (this.#encoder?.state === "configured") return this.#encoder;
    this.#inside = [];
    this.#encoder = new AudioEncoder({
      output: (chunk) => {
        this.#out(chunk);
      },
      error: () => {
        this.#encoder = undefined;
      },
    });
    this.#encoder.configure(this.#config());
    return this.#encoder;
  }

  #config(): AudioEncoderConfig {
    return {
      codec: "opus",
      sampleRate: AUDIO_RATE,
      numberOfChannels: 1,
      bitrate: AUDIO_BITRATE,
      // Browsers that know nothing of in-band FEC ignore it. Without losses it
      // takes no bits.
      opus: {
        frameDuration: BLOCK_MICROS,
        useinbandfec: true,
        packetlossperc: this.#lossPercent,
      },
    };
  }

  #reset(): void {
    if (this.#encoder?.state === "configured") this.#encoder.close();
    this.#encoder = undefined;
    this.#inside = [];
  }

  #out(chunk: EncodedAudioChunk): void {
    const block = this.#inside.shift();
    if (block === undefined || !this.active) return;
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    this.outgoing.send({
      frameType: "audio",
      timestamp: block.timestamp,
      mark: block.level,
      payload,
    });
  }
}
