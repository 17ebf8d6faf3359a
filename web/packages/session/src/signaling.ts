// The client's side of signaling, without a socket: what is wanted (streams
// published, a layout, mutes), what the server said (roster, directives,
// assignments), and what to send so that both agree, over as many sessions as
// it takes. The driver carries out `effects` and calls `handle*`; times are
// milliseconds of one monotonic clock.
import { create } from "@bufbuild/protobuf";
import {
  JoinRequestSchema,
  writeClientMessage,
  type ClientBody,
  type E2eeEntry,
  type ErrorMessage,
  type HealthReport,
  type JoinResponse,
  type MediaServerInfo,
  type MeetingInfo,
  type Mls,
  type Received,
  type ServerBody,
  EndMeetingSchema,
  HeartbeatSchema,
  LeaveSchema,
  RemoveParticipantSchema,
  RequestMediaTokenSchema,
  SetMuteSchema,
  SetSpotlightSchema,
  SubscribeLayoutSchema,
  UnpublishStreamSchema,
  UpdateLayoutSchema,
} from "@darktower/protocol";
import type { AnswerOutcome } from "@darktower/crypto";
import type { MeetingLayout, MissingCodecs } from "./api";
import type { Assignment } from "./assignments";
import { offerOf, outcomeOfError, type EncryptionAbility } from "./encryption";
import { handlerId, streamId, type HandlerId, type StreamId } from "./ids";
import { LAYOUT_AT_FIRST, VIDEO_SLOTS_MAX, wireLayout } from "./layout";
import { publishStream, type Publication } from "./publication";
import {
  readAssignments,
  readDirective,
  readMediaServer,
  readMediaServers,
  type EncodingOrder,
  type MediaServer,
} from "./read";
import { Roster, type RosterEvent } from "./roster";
import { Seat, type SeatPhase } from "./seat";

/** Requests whose answer is waited for at most; the oldest are forgotten. */
const PENDING_MAX = 256;
/** Speakers told of at once. */
const SPEAKERS_MAX = 256;
/** Of the wire. */
const SPOTLIGHT_MAX = 9;
/** What every browser decodes that has decoders at all, until it was asked. */
const VIDEO_CODECS_AT_FIRST: readonly string[] = ["VP8", "VP9"];

export type SignalingEvent =
  | { readonly type: "phase"; readonly phase: SeatPhase }
  | { readonly type: "seated"; readonly userId: bigint; readonly servers: readonly MediaServer[] }
  | { readonly type: "resume-token"; readonly token: Uint8Array }
  | { readonly type: "roster" }
  | RosterEvent
  | { readonly type: "speakers"; readonly participantIds: readonly string[] }
  | { readonly type: "directive"; readonly encodings: readonly EncodingOrder[] }
  | {
      readonly type: "assignments";
      readonly generation: number;
      readonly list: readonly Assignment[];
    }
  | { readonly type: "keyframe"; readonly streamId: StreamId; readonly encoding: number }
  /** A fresh token for one of the seat's handlers. */
  | { readonly type: "media-server"; readonly server: MediaServer }
  /** One more handler to have a session with, or one less. */
  | { readonly type: "handler-assigned"; readonly server: MediaServer }
  | { readonly type: "handler-removed"; readonly id: HandlerId }
  /** What the meeting is: at each join, and when the host changes it. */
  | { readonly type: "meeting"; readonly info: MeetingInfo }
  /** At each join. */
  | { readonly type: "missing-codecs"; readonly missing: MissingCodecs }
  /** The way into the meeting's group: with each join, or another one later. */
  | { readonly type: "entry"; readonly entry: E2eeEntry; readonly seated: boolean }
  | { readonly type: "mls"; readonly mls: Mls }
  /** What became of {@link Signaling.sendMls}; each call gets one. */
  | { readonly type: "mls-answer"; readonly id: number; readonly outcome: AnswerOutcome }
  /** A request came to nothing. */
  | { readonly type: "refused"; readonly request: string; readonly message: string };

export type SignalingEffect =
  | { readonly type: "connect"; readonly attempt: number }
  | { readonly type: "send"; readonly attempt: number; readonly message: Uint8Array }
  | {
      readonly type: "close";
      readonly attempt: number;
      readonly code: number;
      /** Its carrier failed it: another is better tried next. */
      readonly failed: boolean;
    }
  | { readonly type: "event"; readonly event: SignalingEvent };

