// Opening a WebTransport session, and the framed control stream that both kinds
// of session have.
import { FramingDecoder, ProtocolError, frame, type Framed } from "@darktower/protocol";
import type { Endpoint } from "@darktower/session";

/** Dials; `ready` of the result is still to be awaited. Throws for an unusable URL. */
export function dial(endpoint: Endpoint): WebTransport {
  const hashes = endpoint.certificateHashes.map((value) => ({
    algorithm: "sha-256",
    value: new Uint8Array(value),
  }));
  const transport = new WebTransport(endpoint.url, {
    congestionControl: "low-latency",
    ...(hashes.length === 0 ? {} : { serverCertificateHashes: hashes }),
  });
  // Whoever holds the session looks at these; a failure must not also count as
  // an unhandled rejection.
  transport.ready.catch(() => undefined);
  transport.closed.catch(() => undefined);
  return transport;
}

export function closeQuietly(transport: WebTransport, code: number): void {
  try {
    transport.close({ closeCode: code, reason: "" });
  } catch {
    // It was not open yet, or is gone already.
  }
}

/** What is known of a session's end; no code when it broke. */
export async function closedWith(
  transport: WebTransport,
): Promise<{ code: number | undefined; message: string }> {
  try {
    const info = await transport.closed;
    return { code: info.closeCode ?? 0, message: info.reason ?? "" };
  } catch (error) {
    return { code: undefined, message: error instanceof Error ? error.message : "connection lost" };
  }
}

/** The client's one bidirectional stream, split into messages. */
export class ControlStream {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #readable: ReadableStream<Uint8Array>;

  private constructor(stream: WebTransportBidirectionalStream) {
    this.#writer = (stream.writable as WritableStream<Uint8Array>).getWriter();
    this.#writer.closed.catch(() => undefined);
    this.#readable = stream.readable as ReadableStream<Uint8Array>;
  }

  static async open(transport: WebTransport): Promise<ControlStream> {
    return new ControlStream(await transport.createBidirectionalStream());
  }

  /** Queues one message; a broken stream shows at the reading side. */
  send(message: Uint8Array): void {
    this.#writer.write(frame(message)).catch(() => undefined);
  }

  /** Waits until all that was sent is out, or the stream broke. */
  async flushed(): Promise<void> {
    await this.#writer.ready.catch(() => undefined);
  }

  /**
   * Reads until the end of the stream.
   * @throws {ProtocolError} when the server breaks the framing or `take` finds a bad message
   */
  async read(take: (framed: Framed) => void): Promise<void> {
    const decoder = new FramingDecoder();
    const reader = this.#readable.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        decoder.push(value);
        for (let framed = decoder.next(); framed !== undefined; framed = decoder.next())
          take(framed);
      }
    } catch (error) {
      if (error instanceof ProtocolError) {
        reader.cancel().catch(() => undefined);
        throw error;
      }
    }
  }
}
