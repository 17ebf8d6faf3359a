// The worker's heart: joins signaling, media sessions, senders and sinks, and
// tells the page what it shows. The rules are elsewhere; this wires them.
import {
  type EncodingOrder,
  type HandlerId,
  type JoinFailure,
  type MeetingAccess,
  type MeetingLayout,
  type MeetingStats,
  type ParticipantRecord,
  type ParticipantView,
  type SelfView,
  type SignalingEvent,
  type SourceKind,
  type StreamId,
  type StreamView,
  type TransportName,
  Signaling,
  participantId,
  streamId,
} from "@darktower/session";
import type { FromWorker, SourceInfo, VideoKind } from "../messages";
import type { E2eeEntry } from "@darktower/protocol";
import { CarrierChoice } from "../rules/carrier-choice";
import { AUDIO_BITRATE, AudioSender } from "./audio-sender";
import { hasWebTransport } from "./carrier/webtransport";
import { ControllerLink } from "./controller-link";
import { askEncoder } from "./encoder-scaling";
import { Encryption } from "./encryption";
import { HandlerLink, type HandlerEvents } from "./handler-link";
import { HealthReporter } from "./health-reporter";
import { Incoming } from "./incoming";
import { collectStats, type Timings } from "./stats";
import { readToken, writeToken } from "./token";
import { prepareVideoDecoders } from "./video-decoders";
import { VIDEO_QUALITY, VideoSender } from "./video-sender";

/** Handlers that are dialled ahead of the join. */
const WARM_HANDLERS = 2;

const FIRST_VIDEO = {
  frame: "firstVideoFrameMs",
  decoded: "firstVideoDecodedMs",
  drawn: "firstVideoDrawnMs",
} as const;

export type Sender = AudioSender | VideoSender;

export class Engine {
  readonly signaling: Signaling;
  readonly incoming: Incoming;
  readonly encryption: Encryption;
  readonly handlers = new Map<HandlerId, HandlerLink>();
  readonly senders = new Map<SourceKind, Sender>();
  readonly discarded = new Map<string, number>();
  /** What signaling learned about carriers on this network. */
  readonly choice: CarrierChoice;
  timings: Timings | undefined;
  readonly #access: MeetingAccess;
  readonly #post: (message: FromWorker) => void;
  readonly #controller: ControllerLink;
  readonly #health: HealthReporter;
  readonly #handlerEvents: HandlerEvents;
  #userId: bigint | undefined;
  #directive: readonly EncodingOrder[] = [];
  #nextNumber = 1;
  #joinedOnce = false;
  #ended = false;
  #viewsDue = false;
  /** The way into the group that came with the join that is being handled. */
  #entry: E2eeEntry | undefined;
  #toldRoster = "";
  /** Why this browser can't encrypt. */
  #unable: string | undefined;
  /** What a join that failed is told to the page as, where the seat knows less. */
  #failure: { readonly reason: JoinFailure; readonly message: string } | undefined;

