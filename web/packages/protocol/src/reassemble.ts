// Putting datagrams together to frames again. Fragments may come in any order
// and twice. Bounded in partial frames, bytes and age over all streams: what is
// oldest goes first, and counts as lost.
import { ProtocolError } from "./error";
import {
  DATAGRAM_BYTES_MAX,
  DATAGRAM_HEADER_BYTES,
  PAYLOAD_BYTES_MAX,
  parseDatagramHeader,
  type DatagramHeader,
} from "./headers";

export interface ReassemblyLimits {
  /** Unfinished frames kept at most, all streams together. */
  readonly framesMax: number;
  /** Bytes of unfinished frames kept at most. */
  readonly bytesMax: number;
  /** Milliseconds an unfinished frame is kept at most. */
  readonly ageMaxMs: number;
}

export const REASSEMBLY_LIMITS: ReassemblyLimits = {
  framesMax: 64,
  bytesMax: 8 << 20,
  ageMaxMs: 500,
};

export interface WholeFrame {
  /** Of the fragment that completed the frame. */
  readonly header: DatagramHeader;
  readonly payload: Uint8Array;
}

/** Frames remembered after they were whole, so that a late copy begins none anew. */
const FINISHED_MAX = 256;

interface Partial {
  readonly firstSequence: bigint;
  readonly fragments: Map<number, Uint8Array>;
  readonly since: number;
  last: number | undefined;
  bytes: number;
}

/** A datagram split into header and payload. */
export interface ParsedDatagram {
  readonly header: DatagramHeader;
  readonly payload: Uint8Array;
}

/** @throws {ProtocolError} when it is not one whole media datagram */
export function parseDatagram(bytes: Uint8Array): ParsedDatagram {
  if (bytes.length > DATAGRAM_BYTES_MAX) throw new ProtocolError("a datagram above 1100 bytes");
  const header = parseDatagramHeader(bytes);
  if (header.payloadBytes !== bytes.length - DATAGRAM_HEADER_BYTES) {
    throw new ProtocolError("the payload length is not the datagram's");
  }
  if (header.flags.start !== (header.extension.fragment === 0)) {
    throw new ProtocolError("the first fragment, and no other, starts a frame");
  }
  if (header.sequence < BigInt(header.extension.fragment)) {
    throw new ProtocolError("a fragment before the first datagram");
  }
  return { header, payload: bytes.subarray(DATAGRAM_HEADER_BYTES) };
}

/** Collects fragments; `key` tells one media stream from another. */
export class Reassembler {
  readonly #limits: ReassemblyLimits;
  /** In order of age: a Map keeps the order of insertion. */
  readonly #partials = new Map<string, Partial>();
  readonly #finished = new Set<string>();
  #bytes = 0;
  #dropped = 0;

  constructor(limits: ReassemblyLimits = REASSEMBLY_LIMITS) {
    this.#limits = limits;
  }

  /** Frames given up unfinished since the start. */
  get droppedFrames(): number {
    return this.#dropped;
  }

  /** Bytes held now. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** Takes one datagram of `stream`; gives the frame that it completes, if any. */
  push(stream: string, datagram: ParsedDatagram, nowMs: number): WholeFrame | undefined {
    const { header, payload } = datagram;
    this.#expire(nowMs);
    if (header.flags.start && header.flags.end) return { header, payload };
    const key = `${stream}/${header.extension.encoding}/${header.timestamp}`;
    if (this.#finished.has(key)) return undefined;
    const partial = this.#partials.get(key) ?? this.#open(key, header, nowMs);
    const index = header.extension.fragment;
    const contradicts =
      partial.firstSequence !== header.sequence - BigInt(index) ||
      (partial.last !== undefined &&
        (index > partial.last || (header.flags.end && index !== partial.last)));
    if (contradicts || partial.bytes + payload.length > PAYLOAD_BYTES_MAX) {
      this.#drop(key);
      return undefined;
    }
    if (partial.fragments.has(index)) return undefined;
    partial.fragments.set(index, payload);
    partial.bytes += payload.length;
    this.#bytes += payload.length;
    if (header.flags.end) {
      partial.last = index;
      if ([...partial.fragments.keys()].some((other) => other > index)) {
        this.#drop(key);
        return undefined;
      }
    }
    if (partial.last !== undefined && partial.fragments.size === partial.last + 1) {
      this.#remove(key, partial);
      this.#finish(key);
      return { header, payload: join(partial) };
    }
    while (this.#bytes > this.#limits.bytesMax) this.#dropOldest();
    return undefined;
  }

  #finish(key: string): void {
    this.#finished.add(key);
    for (const oldest of this.#finished) {
      if (this.#finished.size <= FINISHED_MAX) return;
      this.#finished.delete(oldest);
    }
  }

  #open(key: string, header: DatagramHeader, nowMs: number): Partial {
    while (this.#partials.size >= this.#limits.framesMax) this.#dropOldest();
    const partial: Partial = {
      firstSequence: header.sequence - BigInt(header.extension.fragment),
      fragments: new Map(),
      since: nowMs,
      last: undefined,
      bytes: 0,
    };
    this.#partials.set(key, partial);
    return partial;
  }

  #expire(nowMs: number): void {
    for (const [key, partial] of this.#partials) {
      if (nowMs - partial.since <= this.#limits.ageMaxMs) return;
      this.#drop(key);
    }
  }

  #dropOldest(): void {
    for (const key of this.#partials.keys()) {
      this.#drop(key);
      return;
    }
  }

  #drop(key: string): void {
    const partial = this.#partials.get(key);
    if (partial === undefined) return;
    this.#dropped += 1;
    this.#remove(key, partial);
  }

  #remove(key: string, partial: Partial): void {
    this.#partials.delete(key);
    this.#bytes -= partial.bytes;
  }
}

function join(partial: Partial): Uint8Array {
  const out = new Uint8Array(partial.bytes);
  let at = 0;
  for (let index = 0; index < partial.fragments.size; index++) {
    const part = partial.fragments.get(index);
    if (part === undefined) continue;
    out.set(part, at);
    at += part.length;
  }
  return out;
}
