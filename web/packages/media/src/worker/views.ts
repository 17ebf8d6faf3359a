// What the page is shown of the meeting: snapshots, and news of what changes more
// seldom. Nothing is said twice.
import {
  participantId,
  placesFrom,
  type MissingCodecs,
  type ParticipantRecord,
  type ParticipantView,
  type SelfView,
  type Signaling,
  type SourceKind,
  type StreamView,
} from "@darktower/session";
import type { FromWorker } from "../messages";
import type { Incoming } from "./incoming";
import type { Sources } from "./sources";
import { VideoSender } from "./video-sender";

export class Views {
  readonly #signaling: Signaling;
  readonly #sources: Sources;
  readonly #incoming: Incoming;
  readonly #post: (message: FromWorker) => void;
  #due = false;
  /** What was said last, by its type. */
  readonly #said = new Map<FromWorker["type"], string>();

  constructor(
    signaling: Signaling,
    sources: Sources,
    incoming: Incoming,
    post: (message: FromWorker) => void,
  ) {
    this.#signaling = signaling;
    this.#sources = sources;
    this.#incoming = incoming;
    this.#post = post;
  }

  /** At most one snapshot a task: changes come in bursts. */
  schedule(): void {
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => {
      if (this.#due) this.now();
    }, 0);
  }

  /** A snapshot at once, ahead of what else there is to say. */
  now(): void {
    this.#due = false;
    const others = [...this.#signaling.roster.others.values()];
    const participants = others.map((one) => this.participant(one));
    this.#post({ type: "roster", self: this.#self(), participants });
  }

  places(): void {
    const { current } = this.#incoming.assignments;
    const places = placesFrom(this.#signaling.layout, current.values());
    this.#tell({ type: "places", places }, "[]");
  }

  spotlight(userIds: readonly bigint[]): void {
    this.#tell({ type: "spotlight", userIds: userIds.map(Number) }, "[]");
  }

  missingCodecs(missing: MissingCodecs): void {
    const none: MissingCodecs = { video: false, audio: false };
    this.#tell({ type: "missing-codecs", missing }, JSON.stringify(none));
  }

  participant(record: ParticipantRecord): ParticipantView {
    const views: Partial<Record<SourceKind, StreamView>> = {};
    for (const stream of record.streams.values()) {
      const sink = this.#incoming.sinks.get(stream.streamId);
      const video = sink?.type === "video" ? sink : undefined;
      views[stream.kind] = {
        streamId: stream.streamId,
        muted: stream.muted,
        live: sink?.live === true && !stream.muted,
        width: video?.width ?? 0,
        height: video?.height ?? 0,
      };
    }
    const { participantId: id, userId, name, role, connected, joinedAt } = record;
    return { participantId: id, userId, name, role, connected, joinedAt, ...views };
  }

  #self(): SelfView {
    const self = this.#signaling.roster.self;
    const views: Partial<Record<SourceKind, StreamView>> = {};
    for (const sender of this.#sources.senders.values()) {
      const size = sender instanceof VideoSender ? sender.size : { width: 0, height: 0 };
      const muted = this.#sources.isMuted(sender.streamId);
      views[sender.kind] = { streamId: sender.streamId, muted, live: !muted, ...size };
    }
    return {
      participantId: self?.participantId ?? participantId(""),
      userId: self?.userId ?? 0,
      name: self?.name ?? "",
      role: self?.role ?? "participant",
      connected: this.#signaling.phase.phase === "joined",
      joinedAt: self?.joinedAt ?? new Date(0),
      ...views,
    };
  }

  /** `before`: what the page takes for granted as long as it was told nothing. */
  #tell(message: FromWorker, before: string): void {
    const { type, ...rest } = message;
    const text = JSON.stringify(Object.values(rest)[0]);
    if (text === (this.#said.get(type) ?? before)) return;
    this.#said.set(type, text);
    this.#post(message);
  }
}
