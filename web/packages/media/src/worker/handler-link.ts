// A media session with one handler: opened ahead of the join where it can be,
// kept alive by RTT packets, opened again with a fresh token when it is lost.
// What it brings is handed on parsed; what breaks the rules is counted and
// dropped, or costs the stream that brought it.
import { create } from "@bufbuild/protobuf";
import {
  DATAGRAM_BYTES_SAFE,
  DATAGRAM_TAG,
  GroupParser,
  MediaHelloSchema,
  ProtocolError,
  RequestKeyframeSchema,
  parseDatagram,
  readMediaServerMessage,
  writeMediaClientMessage,
  type FrameHeader,
  type Framed,
  type ParsedDatagram,
  type StreamHeader,
} from "@darktower/protocol";
import {
  Backoff,
  CloseCode,
  Liveness,
  type HandlerEndpoint,
  type HandlerId,
  type MediaServer,
} from "@darktower/session";
import type { MediaPath } from "./outgoing";
import { ControlStream, closeQuietly, closedWith, dial } from "./transport";

const OPEN_TIMEOUT_MS = 5000;
/** Streams read at once at most; further ones are refused. */
const STREAMS_MAX = 128;
const DATAGRAMS_QUEUED_MAX = 256;

/** Where the frames of one incoming stream go. */
export interface GroupSink {
  /** A promise: there is no room for another before it resolves. */
  frame(header: FrameHeader, payload: Uint8Array): Promise<void> | void;
  end(): void;
}

export interface HandlerEvents {
  /** Media can be sent and received. */
  ready(link: HandlerLink): void;
  lost(link: HandlerLink): void;
  /** A fresh token is wanted for {@link HandlerLink.start}. */
  needToken(id: HandlerId): void;
  /** Undefined: nobody wants this stream. */
  group(header: StreamHeader): GroupSink | undefined;
  datagram(datagram: ParsedDatagram): void;
  keyframe(streamId: string): void;
  discard(cause: string): void;
}

interface Session {
  readonly transport: WebTransport;
  control: ControlStream | undefined;
  datagrams: WritableStreamDefaultWriter<Uint8Array> | undefined;
  liveness: Liveness | undefined;
  /** A token was spent on it. */
  started: boolean;
  welcomed: boolean;
}

export class HandlerLink implements MediaPath {
  readonly id: HandlerId;
  /** Bytes of a whole datagram that may be sent. */
  datagramBytes = DATAGRAM_BYTES_SAFE;
  readonly #events: HandlerEvents;
  readonly #backoff = new Backoff(Math.random);
  #endpoint: HandlerEndpoint;
  #session: Session | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #streams = 0;
  #closed = false;

  constructor(endpoint: HandlerEndpoint, events: HandlerEvents) {
    this.id = endpoint.handlerId;
    this.#endpoint = endpoint;
    this.#events = events;
  }

  get ready(): boolean {
    return this.#session?.welcomed === true;
  }

  get rttMs(): number | null {
    return this.#session?.liveness?.rttMs ?? null;
  }

  /** Opens the session ahead of the token. */
  warm(): void {
    if (this.#session === undefined && !this.#closed) this.#dial();
  }

  /** Begins media with a token, on the warm session if there is one. */
  start(server: MediaServer): void {
    if (this.#closed || this.#session?.started === true) return;
    this.#endpoint = server.endpoint;
    const session = this.#session ?? this.#dial();
    session.started = true;
    void this.#hello(session, server.token);
  }

  /** No token was to be had: asks again, a little later. */
  handleNoToken(): void {
    if (this.#session?.started !== true) this.#retry();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.#session !== undefined) closeQuietly(this.#session.transport, CloseCode.graceful);
    this.#session = undefined;
  }

  requestKeyframe(streamId: string, encoding: number): void {
    const value = create(RequestKeyframeSchema, { streamId, encoding });
    this.#session?.control?.send(writeMediaClientMessage(0n, { case: "requestKeyframe", value }));
  }

  sendDatagram(datagram: Uint8Array): void {
    this.#session?.datagrams?.write(datagram).catch(() => undefined);
  }

  /** A stream for a group; higher `sendOrder` goes first where the browser can. */
  async openStream(sendOrder: number): Promise<WritableStreamDefaultWriter<Uint8Array>> {
    const transport = this.#session?.transport;
    if (transport === undefined) throw new Error("the media session is gone");
    const stream = await transport.createUnidirectionalStream({ sendOrder });
    return (stream as WritableStream<Uint8Array>).getWriter();
  }

  #dial(): Session {
    const transport = dial(this.#endpoint);
    const session: Session = {
      transport,
      control: undefined,
      datagrams: undefined,
      liveness: undefined,
      started: false,
      welcomed: false,
    };
    this.#session = session;
    void closedWith(transport).then(() => {
      this.#gone(session);
    });
    return session;
  }

  async #hello(session: Session, token: string): Promise<void> {
    const timeout = setTimeout(() => {
      this.#gone(session);
    }, OPEN_TIMEOUT_MS);
    try {
      await session.transport.ready;
      const control = await ControlStream.open(session.transport);
      session.control = control;
      const value = create(MediaHelloSchema, { connectionToken: token });
      control.send(writeMediaClientMessage(1n, { case: "hello", value }));
      session.datagrams = datagramWriter(session.transport);
      void this.#readStreams(session);
      void this.#readDatagrams(session);
      await control.read((framed) => {
        if (this.#take(session, framed)) clearTimeout(timeout);
      });
    } catch (error) {
      if (error instanceof ProtocolError) this.#events.discard("media control message");
    }
    clearTimeout(timeout);
    this.#gone(session);
  }

  /** True once the handler let this session in. */
  #take(session: Session, framed: Framed): boolean {
    const now = performance.now();
    if (framed.type === "rtt") {
      session.liveness?.handleEcho(framed.bytes, now);
      return session.welcomed;
    }
    session.liveness?.heard(now);
    const message = readMediaServerMessage(framed.bytes);
    if (message === undefined) return session.welcomed;
    const { body } = message;
    switch (body.case) {
      case "welcome":
        session.welcomed = true;
        session.liveness = new Liveness(now);
        this.#backoff.reset();
        this.datagramBytes = datagramLimit(session.transport, body.value.maxDatagramBytes);
        this.#beat(session);
        this.#events.ready(this);
        break;
      case "requestKeyframe":
        this.#events.keyframe(body.value.streamId);
        break;
      case "error":
        this.#events.discard("media error message");
        break;
    }
    return session.welcomed;
  }

  #beat(session: Session): void {
    const { liveness, control } = session;
    if (liveness === undefined || this.#session !== session) return;
    for (;;) {
      const probe = liveness.poll(performance.now());
      if (probe.type === "dead") {
        this.#gone(session);
        return;
      }
      if (probe.type === "wait") break;
      control?.send(probe.packet);
    }
    const wait = Math.max(0, liveness.due - performance.now());
    this.#timer = setTimeout(() => {
      this.#beat(session);
    }, wait);
  }

