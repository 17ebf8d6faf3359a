// The types of the SDK's public face: what a page says to a meeting and what it
// hears. Views are immutable snapshots; a change gives new objects.
import type { GroupView, Suite } from "@darktower/crypto";
import type { HandlerId, MeetingCode, ParticipantId, StreamId } from "./ids";

/** A server to dial. */
export interface Endpoint {
  /** `https://HOST:PORT/…`, for WebTransport. */
  readonly url: string;
  /** Whole, `wss://` or `ws://`; null where there is no such way in. */
  readonly websocketUrl: string | null;
  /** SHA-256 of each certificate to be met; empty where it is publicly trusted. */
  readonly certificateHashes: readonly Uint8Array[];
}

export interface HandlerEndpoint extends Endpoint {
  readonly handlerId: HandlerId;
}

/** All that a join needs. */
export interface MeetingAccess {
  readonly meetingId: string;
  readonly code: MeetingCode;
  /** The link to send to others. */
  readonly url: string;
  readonly displayName: string;
  readonly joinToken: string;
  /** When the join token ends. */
  readonly expiresAt: Date;
  /** Only for who created the meeting: renews join tokens, changes and ends it. */
  readonly hostToken?: string;
  readonly maxParticipants: number;
  readonly participantCount: number;
  /** End-to-end: who can't encrypt is refused. */
  readonly encrypted: boolean;
  /** Of the API, as the page reached it. */
  readonly origin: string;
  readonly controller: Endpoint;
  readonly handlers: readonly HandlerEndpoint[];
}

export type JoinFailure =
  | "full"
  | "ended"
  | "not-found"
  | "unauthorized"
  | "unsupported"
  /** The meeting is end-to-end encrypted, and this browser can't do that. */
  | "encryption-unsupported"
  /** The meeting was said to be end-to-end encrypted, and then not. */
  | "not-encrypted"
  | "unreachable"
  | "rate-limited"
  | "failed";

/** A join came to nothing. */
export class JoinError extends Error {
  override readonly name = "JoinError";
  readonly reason: JoinFailure;

  constructor(reason: JoinFailure, message: string) {
    super(message);
    this.reason = reason;
  }
}

export type EndReason =
  /** This participant left. */
  | "left"
  /** The host removed this participant. */
  | "removed"
  | "meeting-ended"
  /** The same seat was taken by a newer session (another tab). */
  | "replaced"
  /** The connection could not be got back in time. */
  | "lost"
  /** Inside an encrypted meeting this browser lost the ability to encrypt. */
  | "encryption-unsupported"
  /** The server came to say that an encrypted meeting is not encrypted. */
  | "not-encrypted"
  /** The server refused the session for good. */
  | "failed";

export type MeetingState =
  | { readonly phase: "idle" }
  | { readonly phase: "connecting" }
  | { readonly phase: "joined" }
  /** `since`: milliseconds since the Unix epoch. */
  | { readonly phase: "reconnecting"; readonly since: number }
  | { readonly phase: "ended"; readonly reason: EndReason };

export type Role = "host" | "participant" | "guest";
export type SourceKind = "microphone" | "camera" | "screen";

export interface StreamView {
  readonly streamId: StreamId;
  readonly muted: boolean;
  /** A first frame was drawn (video) or heard (audio) since it was unmuted. */
  readonly live: boolean;
  /** Pixels of the picture as received; 0 until known. */
  readonly width: number;
  readonly height: number;
}

export interface ParticipantView {
  readonly participantId: ParticipantId;
  readonly userId: number;
  readonly name: string;
  readonly role: Role;
  /** False: the session is gone and the seat is kept. */
  readonly connected: boolean;
  readonly joinedAt: Date;
  readonly camera?: StreamView;
  readonly screen?: StreamView;
  readonly microphone?: StreamView;
}

/** How a meeting is protected at this moment; nothing is sent or shown otherwise. */
export type EncryptionState =
  /** On the way to and from the server only: the server could listen. */
  | { readonly kind: "transport" }
  /** End-to-end, and the keys are not here yet: nothing is sent or shown. */
  | { readonly kind: "waiting" }
  /** End-to-end, with all there is to check. */
  | { readonly kind: "end-to-end"; readonly suite: Suite; readonly view: GroupView };

