// Who is in the meeting and what they send, kept up by the server's messages.
// What the server can make grow is bounded; what is above is left out.
import {
  Carrier,
  ConnectionState,
  LeaveReason,
  Role as WireRole,
  StreamType,
  isUuid,
  type MediaStream as WireStream,
  type Participant,
  type ServerBody,
} from "@darktower/protocol";
import type { CarrierName, LeftReason, Role, SourceKind } from "./api";
import { participantId, streamId, type ParticipantId, type StreamId } from "./ids";

const PARTICIPANTS_MAX = 4096;
const STREAMS_MAX = 16;

export interface StreamRecord {
  readonly streamId: StreamId;
  readonly kind: SourceKind;
  readonly number: number;
  readonly carrier: CarrierName;
  readonly muted: boolean;
}

export interface ParticipantRecord {
  readonly participantId: ParticipantId;
  readonly userId: number;
  readonly name: string;
  readonly role: Role;
  readonly connected: boolean;
  readonly joinedAt: Date;
  readonly streams: ReadonlyMap<StreamId, StreamRecord>;
}

export type RosterEvent =
  | { readonly type: "joined"; readonly participant: ParticipantRecord }
  | { readonly type: "left"; readonly participant: ParticipantRecord; readonly reason: LeftReason }
  /** This participant is out. */
  | { readonly type: "self-left"; readonly reason: LeftReason };

export class Roster {
  #self: ParticipantRecord | undefined;
  readonly #others = new Map<ParticipantId, ParticipantRecord>();
  readonly #owners = new Map<StreamId, ParticipantId>();

  get self(): ParticipantRecord | undefined {
    return this.#self;
  }

  get others(): ReadonlyMap<ParticipantId, ParticipantRecord> {
    return this.#others;
  }

  /** Whose stream it is, and what it is; only of others. */
  stream(id: StreamId): { owner: ParticipantRecord; stream: StreamRecord } | undefined {
    const owner = this.#others.get(this.#owners.get(id) ?? participantId(""));
    const stream = owner?.streams.get(id);
    return owner === undefined || stream === undefined ? undefined : { owner, stream };
  }

  /** The whole truth of a JoinResponse; replaces what was known. */
  reset(self: Participant, others: readonly Participant[]): void {
    this.#self = record(self);
    this.#others.clear();
    this.#owners.clear();
    for (const other of others) this.#put(record(other));
  }

  /** Takes one message; undefined when it changed nothing here. */
  apply(body: ServerBody): readonly RosterEvent[] | undefined {
    switch (body.case) {
      case "participantJoined": {
        if (body.value.participant === undefined) return undefined;
        const joined = record(body.value.participant);
        if (joined.participantId === this.#self?.participantId) return undefined;
        const isNew = !this.#others.has(joined.participantId);
        if (!this.#put(joined)) return undefined;
        return isNew ? [{ type: "joined", participant: joined }] : [];
      }
      case "participantLeft":
        return this.#left(participantId(body.value.participantId), leftReason(body.value.reason));
      case "participantUpdated": {
        const { connection, role, mutes } = body.value;
        return this.#change(body.value.participantId, (before) => {
          const streams = new Map(before.streams);
          for (const mute of mutes) {
            const stream = streams.get(streamId(mute.streamId));
            if (stream !== undefined)
              streams.set(stream.streamId, { ...stream, muted: mute.muted });
          }
          return {
            ...before,
            streams,
            connected:
              connection === undefined
                ? before.connected
                : connection !== ConnectionState.DISCONNECTED,
            role: role === undefined ? before.role : roleOf(role),
          };
        });
      }
      case "streamPublished": {
        const stream =
          body.value.stream === undefined ? undefined : streamRecord(body.value.stream);
        if (stream === undefined) return undefined;
        return this.#change(body.value.participantId, (before) => {
          if (before.streams.size >= STREAMS_MAX && !before.streams.has(stream.streamId))
            return before;
          return { ...before, streams: new Map(before.streams).set(stream.streamId, stream) };
        });
      }
      case "streamUnpublished": {
        const id = streamId(body.value.streamId);
        return this.#change(body.value.participantId, (before) => {
          const streams = new Map(before.streams);
          streams.delete(id);
          return { ...before, streams };
        });
      }
      default:
        return undefined;
    }
  }

  #left(id: ParticipantId, reason: LeftReason): readonly RosterEvent[] | undefined {
    if (id === this.#self?.participantId) return [{ type: "self-left", reason }];
    const participant = this.#others.get(id);
    if (participant === undefined) return undefined;
    this.#others.delete(id);
    for (const stream of participant.streams.keys()) this.#owners.delete(stream);
    return [{ type: "left", participant, reason }];
  }

  #change(
    id: string,
    edit: (before: ParticipantRecord) => ParticipantRecord,
  ): readonly RosterEvent[] | undefined {
    if (id === this.#self?.participantId) {
      this.#self = edit(this.#self);
      return [];
    }
    const before = this.#others.get(participantId(id));
    if (before === undefined) return undefined;
    this.#put(edit(before));
    return [];
  }

  #put(participant: ParticipantRecord): boolean {
    const before = this.#others.get(participant.participantId);
    if (before === undefined && this.#others.size >= PARTICIPANTS_MAX) return false;
    for (const stream of before?.streams.keys() ?? []) this.#owners.delete(stream);
    for (const stream of participant.streams.keys()) {
      this.#owners.set(stream, participant.participantId);
    }
    this.#others.set(participant.participantId, participant);
    return true;
  }
}