export interface SignalingOptions {
  readonly meetingId: string;
  readonly joinToken: string;
  /** The API said that the meeting is end-to-end encrypted. */
  readonly encrypted?: boolean;
  readonly resumeToken?: Uint8Array;
  /** Of the API: paths that the server names are on it. */
  readonly origin: string;
  readonly random: () => number;
}

interface Pending {
  readonly body: ClientBody;
  readonly stream?: StreamId;
  /** Of {@link Signaling.sendMls}. */
  readonly mls?: number;
}

export class Signaling {
  readonly roster = new Roster();
  readonly #options: SignalingOptions;
  readonly #seat: Seat;
  readonly #effects: SignalingEffect[] = [];
  readonly #publications = new Map<StreamId, Publication>();
  /** Registered with the seat, as far as this side knows. */
  readonly #registered = new Set<StreamId>();
  readonly #pending = new Map<bigint, Pending>();
  /** Requests to be said again after a rate limit. */
  #postponed: { at: number; what: Pending }[] = [];
  #joinRequestId = 0n;
  #nextRequestId = 1n;
  #name = "";
  #ability: EncryptionAbility = { able: true, position: undefined };
  #videoCodecs = VIDEO_CODECS_AT_FIRST;
  #layout: MeetingLayout = LAYOUT_AT_FIRST;
  /** Pictures are asked for behind the first step into the group. */
  #layoutHeld = false;
  /** One layout is on its way at a time: a window that is being resized asks often. */
  #layoutRequest: bigint | undefined;
  #sentLayout: MeetingLayout | undefined;
  #shownPhase: SeatPhase = { phase: "idle" };

  constructor(options: SignalingOptions) {
    this.#options = options;
    this.#seat = new Seat(options.random, options.resumeToken);
  }

  get phase(): SeatPhase {
    return this.#seat.phase;
  }

  get rttMs(): number | null {
    return this.#seat.rttMs;
  }

  get publications(): ReadonlyMap<StreamId, Publication> {
    return this.#publications;
  }

