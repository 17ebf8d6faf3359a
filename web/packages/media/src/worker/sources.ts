// What this participant sends: a sender for the microphone, the camera and the
// screen, each announced by signaling and kept to what the directive says.
import {
  streamId,
  type EncodingOrder,
  type HandlerId,
  type Signaling,
  type SourceKind,
  type StreamId,
} from "@darktower/session";
import type { SourceInfo, VideoKind } from "../messages";
import { encodingCount, planEncodings } from "../rules/encodings";
import { AUDIO_BITRATE, AudioSender } from "./audio-sender";
import { isVideoCodec } from "./encoder-support";
import type { Encryption } from "./encryption";
import type { Arrival } from "./handler-link";
import type { MediaPath, Outgoing } from "./outgoing";
import type { EncodingOptions } from "./video-encoding";
import { VIDEO_QUALITY, VideoSender } from "./video-sender";

export type Sender = AudioSender | VideoSender;

/** Of a source that does not say how large it is. */
const SIZE_AT_FIRST = { width: 640, height: 360 };
const NUMBER_MAX = 255;

export interface Handler extends MediaPath {
  readonly id: HandlerId;
}

/** Where media can go. */
export interface Paths {
  readonly all: readonly Handler[];
  readonly home: Handler | undefined;
}

export class Sources {
  readonly senders = new Map<SourceKind, Sender>();
  readonly #signaling: Signaling;
  readonly #encryption: Encryption;
  readonly #paths: Paths;
  readonly #pump: () => void;
  #userId: bigint | undefined;
  #directive: readonly EncodingOrder[] = [];
  #nextNumber = 1;
  /** Of a camera. Fewer when this browser turned out not to encode so many. */
  #encodingsMax = VIDEO_QUALITY.camera.encodingsMax;

  /** `pump`: something is to be said by signaling. */
  constructor(signaling: Signaling, encryption: Encryption, paths: Paths, pump: () => void) {
    this.#signaling = signaling;
    this.#encryption = encryption;
    this.#paths = paths;
    this.#pump = pump;
  }

  get microphone(): AudioSender | undefined {
    const sender = this.senders.get("microphone");
    return sender instanceof AudioSender ? sender : undefined;
  }

  video(kind: VideoKind): VideoSender | undefined {
    const sender = this.senders.get(kind);
    return sender instanceof VideoSender ? sender : undefined;
  }

  get videos(): VideoSender[] {
    return [...this.senders.values()].filter((sender) => sender instanceof VideoSender);
  }

  isMuted(id: StreamId): boolean {
    return this.#signaling.publications.get(id)?.muted ?? true;
  }

  publish(kind: SourceKind, info: SourceInfo): void {
    if (this.senders.has(kind)) return;
    if (kind === "microphone") this.#publishSound(info);
    else this.#publishVideo(kind, info);
    this.#pump();
  }

  unpublish(kind: SourceKind): void {
    const sender = this.senders.get(kind);
    if (sender === undefined) return;
    this.senders.delete(kind);
    sender.close();
    this.#signaling.unpublish(sender.streamId);
    this.#pump();
  }

  mute(kind: SourceKind, muted: boolean): void {
    const sender = this.senders.get(kind);
    if (sender === undefined) return;
    this.#signaling.setMuted(sender.streamId, muted);
    if (muted && sender instanceof VideoSender) sender.forgetPicture();
    this.obey();
    this.#pump();
  }

  /** The number of this participant in the meeting. */
  setUser(userId: bigint): void {
    this.#userId = userId;
    for (const sender of this.senders.values()) numberSender(sender, userId);
  }

  /** The whole truth of what is to be sent. */
  setDirective(directive: readonly EncodingOrder[]): void {
    this.#directive = directive;
    this.obey();
  }

  /** The one handler that pictures are to go to; undefined when they go to none or several. */
  get picturesTo(): HandlerId | undefined {
    const orders = this.videos.flatMap(({ streamId }) =>
      this.#directive.filter((one) => one.streamId === streamId),
    );
    const [handlerId, ...others] = orders[0]?.handlerIds ?? [];
    return others.length === 0 ? handlerId : undefined;
  }