  async #readStreams(session: Session): Promise<void> {
    const streams = session.transport.incomingUnidirectionalStreams as ReadableStream<
      ReadableStream<Uint8Array>
    >;
    const reader = streams.getReader();
    try {
      for (;;) {
        const { done, value: stream } = await reader.read();
        if (done) return;
        if (this.#streams >= STREAMS_MAX) {
          this.#events.discard("too many streams");
          stream.cancel().catch(() => undefined);
        } else {
          void this.#readGroup(stream);
        }
      }
    } catch {
      // The session is gone; `closed` tells.
    }
  }

  async #readGroup(stream: ReadableStream<Uint8Array>): Promise<void> {
    this.#streams += 1;
    const parser = new GroupParser();
    const reader = stream.getReader();
    let sink: GroupSink | undefined;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        parser.push(value);
        for (let item = parser.next(); item !== undefined; item = parser.next()) {
          if (item.type === "frame") {
            await sink?.frame(item.header, item.payload);
            continue;
          }
          sink = this.#events.group(item.header);
          if (sink === undefined) {
            this.#events.discard("stream nobody asked for");
            await reader.cancel();
            return;
          }
        }
      }
    } catch (error) {
      if (error instanceof ProtocolError) {
        this.#events.discard("malformed stream");
        reader.cancel().catch(() => undefined);
      }
    } finally {
      this.#streams -= 1;
      sink?.end();
    }
  }

  async #readDatagrams(session: Session): Promise<void> {
    session.transport.datagrams.incomingHighWaterMark = DATAGRAMS_QUEUED_MAX;
    const readable = session.transport.datagrams.readable as ReadableStream<Uint8Array>;
    const reader = readable.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        if (value[0] === DATAGRAM_TAG) this.#datagram(value);
      }
    } catch {
      // The session is gone; `closed` tells.
    }
  }

  #datagram(bytes: Uint8Array): void {
    try {
      this.#events.datagram(parseDatagram(bytes));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#events.discard("malformed datagram");
    }
  }

  #gone(session: Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    clearTimeout(this.#timer);
    closeQuietly(session.transport, CloseCode.graceful);
    // A warm session that went away is opened again when it is needed.
    if (this.#closed || !session.started) return;
    if (session.welcomed) this.#events.lost(this);
    this.#retry();
  }

  #retry(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!this.#closed && this.#session === undefined) this.#events.needToken(this.id);
    }, this.#backoff.next());
  }
}

function datagramLimit(transport: WebTransport, handlerBytes: number): number {
  // A browser that names no limit yet, or a small one at first, gets what is safe.
  const own = transport.datagrams.maxDatagramSize;
  const known = Math.min(own > 0 ? own : DATAGRAM_BYTES_SAFE, handlerBytes || DATAGRAM_BYTES_SAFE);
  return Math.max(256, known);
}

function datagramWriter(transport: WebTransport): WritableStreamDefaultWriter<Uint8Array> {
  // Stale sound is of no use: what waits longer than this is dropped.
  transport.datagrams.outgoingMaxAge = 200;
  const writable = transport.datagrams.writable as WritableStream<Uint8Array>;
  const writer = writable.getWriter();
  writer.closed.catch(() => undefined);
  return writer;
}
