// One incoming sound: packets in whatever order are decoded and handed to the
// jitter buffer of the audio thread, which plays, stretches and conceals.
import {
  Deduplicator,
  type Extension,
  type FrameHeader,
  type StreamHeader,
  type WholeFrame,
} from "@darktower/protocol";
import type { IncomingAudioStats, StreamId } from "@darktower/session";
import { AUDIO_BLOCK, AUDIO_RATE, type ToPlayout } from "../audio-messages";
import type { StreamCounts } from "../rules/health";
import { Jitter } from "../rules/jitter";
import type { PlayoutStats } from "../rules/playout-buffer";
import { RateMeter } from "../rules/rate";
import { SequenceOrder } from "../rules/sequence-order";
import type { GroupSink } from "./carrier/types";

/** A packet is waited for so long when later ones are there. */
const REORDER_MS = 30;
/** Lost packets that are made up for; a longer hole is a pause. */
const CONCEALED_MAX = 6;
const DECODING_MAX = 50;

interface Packet {
  readonly timestamp: bigint;
  readonly extension: Extension;
  readonly payload: Uint8Array;
}

export class AudioSink {
  readonly type = "audio";
  live = false;
  decryptFailures = 0;
  playout: PlayoutStats | undefined;
  readonly #order = new SequenceOrder<Packet>(REORDER_MS);
  readonly #seen = new Deduplicator();
  readonly #received = new RateMeter();
  readonly #jitter = new Jitter();
  readonly #post: (message: ToPlayout, transfer: Transferable[]) => void;
  readonly #onLive: () => void;
  #decoder: AudioDecoder | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lost = 0;
  #decodeErrors = 0;
  #behind = 0;
  #decoded = 0;

  /** `source` is the number by which the audio thread knows it. */
  constructor(
    readonly streamId: StreamId,
    readonly source: number,
    post: (message: ToPlayout, transfer: Transferable[]) => void,
    onLive: () => void,
  ) {
    this.#post = post;
    this.#onLive = onLive;
  }

  group(_header: StreamHeader): GroupSink {
    return {
      frame: (frame: FrameHeader, payload) => {
        this.#take(frame.sequence, frame.sequence, { ...frame, payload });
      },
      end: () => undefined,
    };
  }

  datagram(whole: WholeFrame): void {
    const { header, payload } = whole;
    const first = header.sequence - BigInt(header.extension.fragment);
    this.#take(first, header.sequence, { ...header, payload });
  }

  unopened(counts: boolean): void {
    if (counts) this.decryptFailures += 1;
  }

  stop(): void {
    this.live = false;
  }

  close(): void {
    clearTimeout(this.#timer);
    if (this.#decoder?.state === "configured") this.#decoder.close();
    this.#decoder = undefined;
    this.#post({ type: "remove", source: this.source }, []);
  }

  #take(first: bigint, last: bigint, packet: Packet): void {
    if (!this.#seen.isNew(packet.timestamp)) return;
    const now = performance.now();
    this.#received.add(packet.payload.length, now);
    this.#jitter.add(Number(packet.timestamp) / 1000, now);
    this.#decodeAll(this.#order.push(first, last, packet, now));
    clearTimeout(this.#timer);
    const due = this.#order.due;
    if (due === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#decodeAll(this.#order.poll(performance.now()));
      },
      Math.max(0, due - now),
    );
  }

  #decodeAll(packets: readonly { item: Packet; missing: number }[]): void {
    for (const { item, missing } of packets) {
      if (missing > 0) {
        this.#lost += missing;
        if (missing <= CONCEALED_MAX) {
          this.#post({ type: "gap", source: this.source, samples: missing * AUDIO_BLOCK }, []);
        }
      }
      this.#decode(item);
    }
  }

  #decode(packet: Packet): void {
    const decoder = this.#prepared();
    if (decoder.decodeQueueSize > DECODING_MAX) {
      this.#lost += 1;
      this.#behind += 1;
      return;
    }
    try {
      decoder.decode(
        new EncodedAudioChunk({
          type: "key",
          timestamp: Number(packet.timestamp),
          data: packet.payload,
        }),
      );
    } catch {
      this.#decodeErrors += 1;
      this.#decoder = undefined;
    }
  }

  #prepared(): AudioDecoder {
    if (this.#decoder?.state === "configured") return this.#decoder;
    this.#decoder = new AudioDecoder({
      output: (data) => {
        this.#out(data);
      },
      error: () => {
        this.#decodeErrors += 1;
        this.#decoder = undefined;
      },
    });
    this.#decoder.configure({ codec: "opus", sampleRate: AUDIO_RATE, numberOfChannels: 1 });
    return this.#decoder;
  }

  #out(data: AudioData): void {
    this.#decoded += 1;
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    data.close();
    this.#post({ type: "pcm", source: this.source, samples }, [samples.buffer]);
    if (this.live) return;
    this.live = true;
    this.#onLive();
  }

  counts(): StreamCounts {
    return {
      kind: "audio",
      received: this.#received.count,
      lost: this.#lost,
      decodeErrors: this.#decodeErrors,
      behind: this.#behind,
      decoded: this.#decoded,
      jitterMs: this.#jitter.value,
    };
  }

  stats(participantId: string): IncomingAudioStats {
    const playout = this.playout ?? SILENT;
    return {
      streamId: this.streamId,
      participantId,
      packets: this.#received.count,
      bytes: this.#received.bytes,
      kbps: this.#received.rates(performance.now()).kbps,
      lost: this.#lost,
      decodeErrors: this.#decodeErrors,
      decryptFailures: this.decryptFailures,
      ...playout,
    };
  }
}

const SILENT: PlayoutStats = {
  peak: 0,
  peakMax: 0,
  onsets: 0,
  bufferMs: 0,
  targetMs: 0,
  playedMs: 0,
  concealedMs: 0,
  underruns: 0,
};
