// What a session is to those who use it, whatever carries it: control messages,
// datagrams, groups of frames both ways, and an end with a code. Implemented by
// webtransport.ts and websocket.ts; nothing outside this folder knows which.
import type { FrameHeader, Framed, StreamHeader } from "@darktower/protocol";
import type { Endpoint, TransportName } from "@darktower/session";

/** The answer to a `closed` that does not come after the control channel ended. */
export const CLOSE_GRACE_MS = 300;

/** Which of the two sessions: the WebSocket of signaling has no channels. */
export type SessionKind = "signaling" | "media";

/** How a session ended; no code when it broke. */
export interface SessionEnd {
  readonly code: number | undefined;
  readonly message: string;
}

/** Where the frames of one incoming group go. */
export interface GroupSink {
  /** A promise: there is no room for another before it resolves. */
  frame(header: FrameHeader, payload: Uint8Array): Promise<void> | void;
  end(): void;
}

/** Who gets what arrives. */
export interface Receiver {
  /** May throw a ProtocolError, which ends the session. */
  control(framed: Framed): void;
  /** What came in and was thrown away. */
  discard(cause: string): void;
  /** Absent for signaling: media is not read there. */
  readonly media?: MediaReceiver;
}

export interface MediaReceiver {
  /** Not checked yet. */
  datagram(bytes: Uint8Array): void;
  /** Undefined: nobody wants this stream. */
  group(header: StreamHeader): GroupSink | undefined;
}

/** A group on its way out. */
export interface GroupStream {
  /** Resolves when the next may be given; rejects when the group came to nothing. */
  write(frame: Uint8Array): Promise<void>;
  /** No more will come. */
  close(): Promise<void>;
  /** Gives up what was not sent. */
  abort(): void;
}

export interface Session {
  readonly carrier: TransportName;
  /** It can be used; rejects when it could not be opened. */
  readonly ready: Promise<void>;
  /** Its end; never rejects. */
  readonly closed: Promise<SessionEnd>;
  /** Bytes of a whole datagram that the way to the server takes. */
  readonly datagramBytesMax: number;
  /** Begins to use a session that is ready, once; resolves when messages can be sent. */
  start(receiver: Receiver): Promise<void>;
  /** Queues one control message or RTT packet; a broken session shows by `closed`. */
  send(message: Uint8Array): void;
  sendDatagram(datagram: Uint8Array): void;
  /** Higher `sendOrder` goes first where the carrier can. */
  openGroup(header: StreamHeader, sendOrder: number): Promise<GroupStream>;
  /** Milliseconds that what is sent now is behind, as RTT packets show. */
  setDelay(delayMs: number): void;
  close(code: number): void;
}

/** Dials; throws for an address that can't be dialled. */
export type Dial = (endpoint: Endpoint, kind: SessionKind) => Session;
