// A session over WebTransport: the control channel is one bidirectional stream,
// a group is a stream of its own.
import {
  DATAGRAM_BYTES_SAFE,
  FramingDecoder,
  GroupParser,
  ProtocolError,
  frame,
  writeStreamHeader,
  type StreamHeader,
} from "@darktower/protocol";
import { CloseCode, type Endpoint } from "@darktower/session";
import {
  CLOSE_GRACE_MS,
  type GroupSink,
  type GroupStream,
  type MediaReceiver,
  type Receiver,
  type Session,
  type SessionEnd,
} from "./types";

/** Streams read at once at most; further ones are refused. */
const STREAMS_MAX = 128;
const DATAGRAMS_QUEUED_MAX = 256;
/** Stale sound is of no use: what waits longer than this is dropped. */
const DATAGRAM_AGE_MAX_MS = 200;
/** RESET_STREAM codes of WIRE section 2. */
const RESET_GRACEFUL = 0;

/** False in browsers that have none: their sessions are WebSockets. */
export const hasWebTransport = (): boolean => "WebTransport" in globalThis;

export class WebTransportSession implements Session {
  readonly carrier = "webtransport";
  readonly ready: Promise<void>;
  readonly closed: Promise<SessionEnd>;
  readonly #transport: WebTransport;
  #control: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #datagrams: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #streams = 0;
  #end: (end: SessionEnd) => void = () => undefined;

  constructor(endpoint: Endpoint) {
    const hashes = endpoint.certificateHashes.map((value) => ({
      algorithm: "sha-256",
      value: new Uint8Array(value),
    }));
    const transport = new WebTransport(endpoint.url, {
      congestionControl: "low-latency",
      ...(hashes.length === 0 ? {} : { serverCertificateHashes: hashes }),
    });
    this.#transport = transport;
    this.ready = transport.ready;
    // Whoever holds the session looks at it; a failure must not also count as an
    // unhandled rejection.
    this.ready.catch(() => undefined);
    this.closed = new Promise((resolve) => (this.#end = resolve));
    transport.closed.then(
      (info) => {
        this.#end({ code: info.closeCode ?? 0, message: info.reason ?? "" });
      },
      (error: unknown) => {
        const message = error instanceof Error ? error.message : "connection lost";
        this.#end({ code: undefined, message });
      },
    );
  }

  get datagramBytesMax(): number {
    // A browser that names no limit yet, or a small one at first, gets what is safe.
    const own = this.#transport.datagrams.maxDatagramSize;
    return own > 0 ? own : DATAGRAM_BYTES_SAFE;
  }

  async start(receiver: Receiver): Promise<void> {
    const stream = await this.#transport.createBidirectionalStream();
    this.#control = quiet((stream.writable as WritableStream<Uint8Array>).getWriter());
    void this.#readControl(stream.readable as ReadableStream<Uint8Array>, receiver);
    if (receiver.media === undefined) return;
    this.#transport.datagrams.outgoingMaxAge = DATAGRAM_AGE_MAX_MS;
    const datagrams = this.#transport.datagrams.writable as WritableStream<Uint8Array>;
    this.#datagrams = quiet(datagrams.getWriter());
    void this.#readStreams(receiver, receiver.media);
    void this.#readDatagrams(receiver.media);
  }

  send(message: Uint8Array): void {
    this.#control?.write(frame(message)).catch(() => undefined);
  }

  sendDatagram(datagram: Uint8Array): void {
    this.#datagrams?.write(datagram).catch(() => undefined);
  }

  async openGroup(header: StreamHeader, sendOrder: number): Promise<GroupStream> {
    const stream = await this.#transport.createUnidirectionalStream({ sendOrder });
    const writer = quiet((stream as WritableStream<Uint8Array>).getWriter());
    await writer.write(writeStreamHeader(header));
    return {
      write: (bytes) => writer.write(bytes),
      close: () => writer.close(),
      abort: () => {
        writer.abort(resetReason()).catch(() => undefined);
      },
    };
  }

  setDelay(): void {
    // The browser paces what it sends and drops what is stale itself.
  }

  close(code: number): void {
    try {
      this.#transport.close({ closeCode: code, reason: "" });
    } catch {
      // It was not open yet, or is gone already.
    }
  }

  async #readControl(readable: ReadableStream<Uint8Array>, receiver: Receiver): Promise<void> {
    const decoder = new FramingDecoder();
    const reader = readable.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        decoder.push(value);
        for (let framed = decoder.next(); framed !== undefined; framed = decoder.next())
          receiver.control(framed);
      }
    } catch (error) {
      if (error instanceof ProtocolError) {
        // The server broke the protocol: nothing after it can be trusted.
        receiver.discard("control message");
        this.close(CloseCode.protocolError);
      }
    }
    // The close code, if there is one, arrives just behind the stream's end.
    setTimeout(() => {
      this.#end({ code: undefined, message: "the server ended the session" });
    }, CLOSE_GRACE_MS);
  }

  async #readStreams(receiver: Receiver, media: MediaReceiver): Promise<void> {
    const streams = this.#transport.incomingUnidirectionalStreams as ReadableStream<
      ReadableStream<Uint8Array>
    >;
    const reader = streams.getReader();
    try {
      for (;;) {
        const { done, value: stream } = await reader.read();
        if (done) return;
        if (this.#streams >= STREAMS_MAX) {
          receiver.discard("too many streams");
          stream.cancel().catch(() => undefined);
        } else {
          void this.#readGroup(stream, receiver, media);
        }
      }
    } catch {
      // The session is gone; `closed` tells.
    }
  }

  async #readGroup(
    stream: ReadableStream<Uint8Array>,
    receiver: Receiver,
    media: MediaReceiver,
  ): Promise<void> {
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
          sink = media.group(item.header);
          if (sink === undefined) {
            receiver.discard("stream nobody asked for");
            await reader.cancel();
            return;
          }
        }
      }
    } catch (error) {
      if (error instanceof ProtocolError) {
        receiver.discard("malformed stream");
        reader.cancel().catch(() => undefined);
      }
    } finally {
      this.#streams -= 1;
      sink?.end();
    }
  }

  async #readDatagrams(media: MediaReceiver): Promise<void> {
    this.#transport.datagrams.incomingHighWaterMark = DATAGRAMS_QUEUED_MAX;
    const readable = this.#transport.datagrams.readable as ReadableStream<Uint8Array>;
    const reader = readable.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        media.datagram(value);
      }
    } catch {
      // The session is gone; `closed` tells.
    }
  }
}

/** A broken writer shows at what is written, and at the session. */
function quiet(
  writer: WritableStreamDefaultWriter<Uint8Array>,
): WritableStreamDefaultWriter<Uint8Array> {
  writer.closed.catch(() => undefined);
  return writer;
}

function resetReason(): unknown {
  return typeof WebTransportError === "undefined"
    ? undefined
    : new WebTransportError("late", { source: "stream", streamErrorCode: RESET_GRACEFUL });
}