/** This participant; `participantId` is empty before the first join. */
export type SelfView = ParticipantView;

export interface LayoutOptions {
  /** User ids, kept in front. */
  readonly pinned?: readonly number[];
  /** User ids that get no place. */
  readonly excluded?: readonly number[];
  /** The own camera takes a place, too. */
  readonly includeSelf?: boolean;
  /** Whose camera is on comes before whose is off. */
  readonly preferVideo?: boolean;
}

/** Which places there are; the server says who has them ({@link PlaceView}). */
export type MeetingLayout = LayoutOptions &
  (
    | { readonly kind: "grid"; readonly rows: number; readonly columns: number }
    /** One large tile, and so many beside it. */
    | { readonly kind: "speaker"; readonly strip: number }
  );

/** Who has a place of the layout. */
export interface PlaceView {
  readonly streamId: StreamId;
  readonly participantId: ParticipantId;
  readonly userId: number;
  readonly kind: "camera" | "screen";
}

/** True: nobody here sends what this browser decodes. */
export interface MissingCodecs {
  readonly video: boolean;
  readonly audio: boolean;
}

export interface MeetingOptions {
  /** What a former session of this page was given; takes the same seat. */
  readonly resumeToken?: string;
}

export type LeftReason = "left" | "removed" | "lost" | "meeting-ended";

export interface MeetingEvents {
  state: MeetingState;
  participants: ReadonlyMap<string, ParticipantView>;
  /** Participant ids, loudest first. */
  speakers: readonly string[];
  joined: ParticipantView;
  left: { readonly participant: ParticipantView; readonly reason: LeftReason };
  /** A device track ended by itself (unplugged, permission withdrawn, sharing stopped). */
  trackEnded: SourceKind;
  /** True: the browser plays no sound before the person touches the page. */
  soundBlocked: boolean;
  /** To be kept for a reload; replaces the one before. */
  resumeToken: string;
  encryption: EncryptionState;
  /** The meeting's name, at the join and when the host changes it. */
  title: string;
  /** In reading order, the large tile first; null: nobody has the place. */
  places: readonly (PlaceView | null)[];
  /** Participant ids of whom the host put before everybody, first place first. */
  spotlight: readonly string[];
  missingCodecs: MissingCodecs;
}

export type CarrierName = "datagram" | "stream";

/** One encoding of what is sent: a size of the same picture. */
export interface EncodingStats {
  /** 0 is the smallest. */
  readonly encoding: number;
  readonly active: boolean;
  /** FourCC. */
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  /** Bits per second that the encoder is to keep to. */
  readonly bitrate: number;
  readonly frames: number;
  readonly keyFrames: number;
  readonly fps: number;
  readonly kbps: number;
}

export interface OutgoingStats {
  readonly streamId: string;
  readonly kind: SourceKind;
  readonly carrier: CarrierName;
  /** Somebody receives it. */
  readonly active: boolean;
  readonly muted: boolean;
  readonly frames: number;
  readonly keyFrames: number;
  readonly bytes: number;
  readonly fps: number;
  readonly kbps: number;
  /** Of the largest encoding that somebody receives, else of the largest. */
  readonly width: number;
  readonly height: number;
  /** Smallest first; frames, bytes and rates above are of all together. */
  readonly encodings: readonly EncodingStats[];
  /** Sound is sent twice, because some of it does not arrive. */
  readonly repeating: boolean;
  /** Captured pictures not encoded because the encoder or the path was behind. */
  readonly droppedFrames: number;
  /** Groups given up because they were late. */
  readonly droppedGroups: number;
}

export interface IncomingVideoStats {
  readonly streamId: string;
  readonly participantId: string;
  readonly kind: "camera" | "screen";
  readonly carrier: CarrierName | "none";
  readonly frames: number;
  readonly drawn: number;
  readonly bytes: number;
  readonly fps: number;
  readonly kbps: number;
  readonly width: number;
  readonly height: number;
  /** The one that is shown, 0 the smallest; null before the first frame. */
  readonly encoding: number | null;
  /** FourCC; empty before the first frame. */
  readonly codec: string;
  /** Times that another encoding took over. */
  readonly switches: number;
  /** Frames known to be missing. */
  readonly lost: number;
  readonly decodeErrors: number;
  readonly keyframeRequests: number;
  /** Frames that could not be opened, of epochs that this client is part of. */
  readonly decryptFailures: number;
  /** Mean milliseconds from capture to drawing; clocks of both sides must agree. */
  readonly latencyMs: number;
}

