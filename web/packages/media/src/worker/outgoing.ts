// One encoding on its way out: encoded frames are sealed where the meeting is
// encrypted, and become datagrams or groups on streams, towards each handler that
// the directive names. Sealing takes its time: the order is kept meanwhile.
import {
  FRAME_HEADER_BYTES,
  Fragmenter,
  writeFrameHeader,
  type FourCc,
  type FrameType,
  type MediaKind,
  type StreamHeader,
} from "@darktower/protocol";
import type { CarrierName, StreamId } from "@darktower/session";
import { RateMeter } from "../rules/rate";
import type { GroupStream } from "./carrier/types";
import type { Encryption } from "./encryption";
import { GroupWriter } from "./group-writer";

/** Where media goes: a session with a handler. */
export interface MediaPath {
  readonly ready: boolean;
  /** Bytes of a whole datagram that may be sent. */
  readonly datagramBytes: number;
  sendDatagram(datagram: Uint8Array): void;
  /** Begins a group; higher `sendOrder` goes first where the carrier can. */
  openGroup(header: StreamHeader, sendOrder: number): Promise<GroupStream>;
}

export interface EncodedFrame {
  readonly frameType: FrameType;
  /** Microseconds since the Unix epoch. */
  readonly timestamp: number;
  /** Audio level or base-layer counter. */
  readonly mark: number;
  /** Of video: 0 for what others build on. */
  readonly temporalLayer?: number;
  /** With a key frame, where it is not what the stream was published with. */
  readonly codec?: FourCc;
  readonly payload: Uint8Array<ArrayBuffer>;
}

export interface OutgoingStream {
  readonly streamId: StreamId;
  readonly number: number;
  readonly kind: MediaKind;
  readonly codec: FourCc;
  readonly screen: boolean;
  /** Of a camera: 0 is the smallest. */
  readonly encoding?: number;
}

/** Frames in sealing at most; further ones are given up. */
const SEALING_MAX = 64;
/** Audio goes before any video, smaller encodings before larger, newer groups before older. */
const AUDIO_ORDER = 2 ** 40;
const ENCODINGS = 16;

export class Outgoing {
  readonly sent = new RateMeter();
  keyFrames = 0;
  droppedGroups = 0;
  /** Frames given up because sealing was behind or came to nothing. */
  unsealed = 0;
  carrier: CarrierName;
  /** Each frame's datagrams go out again behind those of so many that follow. */
  repeats = 0;
  /** Of the group that goes out. */
  codec: FourCc;
  readonly encoding: number;
  readonly #stream: OutgoingStream;
  readonly #encryption: Encryption;
  readonly #onLate: () => void;
  #links: readonly MediaPath[] = [];
  #fragmenter: Fragmenter | undefined;
  /** Datagrams of the frames before, newest first. */
  #before: readonly (readonly Uint8Array[])[] = [];
  readonly #writers = new Map<MediaPath, GroupWriter>();
  #group = 0;
  #sequence = 0n;
  /** Done when all that was sent before is done. */
  #turn: Promise<void> = Promise.resolve();
  #sealing = 0;

  /** `onLate`: a group was given up, the next must begin with a key frame. */
  constructor(stream: OutgoingStream, encryption: Encryption, onLate: () => void) {
    this.#stream = stream;
    this.#encryption = encryption;
    this.#onLate = onLate;
    this.codec = stream.codec;
    this.encoding = stream.encoding ?? 0;
    this.carrier = stream.kind === "audio" ? "datagram" : "stream";
  }

  /** The ways that it takes. All get the same, to the byte. */
  get links(): readonly MediaPath[] {
    return this.#links;
  }

  set links(links: readonly MediaPath[]) {
    this.#links = links;
    for (const [link, writer] of this.#writers) {
      if (links.includes(link)) continue;
      writer.finish();
      this.#writers.delete(link);
    }
  }

  /** The sender's number in this meeting; a new one begins counting anew. */
  set userId(userId: bigint) {
    this.#fragmenter = new Fragmenter(userId, this.#stream.number, this.encoding);
  }

