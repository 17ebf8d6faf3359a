// The envelopes: how a message becomes bytes and back, with the version check.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ProtocolError } from "./error";
import {
  ClientMessageSchema,
  ServerMessageSchema,
  type ClientMessage,
  type ServerMessage,
} from "./gen/darktower/v1/signaling_pb";
import {
  MediaClientMessageSchema,
  MediaServerMessageSchema,
  type MediaClientMessage,
  type MediaServerMessage,
} from "./gen/darktower/v1/media_pb";

/** The only version there is; it stands in every envelope. */
export const PROTOCOL_VERSION = 1;

type Known<Body> = Exclude<Body, { case: undefined }>;
export type ClientBody = Known<ClientMessage["body"]>;
export type ServerBody = Known<ServerMessage["body"]>;
export type MediaClientBody = Known<MediaClientMessage["body"]>;
export type MediaServerBody = Known<MediaServerMessage["body"]>;

/** What a server said: an answer repeats the request's id, a push has 0. */
export interface Received<Body> {
  readonly requestId: bigint;
  readonly body: Body;
}

/** A client's message as bytes, not framed. `requestId` 0 wants no answer. */
export function writeClientMessage(
  requestId: bigint,
  body: ClientBody,
  traceparent = "",
): Uint8Array {
  const message = create(ClientMessageSchema, {
    version: PROTOCOL_VERSION,
    requestId,
    traceparent,
    body,
  });
  return toBinary(ClientMessageSchema, message);
}

/** A client's message to a media handler as bytes, not framed. */
export function writeMediaClientMessage(requestId: bigint, body: MediaClientBody): Uint8Array {
  const message = create(MediaClientMessageSchema, { version: PROTOCOL_VERSION, requestId, body });
  return toBinary(MediaClientMessageSchema, message);
}

/**
 * Undefined for a body that only a later version knows: to be ignored.
 * @throws {ProtocolError} when it is malformed or of another version
 */
export function readServerMessage(bytes: Uint8Array): Received<ServerBody> | undefined {
  const message = guard(() => fromBinary(ServerMessageSchema, bytes));
  checkVersion(message.version);
  if (message.body.case === undefined) return undefined;
  return { requestId: message.requestId, body: message.body };
}

/**
 * Undefined for a body that only a later version knows: to be ignored.
 * @throws {ProtocolError} when it is malformed or of another version
 */
export function readMediaServerMessage(bytes: Uint8Array): Received<MediaServerBody> | undefined {
  const message = guard(() => fromBinary(MediaServerMessageSchema, bytes));
  checkVersion(message.version);
  if (message.body.case === undefined) return undefined;
  return { requestId: message.requestId, body: message.body };
}

function guard<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new ProtocolError("not a valid protobuf message", { cause });
  }
}

function checkVersion(version: number): void {
  if (version !== PROTOCOL_VERSION) {
    throw new ProtocolError(`protocol version ${version} is not supported`);
  }
}
