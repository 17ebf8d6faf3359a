// The groups that arrive on one WebSocket, message by message. A socket has no
// backpressure: what a group's reader can't take yet waits here, up to a limit,
// and a group that is above it is given up whole.
import {
  frameFits,
  parseFrameMessage,
  parseStreamHeader,
  type FrameHeader,
  type StreamHeader,
} from "@darktower/protocol";

/** Groups open at once at most: one an encoding. Further ones are refused. */
const GROUPS_MAX = 128;
/** Frames of one group that wait at most. */
const WAITING_FRAMES_MAX = 240;
/** Bytes of frames of all groups that wait at most: two of the largest. */
const WAITING_BYTES_MAX = 9 << 20;
/** What a frame takes beside its payload, so that empty ones are bounded too. */
const FRAME_OVERHEAD_BYTES = 512;

/** As the carrier's. */
interface Sink {
  frame(header: FrameHeader, payload: Uint8Array): Promise<void> | void;
  end(): void;
}

interface Group {
  readonly header: StreamHeader;
  readonly sink: Sink;
  waiting: { readonly header: FrameHeader; readonly payload: Uint8Array }[];
  running: boolean;
  /** No more will come. */
  finished: boolean;
}

export interface SocketGroupsEvents {
  /** Undefined: nobody wants this stream. */
  open(header: StreamHeader): Sink | undefined;
  discard(cause: string): void;
}

export class SocketGroups {
  readonly #events: SocketGroupsEvents;
  readonly #groups = new Map<string, Group>();
  /** Those with frames that wait; they may have ended. */
  readonly #waiting = new Set<Group>();
  #waitingBytes = 0;

  constructor(events: SocketGroupsEvents) {
    this.#events = events;
  }

  get open(): number {
    return this.#groups.size;
  }

  /** Bytes that wait for their readers. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /**
   * A message of the channel of stream headers.
   * @throws {ProtocolError} when it is none
   */
  handleHeader(body: Uint8Array): void {
    const header = parseStreamHeader(body);
    const key = keyOf(header.streamId, header.encoding);
    this.#finish(key);
    if (this.#groups.size >= GROUPS_MAX) {
      this.#events.discard("too many streams");
      return;
    }
    const sink = this.#events.open(header);
    if (sink === undefined) {
      this.#events.discard("stream nobody asked for");
      return;
    }
    this.#groups.set(key, { header, sink, waiting: [], running: false, finished: false });
  }

  /**
   * A message of the channel of frames.
   * @throws {ProtocolError} when it is none
   */
  handleFrame(body: Uint8Array): void {
    const { header, payload } = parseFrameMessage(body);
    const key = keyOf(header.streamId, header.extension.encoding);
    const group = this.#groups.get(key);
    if (
      group === undefined ||
      !frameFits(header, group.header) ||
      header.extension.group !== (group.header.group & 0xffff)
    ) {
      this.#events.discard("frame of no open group");
      return;
    }
    const full =
      group.waiting.length >= WAITING_FRAMES_MAX ||
      this.#waitingBytes + costOf(payload) > WAITING_BYTES_MAX;
    if (full) {
      this.#events.discard("group that found no room");
      this.#forget(group);
      this.#finish(key);
      return;
    }
    group.waiting.push({ header, payload });
    this.#waiting.add(group);
    this.#waitingBytes += costOf(payload);
    void this.#run(group);
  }

  /** The session is over. */
  close(): void {
    for (const group of this.#waiting) this.#forget(group);
    for (const key of this.#groups.keys()) this.#finish(key);
  }

  #finish(key: string): void {
    const group = this.#groups.get(key);
    if (group === undefined) return;
    this.#groups.delete(key);
    group.finished = true;
    void this.#run(group);
  }

  #forget(group: Group): void {
    for (const { payload } of group.waiting) this.#waitingBytes -= costOf(payload);
    group.waiting = [];
    this.#waiting.delete(group);
  }

  async #run(group: Group): Promise<void> {
    if (group.running) return;
    group.running = true;
    for (let next = group.waiting.shift(); next !== undefined; next = group.waiting.shift()) {
      this.#waitingBytes -= costOf(next.payload);
      if (group.waiting.length === 0) this.#waiting.delete(group);
      // Not awaited where there is room: order and time of a call stay together.
      const room = group.sink.frame(next.header, next.payload);
      if (room !== undefined) await room;
    }
    group.running = false;
    if (group.finished) group.sink.end();
  }
}

const costOf = (payload: Uint8Array): number => payload.length + FRAME_OVERHEAD_BYTES;
const keyOf = (streamId: string, encoding: number): string => `${streamId}/${encoding}`;
