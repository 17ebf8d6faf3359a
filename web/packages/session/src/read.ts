// The server's messages as what the rest of the client works with: ids branded,
// kinds known, lists cut at what a client can use.
import {
  Carrier,
  type JoinResponse,
  type MediaServerInfo,
  type SendDirective,
  type StreamAssignments,
} from "@darktower/protocol";
import type { CarrierName, HandlerEndpoint } from "./api";
import type { Assignment } from "./assignments";
import { handlerId, participantId, streamId, type HandlerId, type StreamId } from "./ids";
import { carrierName, kindOfStream } from "./roster";
import { webSocketUrl } from "./websocket-url";

/** Taken from one message at most. */
const HANDLERS_MAX = 8;
const HASHES_MAX = 4;
const ENCODINGS_MAX = 64;
const ASSIGNMENTS_MAX = 1024;

export interface EncodingOrder {
  readonly streamId: StreamId;
  /** 0 is the smallest. */
  readonly encoding: number;
  readonly active: boolean;
  readonly carrier: CarrierName | undefined;
  readonly handlerIds: readonly HandlerId[];
  /** Bits per second, 0: as published. */
  readonly maxBitrate: number;
  /** FourCC, empty: as published. */
  readonly codec: string;
}

/** A handler to dial with a token that was made for it. */
export interface MediaServer {
  readonly endpoint: HandlerEndpoint;
  readonly token: string;
}

export function readAssignments(message: StreamAssignments): Assignment[] {
  const list: Assignment[] = [];
  for (const one of message.assignments.slice(0, ASSIGNMENTS_MAX)) {
    const kind = kindOfStream(one.streamType);
    // A mix has no stream and no person; this client does not ask for one.
    if (kind === undefined || one.mixed) continue;
    list.push({
      slot: one.slot,
      streamId: streamId(one.streamId),
      participantId: participantId(one.participantId),
      userId: one.userId,
      kind,
      carrier: carrierName(one.carrier, kind),
      codec: one.codec,
    });
  }
  return list;
}

export function readDirective(directive: SendDirective): EncodingOrder[] {
  return directive.encodings.slice(0, ENCODINGS_MAX).map((one) => ({
    streamId: streamId(one.streamId),
    encoding: one.encoding,
    active: one.active,
    carrier: carrierOf(one.carrier),
    handlerIds: one.handlerIds.slice(0, HANDLERS_MAX).map(handlerId),
    maxBitrate: one.maxBitrate,
    codec: one.codec,
  }));
}

export function readMediaServers(response: JoinResponse, origin: string): MediaServer[] {
  const wire = response.mediaServers.slice(0, HANDLERS_MAX);
  if (wire.length === 0 && response.mediaServer !== undefined) wire.push(response.mediaServer);
  return wire.map((one) => readMediaServer(one, origin)).filter((one) => one !== undefined);
}

/** Undefined when it is no address that a browser may dial. */
export function readMediaServer(info: MediaServerInfo, origin: string): MediaServer | undefined {
  if (!info.mediaHandlerUrl.startsWith("https://")) return undefined;
  return {
    endpoint: {
      handlerId: handlerId(info.handlerId),
      url: info.mediaHandlerUrl,
      websocketUrl: webSocketUrl(info.websocketUrl, origin),
      certificateHashes: info.certificateHashes.slice(0, HASHES_MAX),
    },
    token: info.connectionToken,
  };
}

function carrierOf(carrier: Carrier): CarrierName | undefined {
  if (carrier === Carrier.DATAGRAM) return "datagram";
  if (carrier === Carrier.STREAM) return "stream";
  return undefined;
}