  /** When {@link handleTimeout} is wanted at the latest. */
  get due(): number | undefined {
    const dues = this.#postponed.map((one) => one.at);
    if (this.#seat.due !== undefined) dues.push(this.#seat.due);
    return dues.length === 0 ? undefined : Math.min(...dues);
  }

  /** What is to be done, oldest first; empties the list. */
  takeEffects(): SignalingEffect[] {
    this.#drainSeat();
    const phase = this.#seat.phase;
    if (phase.phase !== this.#shownPhase.phase) {
      this.#shownPhase = phase;
      // What was asked of a session that is gone is never answered.
      if (phase.phase !== "joined") this.#forgetRequests();
      this.#event({ type: "phase", phase });
    }
    return this.#effects.splice(0);
  }

  // ---- what the person wants ------------------------------------------------

  join(name: string, nowMs: number): void {
    this.#name = name;
    this.#seat.start(nowMs);
  }

  publish(publication: Publication): void {
    this.#publications.set(publication.streamId, publication);
    if (this.#joined) this.#sendPublish(publication);
    this.#event({ type: "roster" });
  }

  unpublish(id: StreamId): void {
    if (!this.#publications.delete(id)) return;
    this.#registered.delete(id);
    if (this.#joined) {
      this.#request({
        case: "unpublishStream",
        value: create(UnpublishStreamSchema, { streamId: id }),
      });
    }
    this.#event({ type: "roster" });
  }

  setMuted(id: StreamId, muted: boolean): void {
    const publication = this.#publications.get(id);
    if (publication === undefined || publication.muted === muted) return;
    this.#publications.set(id, { ...publication, muted });
    if (this.#joined) this.#sendMute(id, muted);
    this.#event({ type: "roster" });
  }

  setLayout(layout: MeetingLayout): void {
    if (JSON.stringify(layout) === JSON.stringify(this.#layout)) return;
    this.#layout = layout;
    this.#updateLayout();
  }

  get layout(): MeetingLayout {
    return this.#layout;
  }

  /** Names of the codecs that are offered with the next join. */
  setVideoCodecs(names: readonly string[]): void {
    if (names.length > 0) this.#videoCodecs = names;
  }

  /** Whom everybody is to see first; hosts only. */
  setSpotlight(participantIds: readonly string[]): void {
    const value = create(SetSpotlightSchema, {
      participantIds: participantIds.slice(0, SPOTLIGHT_MAX),
    });
    this.#request({ case: "setSpotlight", value });
  }

  removeParticipant(id: string): void {
    const value = create(RemoveParticipantSchema, { participantId: id });
    this.#request({ case: "removeParticipant", value });
  }

  endMeeting(): void {
    this.#request({ case: "endMeeting", value: create(EndMeetingSchema) });
  }

  requestMediaToken(id: HandlerId): void {
    const value = create(RequestMediaTokenSchema, { handlerId: id });
    this.#request({ case: "requestMediaToken", value });
  }

  /** What is offered with the next join. Able to encrypt until told otherwise. */
  setEncryption(ability: EncryptionAbility): void {
    this.#ability = ability;
  }

  /** Says something to the group; an `mls-answer` with this id tells what became of it. */
  sendMls(id: number, mls: Mls): void {
    const attempt = this.#seat.attempt;
    if (attempt === undefined || !this.#joined) {
      this.#event({ type: "mls-answer", id, outcome: { type: "lost" } });
      return;
    }
    this.#send(attempt, { body: { case: "mls", value: mls }, mls: id });
    if (this.#layoutHeld) this.#subscribe(attempt);
  }

  /** How the meeting is for this client; nobody answers. */
  reportHealth(report: HealthReport): void {
    const attempt = this.#seat.attempt;
    if (attempt === undefined || !this.#joined) return;
    const message = writeClientMessage(0n, { case: "healthReport", value: report });
    this.#effects.push({ type: "send", attempt, message });
  }

  /** Encryption came to nothing: better out than without. */
  giveUpEncryption(reason: "encryption-unsupported" | "not-encrypted"): void {
    this.#request({ case: "leave", value: create(LeaveSchema) });
    this.#seat.finish(reason);
  }

  leave(): void {
    this.#request({ case: "leave", value: create(LeaveSchema) });
    this.#seat.finish("left");
  }

  // ---- what happened --------------------------------------------------------

  handleOpen(attempt: number, nowMs: number): void {
    this.#seat.handleOpen(attempt, nowMs);
  }

  handleClosed(attempt: number, code: number | undefined, message: string, nowMs: number): void {
    this.#seat.handleClosed(attempt, code, message, nowMs);
  }

  handleEcho(attempt: number, packet: Uint8Array, nowMs: number): void {
    this.#seat.handleEcho(attempt, packet, nowMs);
  }

  handleTimeout(nowMs: number): void {
    this.#seat.handleTimeout(nowMs);
    const due = this.#postponed.filter((one) => one.at <= nowMs);
    if (due.length === 0) return;
    this.#postponed = this.#postponed.filter((one) => one.at > nowMs);
    const attempt = this.#seat.attempt;
    for (const { what } of due) if (attempt !== undefined) this.#send(attempt, what);
  }

  hurry(nowMs: number): void {
    this.#seat.hurry(nowMs);
  }

  handleMessage(attempt: number, message: Received<ServerBody>, nowMs: number): void {
    if (attempt !== this.#seat.attempt) return;
    this.#seat.handleHeard(attempt, nowMs);
    const { requestId, body } = message;
    const pending = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    const layoutAnswered = requestId === this.#layoutRequest;
    if (layoutAnswered) this.#layoutRequest = undefined;
    this.#handleBody(attempt, requestId, pending, body, nowMs);
    if (layoutAnswered) this.#updateLayout();
  }

  // ---- inside ---------------------------------------------------------------

  #handleBody(
    attempt: number,
    requestId: bigint,
    pending: Pending | undefined,
    body: ServerBody,
    nowMs: number,
  ): void {
    switch (body.case) {
      case "joinResponse":
        if (requestId === this.#joinRequestId) this.#seated(attempt, body.value, nowMs);
        return;
      case "error":
        this.#refused(attempt, requestId, pending, body.value, nowMs);
        return;
      case "streamAssignments":
        this.#event({
          type: "assignments",
          generation: body.value.generation,
          list: readAssignments(body.value),
        });
        return;
      case "sendDirective":
        this.#event({ type: "directive", encodings: readDirective(body.value) });
        return;
      case "activeSpeakers": {
        const participantIds = body.value.participantIds.slice(0, SPEAKERS_MAX);
        this.#event({ type: "speakers", participantIds });
        return;
      }
      case "requestKeyframe": {
        const { encoding } = body.value;
        this.#event({ type: "keyframe", streamId: streamId(body.value.streamId), encoding });
        return;
      }
      case "mediaToken":
        this.#mediaServer("media-server", body.value.mediaServer);
        return;
      case "handlerAssigned":
        this.#mediaServer("handler-assigned", body.value.mediaServer);
        return;
      case "handlerRemoved":
        this.#event({ type: "handler-removed", id: handlerId(body.value.handlerId) });
        return;
      case "meetingUpdated":
        if (body.value.meeting !== undefined) {
          this.#event({ type: "meeting", info: body.value.meeting });
        }
        return;
      case "e2eeEntry":
        this.#event({ type: "entry", entry: body.value, seated: false });
        return;
      case "mls":
        this.#event({ type: "mls", mls: body.value });
        return;
      case "ack":
        if (pending?.mls === undefined) return;
        this.#event({ type: "mls-answer", id: pending.mls, outcome: { type: "ack" } });
        return;
      case "streamPublished":
        if (pending?.stream !== undefined) this.#registered.add(pending.stream);
        this.#applyToRoster(body);
        return;
      default:
        this.#applyToRoster(body);
    }
  }

  #mediaServer(type: "media-server" | "handler-assigned", info: MediaServerInfo | undefined): void {
    const server = info && readMediaServer(info, this.#options.origin);
    if (server !== undefined) this.#event({ type, server });
  }

  get #joined(): boolean {
    return this.#seat.phase.phase === "joined";
  }

  #event(event: SignalingEvent): void {
    this.#effects.push({ type: "event", event });
  }

  #drainSeat(): void {
    for (const effect of this.#seat.effects.splice(0)) {
      switch (effect.type) {
        case "connect":
        case "close":
          this.#effects.push(effect);
          break;
        case "join":
          this.#sendJoin(effect.attempt, effect.resume);
          break;
        case "heartbeat":
          this.#request({ case: "heartbeat", value: create(HeartbeatSchema) });
          break;
        case "probe":
          this.#effects.push({ type: "send", attempt: effect.attempt, message: effect.packet });
          break;
      }
    }
  }

  /** The join, and at once behind it all that a seated client would say. */
  #sendJoin(attempt: number, resume: Uint8Array | undefined): void {
    this.#forgetRequests();
    if (resume === undefined) this.#registered.clear();
    const offer = offerOf(this.#ability, resume !== undefined);
    const join = create(JoinRequestSchema, {
      meetingId: this.#options.meetingId,
      joinToken: resume === undefined ? this.#options.joinToken : "",
      resumeToken: resume ?? new Uint8Array(),
      participantName: this.#name,
      ...(offer === undefined ? {} : { e2ee: offer }),
      keptStreamIds: resume === undefined ? [] : [...this.#registered],
      capabilities: {
        videoCodecs: [...this.#videoCodecs],
        audioCodecs: ["Opus"],
        supportsSimulcast: true,
        maxVideoStreams: VIDEO_SLOTS_MAX,
      },
    });
    this.#joinRequestId = this.#send(attempt, { body: { case: "joinRequest", value: join } });
    for (const publication of this.#publications.values()) {
      if (!this.#registered.has(publication.streamId)) this.#sendPublish(publication);
    }
    // What others send before they know of the newcomer is sealed with keys that it
    // never gets: pictures are asked for behind the first step into the group.
    this.#layoutHeld =
      offer !== undefined && offer.position === undefined && this.#options.encrypted === true;
    if (!this.#layoutHeld) this.#subscribe(attempt);
  }

  #subscribe(attempt: number): void {
    this.#layoutHeld = false;
    const value = create(SubscribeLayoutSchema, { layout: wireLayout(this.#layout) });
    this.#sentLayout = this.#layout;
    this.#layoutRequest = this.#send(attempt, { body: { case: "subscribeLayout", value } });
  }

  #seated(attempt: number, response: JoinResponse, nowMs: number): void {
    const { self } = response;
    if (self === undefined) return;
    this.roster.reset(self, response.existingParticipants);
    this.#seat.handleJoined(attempt, response.resumeToken, nowMs);
    this.#reconcile(new Map(self.streams.map((one) => [streamId(one.streamId), one.muted])));
    this.#event({ type: "resume-token", token: response.resumeToken });
    if (response.meeting !== undefined) this.#event({ type: "meeting", info: response.meeting });
    const { noCommonVideoCodec: noVideo, noCommonAudioCodec: noAudio } = response;
    this.#event({ type: "missing-codecs", missing: { video: noVideo, audio: noAudio } });
    // Ahead of media: nothing may be sent before it is known how.
    if (response.e2ee !== undefined) {
      this.#event({ type: "entry", entry: response.e2ee, seated: true });
    }
    const servers = readMediaServers(response, this.#options.origin);
    this.#event({ type: "seated", userId: response.userId, servers });
    if (response.sendDirective !== undefined) {
      this.#event({ type: "directive", encodings: readDirective(response.sendDirective) });
    }
    this.#updateLayout();
    this.#event({ type: "roster" });
  }

  /** After a seat was taken back: what the server still has against what is wanted. */
  #reconcile(onServer: ReadonlyMap<StreamId, boolean>): void {
    for (const id of [...this.#registered]) {
      const publication = this.#publications.get(id);
      const muted = onServer.get(id);
      if (publication === undefined) continue;
      if (muted === undefined) {
        this.#registered.delete(id);
        this.#sendPublish(publication);
      } else if (muted !== publication.muted) {
        this.#sendMute(id, publication.muted);
      }
    }
  }

  #refused(
    attempt: number,
    requestId: bigint,
    pending: Pending | undefined,
    error: ErrorMessage,
    nowMs: number,
  ): void {
    const retryAfterMs = Math.min(error.retryAfterMs ?? 1000, 60_000);
    if (requestId === this.#joinRequestId && !this.#joined) {
      const { code, message } = error;
      this.#seat.handleRefused(attempt, { code, message, retryAfterMs }, nowMs);
      return;
    }
    if (pending === undefined) return;
    if (error.retryAfterMs !== undefined && this.#postponed.length < PENDING_MAX) {
      this.#postponed.push({ at: nowMs + retryAfterMs, what: pending });
      return;
    }
    if (pending.mls !== undefined) {
      this.#event({ type: "mls-answer", id: pending.mls, outcome: outcomeOfError(error) });
      return;
    }
    if (pending.stream !== undefined) this.#publications.delete(pending.stream);
    this.#event({ type: "refused", request: pending.body.case, message: error.message });
    if (pending.stream !== undefined) this.#event({ type: "roster" });
  }

  #applyToRoster(body: ServerBody): void {
    const events = this.roster.apply(body);
    if (events === undefined) return;
    for (const event of events) {
      this.#event(event);
      if (event.type === "self-left") {
        this.#seat.finish(event.reason === "removed" ? "removed" : "meeting-ended");
      }
    }
    this.#event({ type: "roster" });
  }

  #updateLayout(): void {
    const attempt = this.#seat.attempt;
    const busy = this.#layoutRequest !== undefined;
    if (
      !this.#joined ||
      this.#layoutHeld ||
      attempt === undefined ||
      busy ||
      this.#sentLayout === this.#layout
    )
      return;
    const value = create(UpdateLayoutSchema, { layout: wireLayout(this.#layout) });
    this.#sentLayout = this.#layout;
    this.#layoutRequest = this.#send(attempt, { body: { case: "updateLayout", value } });
  }

  #sendPublish(publication: Publication): void {
    const value = publishStream(publication);
    this.#request({ case: "publishStream", value }, publication.streamId);
  }

  #sendMute(id: StreamId, muted: boolean): void {
    this.#request({ case: "setMute", value: create(SetMuteSchema, { streamId: id, muted }) });
  }

  /** To the session that counts now; nothing while there is none. */
  #request(body: ClientBody, stream?: StreamId): void {
    const attempt = this.#seat.attempt;
    const what: Pending = stream === undefined ? { body } : { body, stream };
    if (attempt !== undefined) this.#send(attempt, what);
  }

  #send(attempt: number, what: Pending): bigint {
    const id = this.#nextRequestId++;
    for (const [oldest, forgotten] of this.#pending) {
      if (this.#pending.size < PENDING_MAX) break;
      this.#pending.delete(oldest);
      this.#lose(forgotten);
    }
    this.#pending.set(id, what);
    this.#effects.push({ type: "send", attempt, message: writeClientMessage(id, what.body) });
    return id;
  }

  #forgetRequests(): void {
    const all = [...this.#pending.values(), ...this.#postponed.map((one) => one.what)];
    this.#pending.clear();
    this.#postponed = [];
    for (const one of all) this.#lose(one);
  }

  #lose(request: Pending): void {
    if (request.mls === undefined) return;
    this.#event({ type: "mls-answer", id: request.mls, outcome: { type: "lost" } });
  }
}