function record(participant: Participant): ParticipantRecord {
  const streams = new Map<StreamId, StreamRecord>();
  for (const wire of participant.streams.slice(0, STREAMS_MAX)) {
    const stream = streamRecord(wire);
    if (stream !== undefined) streams.set(stream.streamId, stream);
  }
  return {
    participantId: participantId(participant.participantId),
    userId: Number(participant.userId),
    name: participant.name,
    role: roleOf(participant.role),
    connected: participant.connection !== ConnectionState.DISCONNECTED,
    joinedAt: new Date(Number(participant.joinedAt)),
    streams,
  };
}

/** Undefined for a kind of a later version. */
export function streamRecord(stream: WireStream): StreamRecord | undefined {
  const kind = kindOfStream(stream.streamType);
  if (kind === undefined || !isUuid(stream.streamId)) return undefined;
  return {
    streamId: streamId(stream.streamId),
    kind,
    number: stream.streamNumber,
    carrier: carrierName(stream.carrier, kind),
    muted: stream.muted,
  };
}

export function kindOfStream(type: StreamType): SourceKind | undefined {
  switch (type) {
    case StreamType.AUDIO:
      return "microphone";
    case StreamType.VIDEO_CAMERA:
      return "camera";
    case StreamType.VIDEO_SCREEN:
      return "screen";
    default:
      return undefined;
  }
}

export function streamTypeOf(kind: SourceKind): StreamType {
  switch (kind) {
    case "microphone":
      return StreamType.AUDIO;
    case "camera":
      return StreamType.VIDEO_CAMERA;
    case "screen":
      return StreamType.VIDEO_SCREEN;
  }
}

export function carrierName(carrier: Carrier, kind: SourceKind): CarrierName {
  if (carrier === Carrier.DATAGRAM) return "datagram";
  if (carrier === Carrier.STREAM) return "stream";
  return kind === "microphone" ? "datagram" : "stream";
}

function roleOf(role: WireRole): Role {
  switch (role) {
    case WireRole.HOST:
      return "host";
    case WireRole.GUEST:
      return "guest";
    default:
      return "participant";
  }
}

function leftReason(reason: LeaveReason): LeftReason {
  switch (reason) {
    case LeaveReason.KICKED:
      return "removed";
    case LeaveReason.CONNECTION_LOST:
      return "lost";
    case LeaveReason.MEETING_ENDED:
      return "meeting-ended";
    default:
      return "left";
  }
}
