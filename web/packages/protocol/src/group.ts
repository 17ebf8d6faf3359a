// The stream carrier's parser: one unidirectional stream is a stream header and
// then frames. Holds at most one frame (4 MiB) and what one read brought beyond
// it; nothing is allocated for a length before its bytes are there.
import { ByteQueue } from "./bytes";
import { ProtocolError } from "./error";
import {
  FRAME_HEADER_BYTES,
  STREAM_HEADER_BYTES,
  kindOf,
  parseFrameHeader,
  parseStreamHeader,
  type FrameHeader,
  type StreamHeader,
} from "./headers";

export type GroupItem =
  | { readonly type: "opened"; readonly header: StreamHeader }
  | { readonly type: "frame"; readonly header: FrameHeader; readonly payload: Uint8Array };

/** Reads one stream of the stream carrier; of no use after it has thrown. */
export class GroupParser {
  readonly #queue = new ByteQueue();
  #stream: StreamHeader | undefined;
  #frame: FrameHeader | undefined;

  push(bytes: Uint8Array): void {
    this.#queue.push(bytes);
  }

  /** Nothing of an unfinished header or frame is waiting. */
  get atFrameBoundary(): boolean {
    return this.#stream !== undefined && this.#frame === undefined && this.#queue.length === 0;
  }

  /**
   * The next item, `undefined` until more bytes arrive.
   * @throws {ProtocolError} when a header is illegal or a frame is not of this stream
   */
  next(): GroupItem | undefined {
    if (this.#stream === undefined) {
      const bytes = this.#queue.take(STREAM_HEADER_BYTES);
      if (bytes === undefined) return undefined;
      this.#stream = parseStreamHeader(bytes);
      return { type: "opened", header: this.#stream };
    }
    if (this.#frame === undefined) {
      const bytes = this.#queue.take(FRAME_HEADER_BYTES);
      if (bytes === undefined) return undefined;
      const header = parseFrameHeader(bytes);
      this.#check(header, this.#stream);
      this.#frame = header;
    }
    const payload = this.#queue.take(this.#frame.payloadBytes);
    if (payload === undefined) return undefined;
    const header = this.#frame;
    this.#frame = undefined;
    return { type: "frame", header, payload };
  }

  #check(frame: FrameHeader, stream: StreamHeader): void {
    if (frame.streamId !== stream.streamId) {
      throw new ProtocolError("a frame of another stream");
    }
    if (frame.extension.encoding !== stream.encoding) {
      throw new ProtocolError("a frame of another encoding");
    }
    if (kindOf(frame.frameType) !== stream.kind) {
      throw new ProtocolError("a frame of another kind of media");
    }
  }
}
