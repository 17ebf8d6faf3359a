// What page and worker say to each other. Media travels in transferred objects,
// never copied.
import type {
  EncryptionState,
  JoinFailure,
  LeftReason,
  MeetingAccess,
  MeetingLayout,
  MeetingState,
  MeetingStats,
  MissingCodecs,
  ParticipantView,
  PlaceView,
  SelfView,
  SourceKind,
} from "@darktower/session";
import type { TileSize } from "./rules/receiver-report";

export type VideoKind = "camera" | "screen";

/** What the page knows of a source that it starts. */
export interface SourceInfo {
  readonly muted: boolean;
  /** Of the track, for the announcement; 0 when it does not say. */
  readonly width: number;
  readonly height: number;
}

export type ToWorker =
  | {
      readonly type: "init";
      readonly access: MeetingAccess;
      readonly resumeToken: string | undefined;
      /** Milliseconds since the Unix epoch, as the `network` message told it. */
      readonly webTransportFailedAt: number | undefined;
    }
  | { readonly type: "warm" }
  /** The way to the crypto worker. */
  | { readonly type: "crypto"; readonly port: MessagePort }
  /** There can be no crypto worker. */
  | { readonly type: "crypto-failed"; readonly message: string }
  | { readonly type: "join"; readonly name: string; readonly pressedAt: number }
  /** The ports to the worklets, once there are any. */
  | { readonly type: "sound"; readonly capture: MessagePort; readonly playout: MessagePort }
  | { readonly type: "publish"; readonly kind: SourceKind; readonly info: SourceInfo }
  | { readonly type: "unpublish"; readonly kind: SourceKind }
  | { readonly type: "video-stopped"; readonly kind: VideoKind }
  | { readonly type: "frame"; readonly kind: VideoKind; readonly frame: VideoFrame }
  | { readonly type: "mute"; readonly kind: SourceKind; readonly muted: boolean }
  | { readonly type: "layout"; readonly layout: MeetingLayout }
  | {
      readonly type: "attach";
      readonly streamId: string;
      readonly id: number;
      readonly canvas: OffscreenCanvas;
    }
  | { readonly type: "detach"; readonly streamId: string; readonly id: number }
  /** How large the canvas of this id is seen; 0 × 0: not at all. */
  | {
      readonly type: "tile";
      readonly streamId: string;
      readonly id: number;
      readonly size: TileSize;
    }
  | { readonly type: "hidden"; readonly hidden: boolean }
  | { readonly type: "receive-limit"; readonly bitsPerSecond: number }
  | { readonly type: "spotlight"; readonly participantIds: readonly string[] }
  | { readonly type: "remove"; readonly participantId: string }
  | { readonly type: "end-meeting" }
  | { readonly type: "rotate-keys" }
  | { readonly type: "leave" }
  | { readonly type: "hurry" }
  | { readonly type: "stats"; readonly id: number };

export type FromWorker =
  | { readonly type: "state"; readonly state: MeetingState }
  | {
      readonly type: "roster";
      readonly self: SelfView;
      readonly participants: readonly ParticipantView[];
    }
  | { readonly type: "speakers"; readonly participantIds: readonly string[] }
  | { readonly type: "joined"; readonly participant: ParticipantView }
  | { readonly type: "left"; readonly participant: ParticipantView; readonly reason: LeftReason }
  | { readonly type: "join-done" }
  | { readonly type: "join-failed"; readonly reason: JoinFailure; readonly message: string }
  | { readonly type: "resume-token"; readonly token: string }
  /** The meeting is encrypted: `crypto` or `crypto-failed` is waited for. */
  | { readonly type: "crypto-wanted" }
  | { readonly type: "encryption"; readonly state: EncryptionState }
  | { readonly type: "title"; readonly title: string }
  | { readonly type: "places"; readonly places: readonly (PlaceView | null)[] }
  /** User ids, first place first. */
  | { readonly type: "spotlight"; readonly userIds: readonly number[] }
  | { readonly type: "missing-codecs"; readonly missing: MissingCodecs }
  /** To be remembered of this network; undefined: WebTransport works here. */
  | { readonly type: "network"; readonly webTransportFailedAt: number | undefined }
  | { readonly type: "stats"; readonly id: number; readonly stats: MeetingStats };
