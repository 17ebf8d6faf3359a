// The worker's heart: joins signaling, media sessions, senders and sinks, and
// tells the page what it shows. The rules are elsewhere; this wires them.
import {
  type JoinFailure,
  type MeetingAccess,
  type MeetingLayout,
  type MeetingStats,
  type SignalingEvent,
  type StreamId,
  type TransportName,
  Signaling,
  streamId,
} from "@darktower/session";
import type { FromWorker } from "../messages";
import type { E2eeEntry } from "@darktower/protocol";
import { CarrierChoice } from "../rules/carrier-choice";
import { warmCanvas } from "./canvas-warmth";
import { hasWebTransport } from "./carrier/webtransport";
import { ControllerLink } from "./controller-link";
import { askCodecs, askEncoder } from "./encoder-support";
import { Encryption } from "./encryption";
import type { HandlerEvents } from "./handler-link";
import { Handlers } from "./handlers";
import { HealthReporter } from "./health-reporter";
import { Incoming } from "./incoming";
import { ReceiverReporter } from "./receiver-reporter";
import { Sources } from "./sources";
import { collectStats, type Timings } from "./stats";
import { readToken, writeToken } from "./token";
import { prepareVideoDecoders } from "./video-decoders";
import { Views } from "./views";

const FIRST_VIDEO = {
  frame: "firstVideoFrameMs",
  decoded: "firstVideoDecodedMs",
  drawn: "firstVideoDrawnMs",
} as const;

