// A session over a WebSocket, for networks without UDP and browsers without
// WebTransport. Of signaling each message is one of the session's; of media each
// names its channel. What is given to the socket can't be taken back, so it is
// given little at a time (rules/socket-schedule.ts).
import {
  DATAGRAM_BYTES_MAX,
  MESSAGE_BYTES_MAX,
  ProtocolError,
  SocketChannel,
  classify,
  closeCodeOfSocket,
  socketCloseCode,
  splitChannel,
  writeOnChannel,
  writeStreamHeader,
  type StreamHeader,
} from "@darktower/protocol";
import { CloseCode, type Endpoint } from "@darktower/session";
import { SocketGroups } from "../../rules/socket-groups";
import { SocketSchedule, type OutGroup } from "../../rules/socket-schedule";
import type { GroupStream, Receiver, Session, SessionEnd, SessionKind } from "./types";

/** A socket does not tell when its queue gets shorter: between two looks at it. */
const LOOK_EVERY_MS = 5;

export class WebSocketSession implements Session {
  readonly carrier = "websocket";
  readonly ready: Promise<void>;
  readonly closed: Promise<SessionEnd>;
  readonly datagramBytesMax = DATAGRAM_BYTES_MAX;
  readonly #socket: WebSocket;
  readonly #kind: SessionKind;
  readonly #schedule = new SocketSchedule();
  #receiver: Receiver | undefined;
  #groups: SocketGroups | undefined;
  #delayMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  /** Throws where the page may not dial such an address. */
  constructor(endpoint: Endpoint, kind: SessionKind) {
    if (endpoint.websocketUrl === null) throw new Error("the server has no WebSocket");
    this.#kind = kind;
    const socket = new WebSocket(endpoint.websocketUrl);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.ready = new Promise((resolve, reject) => {
      socket.addEventListener("open", () => {
        resolve();
      });
      socket.addEventListener("close", () => {
        reject(new Error("the WebSocket could not be opened"));
      });
    });
    this.ready.catch(() => undefined);
    this.closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason }) => {
        this.#finish();
        resolve({ code: closeCodeOfSocket(code), message: reason });
      });
    });
    socket.addEventListener("message", (event: MessageEvent<unknown>) => {
      this.#take(event.data);
    });
  }

  start(receiver: Receiver): Promise<void> {
    this.#receiver = receiver;
    const { media } = receiver;
    if (media !== undefined) {
      this.#groups = new SocketGroups({
        open: (header) => media.group(header),
        discard: (cause) => {
          receiver.discard(cause);
        },
      });
    }
    return Promise.resolve();
  }

  send(message: Uint8Array): void {
    this.#schedule.control(
      this.#kind === "media" ? writeOnChannel(SocketChannel.control, message) : message,
    );
    this.#pump();
  }

  sendDatagram(datagram: Uint8Array): void {
    this.#schedule.datagram(writeOnChannel(SocketChannel.datagram, datagram), performance.now());
    this.#pump();
  }

  openGroup(header: StreamHeader): Promise<GroupStream> {
    if (this.#over) return Promise.reject(new Error("the media session is gone"));
    const group: OutGroup = { sound: header.kind === "audio" };
    // Told to the server with the first frame: one that never came opened nothing.
    let opening = [writeOnChannel(SocketChannel.group, writeStreamHeader(header))];
    return Promise.resolve({
      write: (bytes) =>
        new Promise((resolve, reject) => {
          if (this.#over) {
            reject(new Error("the media session is gone"));
            return;
          }
          const messages = [...opening, writeOnChannel(SocketChannel.frame, bytes)];
          opening = [];
          this.#schedule.frame(group, messages, resolve);
          this.#pump();
        }),
      close: () => Promise.resolve(),
      abort: () => {
        this.#schedule.giveUp(group);
      },
    });
  }

  setDelay(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  close(code: number): void {
    try {
      this.#socket.close(socketCloseCode(code));
    } catch {
      // It is gone already.
    }
    this.#finish();
  }

  /** Gives the socket what it may have now, and looks again while more waits. */
  #pump(): void {
    clearTimeout(this.#timer);
    if (this.#over) return;
    for (;;) {
      const pressure = { bufferedBytes: this.#socket.bufferedAmount, delayMs: this.#delayMs };
      const messages = this.#schedule.take(pressure, performance.now());
      if (messages.length === 0) break;
      for (const message of messages) this.#socket.send(message as Uint8Array<ArrayBuffer>);
    }
    if (this.#schedule.isEmpty) return;
    this.#timer = setTimeout(() => {
      this.#pump();
    }, LOOK_EVERY_MS);
  }

  #take(data: unknown): void {
    const receiver = this.#receiver;
    if (this.#over || receiver === undefined) return;
    try {
      if (!(data instanceof ArrayBuffer)) throw new ProtocolError("a text message");
      this.#dispatch(new Uint8Array(data), receiver);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      // The server broke the protocol: nothing after it can be trusted.
      receiver.discard("WebSocket message");
      this.close(CloseCode.protocolError);
    }
  }

  #dispatch(message: Uint8Array, receiver: Receiver): void {
    if (this.#kind === "signaling") {
      if (message.length > MESSAGE_BYTES_MAX) throw new ProtocolError("a message too long");
      receiver.control(classify(message));
      return;
    }
    const { channel, body } = splitChannel(message);
    switch (channel) {
      case SocketChannel.control:
        receiver.control(classify(body));
        return;
      case SocketChannel.datagram:
        receiver.media?.datagram(body);
        return;
      case SocketChannel.group:
      case SocketChannel.frame:
        this.#takeMedia(channel, body, receiver);
    }
  }

  /** What is malformed here costs itself, as it costs a stream of WebTransport's. */
  #takeMedia(channel: SocketChannel, body: Uint8Array, receiver: Receiver): void {
    try {
      if (channel === SocketChannel.group) this.#groups?.handleHeader(body);
      else this.#groups?.handleFrame(body);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      receiver.discard("malformed stream");
    }
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#groups?.close();
  }
}