  /** Brings the senders in line with the directive, the mutes and the handlers. */
  obey(): void {
    for (const sender of this.senders.values()) {
      const orders = this.#directive.filter((one) => one.streamId === sender.streamId);
      const wanted = new Map(
        sender.outgoings.map((outgoing) => {
          const order = orders.find((one) => one.encoding === outgoing.encoding);
          return [outgoing.encoding, this.#optionsOf(outgoing, order)];
        }),
      );
      const muted = this.isMuted(sender.streamId);
      if (muted) wanted.clear();
      if (sender instanceof VideoSender) sender.obey(wanted);
      else sender.setActive(wanted.get(0)?.active === true);
    }
  }

  /** A handler can be sent to: what goes there begins with a key frame. */
  begin(handler: MediaPath): void {
    this.obey();
    for (const { streamId, outgoings } of this.videos) {
      for (const { encoding, links } of outgoings) {
        if (links.includes(handler)) this.requestKey(streamId, encoding);
      }
    }
  }

  /** Somebody begins to receive an encoding, or lost what it builds on. */
  requestKey(id: StreamId, encoding: number): void {
    for (const sender of this.videos) {
      if (sender.streamId === id) sender.requestKey(encoding);
    }
  }

  /** What got lost on the way to either handler is to be made up for. */
  heed(arrivals: readonly Arrival[]): void {
    const lostPpm = Math.max(0, ...arrivals.map((one) => one.lostPpm));
    const repeat = arrivals.some((one) => one.repeatAudio);
    this.microphone?.setLoss(lostPpm, repeat);
  }

  close(): void {
    for (const sender of this.senders.values()) sender.close();
  }

  #optionsOf(outgoing: Outgoing, order: EncodingOrder | undefined): EncodingOptions {
    if (order?.carrier !== undefined) outgoing.carrier = order.carrier;
    outgoing.links = this.#linksOf(order);
    // Encoding for nobody would only use up the key frame that comes first.
    const connected = outgoing.links.some((link) => link.ready);
    const codec = order?.codec ?? "";
    return {
      active: order?.active === true && connected && this.#encryption.ready,
      bitrateMax: order?.maxBitrate ?? 0,
      codec: isVideoCodec(codec) ? codec : "vp08",
    };
  }

  /** Those that the directive names; it names none where the home is meant. */
  #linksOf(order: EncodingOrder | undefined): readonly Handler[] {
    const { all, home } = this.#paths;
    const named = all.filter((handler) => order?.handlerIds.includes(handler.id) === true);
    if (named.length > 0) return named;
    return home === undefined ? [] : [home];
  }

  #publishSound({ muted }: SourceInfo): void {
    const id = streamId(crypto.randomUUID());
    const number = this.#freeNumber();
    this.#take("microphone", new AudioSender(id, number, this.#encryption));
    this.#signaling.publish({
      streamId: id,
      kind: "microphone",
      number,
      muted,
      codec: "opus",
      maxBitrate: AUDIO_BITRATE,
    });
  }

  #publishVideo(kind: VideoKind, info: SourceInfo): void {
    const id = streamId(crypto.randomUUID());
    const number = this.#freeNumber();
    const quality = { ...VIDEO_QUALITY[kind] };
    if (kind === "camera") quality.encodingsMax = this.#encodingsMax;
    const size = info.width > 0 && info.height > 0 ? info : SIZE_AT_FIRST;
    const count = encodingCount(size, quality);
    const failed = (): void => {
      this.#publishLess(kind, info);
    };
    this.#take(kind, new VideoSender(kind, id, number, count, this.#encryption, failed));
    const plans = planEncodings(size, quality, count);
    const layers = plans.map(({ bitrate, ...layer }) => ({ ...layer, maxBitrate: bitrate }));
    const { width, height } = layers.at(-1) ?? size;
    this.#signaling.publish({
      streamId: id,
      kind,
      number,
      muted: info.muted,
      codec: "vp08",
      maxBitrate: layers.reduce((sum, layer) => sum + layer.maxBitrate, 0),
      video: { width, height, framerate: quality.fps, layers },
    });
  }

  /** An encoder failed for good: the stream begins anew with a single encoding. */
  #publishLess(kind: VideoKind, info: SourceInfo): void {
    const sender = this.senders.get(kind);
    if (sender === undefined || sender.outgoings.length < 2) return;
    const muted = this.isMuted(sender.streamId);
    this.#encodingsMax = 1;
    this.unpublish(kind);
    this.publish(kind, { ...info, muted });
  }

  #take(kind: SourceKind, sender: Sender): void {
    if (this.#userId !== undefined) numberSender(sender, this.#userId);
    this.senders.set(kind, sender);
  }

  #freeNumber(): number {
    // Numbers of streams that are gone are not used again soon: what is on its
    // way must not be taken for a new stream's.
    const number = this.#nextNumber;
    this.#nextNumber = number === NUMBER_MAX ? 1 : number + 1;
    const taken = [...this.#signaling.publications.values()].some((one) => one.number === number);
    return taken ? this.#freeNumber() : number;
  }
}

function numberSender(sender: Sender, userId: bigint): void {
  for (const outgoing of sender.outgoings) outgoing.userId = userId;
}