export class Engine {
  readonly signaling: Signaling;
  readonly incoming: Incoming;
  readonly reporter: ReceiverReporter;
  readonly encryption: Encryption;
  readonly handlers: Handlers;
  readonly sources: Sources;
  readonly discarded = new Map<string, number>();
  /** What signaling learned about carriers on this network. */
  readonly choice: CarrierChoice;
  timings: Timings | undefined;
  readonly #access: MeetingAccess;
  readonly #post: (message: FromWorker) => void;
  readonly #controller: ControllerLink;
  readonly #health: HealthReporter;
  readonly #views: Views;
  #userId: bigint | undefined;
  #codecsAsked = false;
  #joinedOnce = false;
  #ended = false;
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
        for (const link of this.handlers.all) link.preferWebSocket(doubtful);
      },
      discard: (cause) => {
        this.#discard(cause);
      },
    });
    this.#health = new HealthReporter(this, (report) => {
      this.signaling.reportHealth(report);
      this.#controller.pump();
    });
    this.handlers = new Handlers(this.choice, this.#makeHandlerEvents());
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
    this.sources = new Sources(this.signaling, this.encryption, this.handlers, () => {
      this.#controller.pump();
    });
    if (access.encrypted) this.#post({ type: "crypto-wanted" });
    this.reporter = new ReceiverReporter((report) => {
      this.handlers.report(report);
    });
    this.incoming = new Incoming(this.signaling, this.encryption, {
      came: (from, id) => {
        this.handlers.came(from, id);
      },
      queued: (id, frames) => {
        this.reporter.queued(id, frames);
      },
      gone: (id) => {
        this.reporter.gone(id);
        this.handlers.gone(id);
      },
      requestKeyframe: (id, encoding) => {
        this.handlers.requestKeyframe(id, encoding);
      },
      changed: () => {
        this.#views.schedule();
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
    this.#views = new Views(this.signaling, this.sources, this.incoming, post);
  }

  // ---- what the page asks for -----------------------------------------------

  warm(): void {
    prepareVideoDecoders();
    // Behind what is to be sent: it may have to wait for the page.
    setTimeout(warmCanvas);
    void askEncoder();
    void this.#askCodecs();
    if (this.#access.encrypted) this.encryption.tell({ type: "warm" });
    this.#controller.warm();
    if (this.#userId === undefined) this.handlers.warm(this.#access.handlers);
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

  setLayout(layout: MeetingLayout): void {
    this.signaling.setLayout(layout);
    this.#controller.pump();
  }

  setSpotlight(participantIds: readonly string[]): void {
    this.signaling.setSpotlight(participantIds);
    this.#controller.pump();
  }

  attach(id: StreamId, canvas: number, target: OffscreenCanvas): void {
    this.incoming.attach(id, canvas, target);
    this.reporter.setTile(id, canvas, null);
  }

  detach(id: StreamId, canvas: number): void {
    this.incoming.detach(id, canvas);
    this.reporter.removeTile(id, canvas);
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
        this.#views.spotlight(event.info.spotlightUserIds);
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
        this.sources.obey();
        this.#views.schedule();
        return;
      case "joined":
        this.#post({ type: "joined", participant: this.#views.participant(event.participant) });
        return;
      case "left":
        this.#post({
          type: "left",
          participant: this.#views.participant(event.participant),
          reason: event.reason,
        });
        return;
      case "speakers":
        this.#post({ type: "speakers", participantIds: event.participantIds });
        return;
      case "directive":
        this.sources.setDirective(event.encodings);
        this.#followHome();
        return;
      case "assignments":
        this.incoming.assign(event.generation, event.list);
        this.reporter.assign(this.incoming.assignments.current.values());
        this.#views.places();
        return;
      case "missing-codecs":
        this.#views.missingCodecs(event.missing);
        return;
      case "keyframe":
        this.sources.requestKey(event.streamId, event.encoding);
        return;
      case "media-server":
        this.handlers.renew(event.server);
        return;
      case "handler-assigned":
        this.handlers.assign(event.server);
        return;
      case "handler-removed":
        this.handlers.remove(event.id);
        this.sources.obey();
        this.#views.schedule();
        return;
      case "refused":
        this.#discard(`refused: ${event.request}`);
        if (event.request !== "requestMediaToken") return;
        for (const link of this.handlers.all) link.handleNoToken();
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
    // A page that has much to do sees first whom it is to make room for.
    this.#views.now();
    if (this.#userId !== undefined && this.#userId !== userId) {
      // Another seat than before: nothing of the old media sessions is valid.
      this.handlers.clear();
      this.incoming.assignments.newSession();
    }
    if (this.#userId !== userId) {
      this.#userId = userId;
      this.sources.setUser(userId);
    }
    this.handlers.seat(servers);
    this.sources.obey();
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
    const watched = this.sources.videos.filter((sender) => sender.active);
    this.sources.obey();
    if (!added) return;
    for (const sender of watched) sender.beginEpoch();
  }

  /** Nothing else tells that it is another one than before. */
  #followHome(): void {
    const home = this.sources.picturesTo;
    if (home !== undefined) this.handlers.setHome(home);
  }

  #makeHandlerEvents(): HandlerEvents {
    return {
      ready: (link) => {
        if (link === this.handlers.home) this.#note("mediaReadyMs");
        const report = this.reporter.whole();
        if (report !== undefined) link.report(report);
        this.sources.begin(link);
        this.#views.schedule();
      },
      lost: (link) => {
        this.handlers.lost(link);
        this.sources.heed([...this.handlers.arrivals.values()]);
        this.#views.schedule();
      },
      needToken: (id) => {
        if (this.signaling.phase.phase !== "joined") return;
        this.signaling.requestMediaToken(id);
        this.#controller.pump();
      },
      group: (link, header) => this.incoming.group(link.id, header),
      datagram: (link, { header, payload }) => {
        this.incoming.datagram({ from: link.id, header, payload });
      },
      keyframe: (id, encoding) => {
        this.sources.requestKey(streamId(id), encoding);
      },
      arrival: (link, arrival) => {
        this.handlers.arrived(link, arrival);
        this.sources.heed([...this.handlers.arrivals.values()]);
      },
      discard: (cause) => {
        this.#discard(cause);
      },
    };
  }

  #close(): void {
    this.#health.stop();
    this.sources.close();
    this.handlers.clear();
    this.#controller.cool();
    this.incoming.close();
    this.reporter.close();
    if (this.encryption.required) this.encryption.close();
  }

  async #askCodecs(): Promise<void> {
    if (this.#codecsAsked) return;
    this.#codecsAsked = true;
    this.signaling.setVideoCodecs(await askCodecs());
  }

  #note(what: Exclude<keyof Timings, "pressedAt">): void {
    const timings = this.timings;
    if (timings === undefined || timings[what] !== undefined) return;
    timings[what] = Math.round(performance.timeOrigin + performance.now() - timings.pressedAt);
  }

  #discard(cause: string): void {
    this.discarded.set(cause, (this.discarded.get(cause) ?? 0) + 1);
  }
}