  send(frame: EncodedFrame): void {
    if (!this.links.some((link) => link.ready)) return;
    if (this.#encryption.required) this.#seal(frame);
    else this.#put(frame);
  }

  /** Nothing is sent for a while: ends open groups, behind what is being sealed. */
  pause(): void {
    if (this.#sealing === 0) this.#endGroups();
    else this.#turn = this.#turn.then(() => this.#endGroups());
  }

  #seal(frame: EncodedFrame): void {
    if (this.#sealing >= SEALING_MAX) {
      this.#giveUp();
      return;
    }
    this.#sealing += 1;
    // Begun at once: epoch and counter are those of this moment.
    const sealed = this.#encryption.seal(
      this.#stream.number,
      {
        frameType: frame.frameType,
        streamId: this.#stream.streamId,
        timestamp: BigInt(frame.timestamp),
        extension: { encoding: this.encoding, temporalLayer: frame.temporalLayer ?? 0 },
        discardable: isDiscardable(frame),
      },
      frame.payload,
    );
    // The turn before may last longer than a failure of this one.
    sealed.catch(() => undefined);
    this.#turn = this.#turn.then(async () => {
      try {
        this.#put({ ...frame, payload: await sealed });
      } catch {
        this.#giveUp();
      } finally {
        this.#sealing -= 1;
      }
    });
  }

  #giveUp(): void {
    this.unsealed += 1;
    this.#onLate();
  }

  #put(frame: EncodedFrame): void {
    const links = this.links.filter((link) => link.ready);
    if (links.length === 0) return;
    if (frame.frameType === "key") {
      this.keyFrames += 1;
      this.codec = frame.codec ?? this.#stream.codec;
      this.#group = (this.#group + 1) >>> 0;
    }
    this.sent.add(frame.payload.length, performance.now());
    if (this.carrier === "datagram") this.#sendDatagrams(frame, links);
    else this.#sendOnStreams(frame, links);
  }

  #endGroups(): void {
    for (const writer of this.#writers.values()) writer.finish();
    this.#writers.clear();
  }

  #sendDatagrams(frame: EncodedFrame, links: readonly MediaPath[]): void {
    const limit = Math.min(...links.map((link) => link.datagramBytes));
    const datagrams = this.#fragmenter?.cut(
      {
        frameType: frame.frameType,
        timestamp: BigInt(frame.timestamp),
        discardable: isDiscardable(frame),
        temporalLayer: frame.temporalLayer ?? 0,
        mark: frame.mark,
        group: this.#group,
        payload: frame.payload,
      },
      limit,
    );
    if (datagrams === undefined) return;
    const before = this.#before.slice(0, this.repeats);
    for (const datagram of [datagrams, ...before].flat()) {
      for (const link of links) link.sendDatagram(datagram);
    }
    this.#before = [datagrams, ...before].slice(0, this.repeats);
  }

  #sendOnStreams(frame: EncodedFrame, links: readonly MediaPath[]): void {
    const bytes = new Uint8Array(FRAME_HEADER_BYTES + frame.payload.length);
    writeFrameHeader(
      {
        frameType: frame.frameType,
        streamId: this.#stream.streamId,
        timestamp: BigInt(frame.timestamp),
        sequence: this.#sequence++,
        payloadBytes: frame.payload.length,
        flags: { start: true, end: true, discardable: isDiscardable(frame) },
        extension: {
          encoding: this.encoding,
          temporalLayer: frame.temporalLayer ?? 0,
          mark: frame.mark,
          fragment: 0,
          group: this.#group,
        },
      },
      bytes,
    );
    bytes.set(frame.payload, FRAME_HEADER_BYTES);
    for (const link of links) this.#write(link, frame.frameType, bytes);
  }

  #write(link: MediaPath, frameType: FrameType, bytes: Uint8Array): void {
    let writer = this.#writers.get(link);
    if (frameType === "key" || (frameType === "audio" && writer === undefined)) {
      writer?.finish();
      writer = new GroupWriter(link, this.#sendOrder(), this.#streamHeader());
      this.#writers.set(link, writer);
    }
    if (writer === undefined || writer.push(bytes)) return;
    writer.abort();
    this.#writers.delete(link);
    this.droppedGroups += 1;
    this.#onLate();
  }

  #sendOrder(): number {
    if (this.#stream.kind === "audio") return AUDIO_ORDER;
    return (ENCODINGS - this.encoding) * 2 ** 32 + this.#group;
  }

  #streamHeader(): StreamHeader {
    const { kind, streamId, screen } = this.#stream;
    const { codec, encoding } = this;
    return { kind, streamId, codec, screen, encoding, group: this.#group };
  }
}

/** Nothing is built on what is above the base layer. */
function isDiscardable({ temporalLayer = 0 }: EncodedFrame): boolean {
  return temporalLayer > 0;
}
