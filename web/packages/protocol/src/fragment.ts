// Cutting frames into datagrams (WIRE section 2.4). Only senders fragment; a
// fragmenter belongs to one encoding, whose datagrams it counts.
import {
  DATAGRAM_BYTES_MAX,
  DATAGRAM_HEADER_BYTES,
  writeDatagramHeader,
  type FrameType,
} from "./headers";

export interface OutgoingFrame {
  readonly frameType: FrameType;
  /** Microseconds since the Unix epoch, strictly rising in an encoding. */
  readonly timestamp: bigint;
  readonly discardable: boolean;
  readonly temporalLayer: number;
  /** Audio level byte or base-layer counter. */
  readonly mark: number;
  readonly group: number;
  readonly payload: Uint8Array;
}

export class Fragmenter {
  readonly #userId: bigint;
  readonly #streamNumber: number;
  readonly #encoding: number;
  #sequence: bigint;

  constructor(userId: bigint, streamNumber: number, encoding: number, firstSequence = 0n) {
    this.#sequence = firstSequence;
    this.#userId = userId;
    this.#streamNumber = streamNumber;
    this.#encoding = encoding;
  }

  /** The frame as whole datagrams of at most `limitBytes`, never above 1100. */
  cut(frame: OutgoingFrame, limitBytes: number): Uint8Array<ArrayBuffer>[] {
    const room = Math.max(1, Math.min(limitBytes, DATAGRAM_BYTES_MAX) - DATAGRAM_HEADER_BYTES);
    const count = Math.max(1, Math.ceil(frame.payload.length / room));
    const datagrams: Uint8Array<ArrayBuffer>[] = [];
    for (let index = 0; index < count; index++) {
      const part = frame.payload.subarray(index * room, (index + 1) * room);
      const out = new Uint8Array(DATAGRAM_HEADER_BYTES + part.length);
      writeDatagramHeader(
        {
          frameType: frame.frameType,
          userId: this.#userId,
          label: this.#streamNumber,
          timestamp: frame.timestamp,
          sequence: this.#sequence,
          payloadBytes: part.length,
          flags: { start: index === 0, end: index === count - 1, discardable: frame.discardable },
          extension: {
            encoding: this.#encoding,
            temporalLayer: frame.temporalLayer,
            mark: frame.mark,
            fragment: index,
            group: frame.group,
          },
        },
        out,
      );
      out.set(part, DATAGRAM_HEADER_BYTES);
      datagrams.push(out);
      this.#sequence = BigInt.asUintN(64, this.#sequence + 1n);
    }
    return datagrams;
  }
}