  constructor(
    access: MeetingAccess,
    resumeToken: string | undefined,
    webTransportFailedAt: number | undefined,
    post: (message: FromWorker) => void,
  ) {
    this.#access = access;
    this.#post = post;
    const resume = resumeToken === undefined ? undefined : readToken(resumeToken);
    this.signaling = new Signaling({
      meetingId: access.meetingId,
      joinToken: access.joinToken,
      encrypted: access.encrypted,
      origin: access.origin,
      random: Math.random,
      ...(resume === undefined ? {} : { resumeToken: resume }),
    });
    this.choice = new CarrierChoice(hasWebTransport(), webTransportFailedAt);
    if (resume !== undefined) this.choice.handleReturn(Date.now());
    this.#controller = new ControllerLink(this.signaling, access.controller, this.choice, {
      event: (event) => {
        this.#handle(event);
      },
      works: (carrier) => {
        this.#post({ type: "network", webTransportFailedAt: this.choice.failedAt });
        if (carrier !== "websocket") return;
        const doubtful = this.choice.isDoubtful("webtransport");
        for (const link of this.handlers.values()) link.preferWebSocket(doubtful);
      },
      discard: (cause) => {
        this.#discard(cause);
      },
    });
    this.#health = new HealthReporter(this, (report) => {
      this.signaling.reportHealth(report);
      this.#controller.pump();
    });
    this.#handlerEvents = this.#makeHandlerEvents();
    this.encryption = new Encryption({
      keys: (added) => {
        this.#keysCame(added);
      },
      send: (id, mls) => {
        this.signaling.sendMls(id, mls);
        this.#controller.pump();
      },
      position: (position) => {
        this.signaling.setEncryption({ able: true, position });
      },
      shown: (state) => {
        this.#post({ type: "encryption", state });
      },
      unsupported: (message) => {
        this.cannotEncrypt(message);
      },
    });
    this.encryption.required = access.encrypted;
    if (access.encrypted) this.#post({ type: "crypto-wanted" });
    this.incoming = new Incoming(this.signaling, this.encryption, {
      requestKeyframe: (id, encoding) => {
        for (const link of this.handlers.values()) link.requestKeyframe(id, encoding);
      },
      changed: () => {
        this.#scheduleViews();
      },
      firstVideo: (step) => {
        this.#note(FIRST_VIDEO[step]);
      },
      firstAudio: () => {
        this.#note("firstAudioMs");
      },
      discard: (cause) => {
        this.#discard(cause);
      },
    });
  }

  // ---- what the page asks for -----------------------------------------------

  warm(): void {
    prepareVideoDecoders();
    void askEncoder();
    if (this.#access.encrypted) this.encryption.tell({ type: "warm" });
    this.#controller.warm();
    if (this.#userId !== undefined) return;
    for (const endpoint of this.#access.handlers.slice(0, WARM_HANDLERS)) {
      if (!this.handlers.has(endpoint.handlerId)) this.#handler(endpoint).warm();
    }
  }

  join(name: string, pressedAt: number): void {
    this.timings = { pressedAt };
    if (this.encryption.required && this.#unable !== undefined) {
      this.#close();
      const message = this.#unable;
      this.#post({ type: "join-failed", reason: "encryption-unsupported", message });
      return;
    }
    this.warm();
    this.signaling.join(name, performance.now());
    this.#controller.pump();
  }

  publish(kind: SourceKind, info: SourceInfo): void {
    if (this.senders.has(kind)) return;
    const id = streamId(crypto.randomUUID());
    const number = this.#freeNumber();
    const sender =
      kind === "microphone"
        ? new AudioSender(id, number, this.encryption)
        : new VideoSender(kind, id, number, this.encryption);
    if (this.#userId !== undefined) sender.outgoing.userId = this.#userId;
    this.senders.set(kind, sender);
    const quality = kind === "microphone" ? undefined : VIDEO_QUALITY[kind];
    this.signaling.publish({
      streamId: id,
      kind,
      number,
      codec: quality === undefined ? "opus" : "vp08",
      maxBitrate: quality?.bitrate ?? AUDIO_BITRATE,
      muted: info.muted,
      ...(quality === undefined
        ? {}
        : { video: { width: info.width, height: info.height, framerate: quality.fps } }),
    });
    this.#controller.pump();
  }

  unpublish(kind: SourceKind): void {
    const sender = this.senders.get(kind);
    if (sender === undefined) return;
    this.senders.delete(kind);
    sender.close();
    this.signaling.unpublish(sender.streamId);
    this.#controller.pump();
  }

  mute(kind: SourceKind, muted: boolean): void {
    const sender = this.senders.get(kind);
    if (sender === undefined) return;
    this.signaling.setMuted(sender.streamId, muted);
    if (muted && sender instanceof VideoSender) sender.forgetPicture();
    this.#obey();
    this.#controller.pump();
  }

  video(kind: VideoKind): VideoSender | undefined {
    const sender = this.senders.get(kind);
    return sender instanceof VideoSender ? sender : undefined;
  }

  get microphone(): AudioSender | undefined {
    const sender = this.senders.get("microphone");
    return sender instanceof AudioSender ? sender : undefined;
  }

  isMuted(id: StreamId): boolean {
    return this.signaling.publications.get(id)?.muted ?? true;
  }

  setLayout(layout: MeetingLayout): void {
    this.signaling.setLayout(layout);
    this.#controller.pump();
  }

  removeParticipant(id: string): void {
    this.signaling.removeParticipant(id);
    this.#controller.pump();
  }

  endMeeting(): void {
    this.signaling.endMeeting();
    this.#controller.pump();
  }

  leave(): void {
    this.signaling.leave();
    this.#controller.pump();
  }

  hurry(): void {
    this.signaling.hurry(performance.now());
    this.#controller.pump();
  }

  /** The crypto worker can't be, or can't go on. */
  cannotEncrypt(message: string): void {
    this.#unable = message;
    this.signaling.setEncryption({ able: false });
    if (!this.encryption.required || this.signaling.phase.phase === "idle") return;
    this.#failure = { reason: "encryption-unsupported", message };
    this.signaling.giveUpEncryption("encryption-unsupported");
    this.#controller.pump();
  }

  /** What carries signaling, or will: a session that is warm. */
  get carrier(): TransportName | undefined {
    return this.#controller.carrier;
  }

  stats(): MeetingStats {
    return collectStats(this);
  }

  // ---- what happens ---------------------------------------------------------

  #handle(event: SignalingEvent): void {
    switch (event.type) {
      case "phase":
        this.#phase();
        return;
      case "seated":
        this.#seated(event.userId, event.servers);
        return;
      case "meeting":
        this.#post({ type: "title", title: event.info.displayName });
        if (event.info.enableE2eEncryption) this.encryption.required = true;
        return;
      case "entry":
        if (event.seated) this.#entry = event.entry;
        else this.encryption.tell({ type: "entry", entry: event.entry });
        return;
      case "mls":
        this.encryption.tell({ type: "mls", mls: event.mls });
        return;
      case "mls-answer":
        this.encryption.tell({ type: "answer", id: event.id, outcome: event.outcome });
        return;
      case "resume-token":
        this.#post({ type: "resume-token", token: writeToken(event.token) });
        return;
      case "roster":
        this.incoming.sweep();
        this.#tellRoster();
        this.#obey();
        this.#scheduleViews();
        return;
      case "joined":
        this.#post({ type: "joined", participant: this.#view(event.participant) });
        return;
      case "left":
        this.#post({
          type: "left",
          participant: this.#view(event.participant),
          reason: event.reason,
        });
        return;
      case "speakers":
        this.#post({ type: "speakers", participantIds: event.participantIds });
        return;
      case "directive":
        this.#directive = event.encodings;
        this.#obey();
        return;
      case "assignments":
        this.incoming.assign(event.generation, event.list);
        return;
      case "keyframe":
        this.#key(event.streamId);
        return;
      case "media-server":
        this.#handler(event.server.endpoint).start(event.server);
        return;
      case "refused":
        this.#discard(`refused: ${event.request}`);
        if (event.request !== "requestMediaToken") return;
        for (const link of this.handlers.values()) link.handleNoToken();
        return;
      case "self-left":
    }
  }

  #phase(): void {
    const { phase } = this.signaling;
    if (phase.phase === "ended") {
      if (this.#ended) return;
      this.#ended = true;
      this.#close();
      if ((phase.neverJoined || !this.#joinedOnce) && phase.reason !== "left") {
        const reason = /has ended/.test(phase.message) ? "ended" : phase.failure;
        this.#post({ type: "join-failed", reason, message: phase.message, ...this.#failure });
        return;
      }
      this.#post({ type: "state", state: { phase: "ended", reason: phase.reason } });
      return;
    }
    if (phase.phase === "reconnecting") {
      if (this.encryption.required) this.encryption.sessionLost();
      // The seat counts on a monotonic clock; pages show the time of day.
      const since = performance.timeOrigin + phase.since;
      this.#post({ type: "state", state: { phase: "reconnecting", since } });
      return;
    }
    this.#post({ type: "state", state: { phase: phase.phase } });
    if (phase.phase === "joined" && !this.#joinedOnce) {
      this.#joinedOnce = true;
      this.#health.start();
      this.#post({ type: "join-done" });
    }
  }

  #seated(userId: bigint, servers: Extract<SignalingEvent, { type: "seated" }>["servers"]): void {
    if (!this.#enterGroup()) return;
    this.#note("joinedMs");
    if (this.#userId !== undefined && this.#userId !== userId) {
      // Another seat than before: nothing of the old media sessions is valid.
      for (const link of this.handlers.values()) link.close();
      this.handlers.clear();
      this.incoming.assignments.newSession();
    }
    if (this.#userId !== userId) {
      this.#userId = userId;
      for (const sender of this.senders.values()) sender.outgoing.userId = userId;
    }
    for (const server of servers) this.#handler(server.endpoint).start(server);
  }

  /**
   * Hands the way into the group on. False: the server let us into an encrypted
   * meeting and says it is not one; nothing may be sent there.
   */
  #enterGroup(): boolean {
    const entry = this.#entry;
    this.#entry = undefined;
    const { self } = this.signaling.roster;
    if (entry !== undefined && self !== undefined) {
      const { participantId: id, name } = self;
      const participantIds = this.#participantIds();
      this.#toldRoster = participantIds.join();
      const { meetingId } = this.#access;
      this.encryption.seated({ meetingId, participantId: id, name, participantIds }, entry);
      if (!this.#access.encrypted) this.#post({ type: "crypto-wanted" });
      return true;
    }
    if (!this.encryption.required) {
      this.#post({ type: "encryption", state: { kind: "transport" } });
      return true;
    }
    const message = "the meeting is end-to-end encrypted, and the server says it is not";
    this.#failure = { reason: "not-encrypted", message };
    this.signaling.giveUpEncryption("not-encrypted");
    this.#controller.pump();
    return false;
  }

  #participantIds(): string[] {
    const { self, others } = this.signaling.roster;
    return [...(self === undefined ? [] : [self.participantId]), ...others.keys()];
  }

  #tellRoster(): void {
    if (!this.encryption.required) return;
    this.incoming.wake();
    const participantIds = this.#participantIds();
    const told = participantIds.join();
    if (told === this.#toldRoster) return;
    this.#toldRoster = told;
    this.encryption.tell({ type: "roster", participantIds });
  }

  #keysCame(added: boolean): void {
    if (this.encryption.ready) this.#note("keysMs");
    this.incoming.wake();
    const watched = [...this.senders.values()].filter((sender) => sender.active);
    this.#obey();
    if (!added) return;
    for (const sender of watched) {
      if (sender instanceof VideoSender) sender.beginEpoch();
    }
  }

  #handler(endpoint: ConstructorParameters<typeof HandlerLink>[0]): HandlerLink {
    let link = this.handlers.get(endpoint.handlerId);
    if (link === undefined) {
      link = new HandlerLink(endpoint, this.choice.forAnother(), this.#handlerEvents);
      this.handlers.set(endpoint.handlerId, link);
    }
    return link;
  }

  #makeHandlerEvents(): HandlerEvents {
    return {
      ready: () => {
        this.#note("mediaReadyMs");
        this.#obey();
        for (const sender of this.senders.values()) {
          if (sender instanceof VideoSender) sender.requestKey();
        }
        this.#scheduleViews();
      },
      lost: () => {
        this.#scheduleViews();
      },
      needToken: (id) => {
        if (this.signaling.phase.phase !== "joined") return;
        this.signaling.requestMediaToken(id);
        this.#controller.pump();
      },
      group: (header) => this.incoming.group(header),
      datagram: (datagram) => {
        this.incoming.datagram(datagram);
      },
      keyframe: (id) => {
        this.#key(streamId(id));
      },
      discard: (cause) => {
        this.#discard(cause);
      },
    };
  }

  /** Brings the senders in line with the directive and the mutes. */
  #obey(): void {
    for (const sender of this.senders.values()) {
      const order = this.#directive.find((one) => one.streamId === sender.streamId);
      const active = order?.active === true && !this.isMuted(sender.streamId);
      if (order?.carrier !== undefined) sender.outgoing.carrier = order.carrier;
      const links = [...this.handlers.values()];
      const named = links.filter((link) => order?.handlerIds.includes(link.id) === true);
      sender.outgoing.links = named.length > 0 ? named : links;
      // Encoding for nobody would only use up the key frame that comes first.
      const connected = sender.outgoing.links.some((link) => link.ready);
      const sendable = active && connected && this.encryption.ready;
      sender.setActive(sendable, order?.maxBitrate ?? 0);
    }
  }

  #key(id: StreamId): void {
    for (const sender of this.senders.values()) {
      if (sender.streamId === id && sender instanceof VideoSender) sender.requestKey();
    }
  }

  #close(): void {
    this.#health.stop();
    for (const sender of this.senders.values()) sender.close();
    for (const link of this.handlers.values()) link.close();
    this.#controller.cool();
    this.incoming.close();
    if (this.encryption.required) this.encryption.close();
  }

  #freeNumber(): number {
    // Numbers of streams that are gone are not used again soon: what is on its
    // way must not be taken for a new stream's.
    const number = this.#nextNumber;
    this.#nextNumber = number === 255 ? 1 : number + 1;
    const taken = [...this.signaling.publications.values()].some((one) => one.number === number);
    return taken ? this.#freeNumber() : number;
  }

  #note(what: Exclude<keyof Timings, "pressedAt">): void {
    const timings = this.timings;
    if (timings === undefined || timings[what] !== undefined) return;
    timings[what] = Math.round(performance.timeOrigin + performance.now() - timings.pressedAt);
  }

  #discard(cause: string): void {
    this.discarded.set(cause, (this.discarded.get(cause) ?? 0) + 1);
  }

  // ---- what the page shows --------------------------------------------------

  /** At most one snapshot a task: changes come in bursts. */
  #scheduleViews(): void {
    if (this.#viewsDue) return;
    this.#viewsDue = true;
    setTimeout(() => {
      this.#viewsDue = false;
      this.#post({
        type: "roster",
        self: this.#selfView(),
        participants: [...this.signaling.roster.others.values()].map((one) => this.#view(one)),
      });
    }, 0);
  }

  #view(record: ParticipantRecord): ParticipantView {
    const views: Partial<Record<SourceKind, StreamView>> = {};
    for (const stream of record.streams.values()) {
      const sink = this.incoming.sinks.get(stream.streamId);
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

  #selfView(): SelfView {
    const self = this.signaling.roster.self;
    const views: Partial<Record<SourceKind, StreamView>> = {};
    for (const sender of this.senders.values()) {
      const size = sender instanceof VideoSender ? sender.size : { width: 0, height: 0 };
      const muted = this.isMuted(sender.streamId);
      views[sender.kind] = { streamId: sender.streamId, muted, live: !muted, ...size };
    }
    return {
      participantId: self?.participantId ?? participantId(""),
      userId: self?.userId ?? 0,
      name: self?.name ?? "",
      role: self?.role ?? "participant",
      connected: this.signaling.phase.phase === "joined",
      joinedAt: self?.joinedAt ?? new Date(0),
      ...views,
    };
  }
}