export interface IncomingAudioStats {
  readonly streamId: string;
  readonly participantId: string;
  readonly packets: number;
  readonly bytes: number;
  readonly kbps: number;
  readonly lost: number;
  readonly decodeErrors: number;
  /** As of video. */
  readonly decryptFailures: number;
  /** Largest sample (0 to 1) played in the last half second. */
  readonly peak: number;
  /** Largest sample played since the stream began. */
  readonly peakMax: number;
  /** Times the sound rose above −40 dBFS after quiet: beeps heard. */
  readonly onsets: number;
  readonly bufferMs: number;
  readonly targetMs: number;
  readonly playedMs: number;
  readonly concealedMs: number;
  readonly underruns: number;
}

export interface JoinTimings {
  /** Milliseconds since the Unix epoch. */
  readonly pressedAt: number;
  /** Milliseconds after `pressedAt`; null until it happened. */
  readonly joinedMs: number | null;
  readonly mediaReadyMs: number | null;
  /** Of an encrypted meeting: the first keys. */
  readonly keysMs: number | null;
  readonly firstVideoFrameMs: number | null;
  readonly firstVideoDecodedMs: number | null;
  readonly firstVideoDrawnMs: number | null;
  readonly firstAudioMs: number | null;
}

/** End-to-end encryption in figures. */
export interface EncryptionStats {
  readonly suite: Suite;
  /** Of groups, counted from 1 in a meeting. */
  readonly group: number;
  readonly epoch: number;
  /** Own leaf; null while there are no keys. */
  readonly leaf: number | null;
  readonly sealed: number;
  readonly opened: number;
  /** All streams together. */
  readonly decryptFailures: number;
  /** Mean milliseconds in which a frame was opened, waiting for its turn included. */
  readonly openMs: number;
}

/** What carries a session: QUIC over UDP, or TCP. */
export type TransportName = "webtransport" | "websocket";

/** Why it is not WebTransport: it does not get through here, or the browser has none. */
export type TransportReason = "blocked" | "unsupported";

export interface TransportStats {
  readonly carrier: TransportName;
  /** Null for WebTransport, and where the server has nothing else. */
  readonly reason: TransportReason | null;
}

/** One of the seat's media handlers. */
export interface HandlerStats {
  readonly handlerId: string;
  /** Pictures go there and come from there; by the others sound does too. */
  readonly home: boolean;
  /** Media goes both ways. */
  readonly connected: boolean;
  /** Null while there is no session. */
  readonly transport: TransportStats | null;
  /** Milliseconds; null before the first answer. */
  readonly rttMs: number | null;
  /** Datagrams of ours that did not arrive there, in millionths; null until it is known. */
  readonly lostPpm: number | null;
}

export interface MeetingStats {
  readonly phase: MeetingState["phase"];
  /** Null while there is no session; ahead of the join that of the one that is warm. */
  readonly signalingTransport: TransportStats | null;
  /** Of the home, and while that is gone of a spare. */
  readonly mediaTransport: TransportStats | null;
  /** Milliseconds; null before the first answer. */
  readonly controllerRttMs: number | null;
  readonly mediaRttMs: number | null;
  readonly mediaConnected: boolean;
  /** The home first. */
  readonly handlers: readonly HandlerStats[];
  /** Datagrams of ours that did not arrive, in millionths; null until it is known. */
  readonly uplinkLostPpm: number | null;
  /** The decoders can't keep up with what comes. */
  readonly overloaded: boolean;
  readonly outgoing: readonly OutgoingStats[];
  readonly video: readonly IncomingVideoStats[];
  readonly audio: readonly IncomingAudioStats[];
  /** Null where the meeting is not end-to-end encrypted. */
  readonly encryption: EncryptionStats | null;
  /** What came in and was thrown away, by cause. */
  readonly discarded: Readonly<Record<string, number>>;
  /** Of the AudioContext: "running", or no sound is heard. */
  readonly audioOutput: string;
  readonly joinTimings: JoinTimings | null;
}
