// What goes out next on one WebSocket, where all share one queue that nobody can
// look into or take back from: it is kept short by giving it little. Control goes
// at once, sound as soon as possible and not at all when it is stale, pictures
// only while next to nothing is on its way. The groups' own rule (GroupQueue)
// gives up a group whose frames wait too long.

/** Sound is given to a socket that holds no more than this. */
const SOUND_BUFFERED_BYTES_MAX = 32 << 10;
/** And pictures to one that holds no more than this. */
const VIDEO_BUFFERED_BYTES_MAX = 8 << 10;
/** Nor to one behind which the network's own queues have grown by more. */
const VIDEO_DELAY_MS_MAX = 250;
/** A datagram that waited longer than this is stale. */
const DATAGRAM_AGE_MAX_MS = 200;
/** Datagrams waiting at most, whatever their age; the oldest go. */
const DATAGRAMS_MAX = 64;

/** How the socket is. */
export interface Pressure {
  /** Given to the socket and not yet on its way. */
  readonly bufferedBytes: number;
  /** What RTT packets take above what they take on an idle way. */
  readonly delayMs: number;
}

/** A group on its way out; one frame of it waits at most. */
export interface OutGroup {
  readonly sound: boolean;
}

interface Waiting {
  readonly messages: readonly Uint8Array[];
  readonly taken: () => void;
}

export class SocketSchedule {
  /** Stale datagrams that were not sent. */
  droppedDatagrams = 0;
  #control: Uint8Array[] = [];
  #datagrams: { readonly message: Uint8Array; readonly at: number }[] = [];
  /** Who waits longest first: pictures of several encodings take turns. */
  readonly #frames = new Map<OutGroup, Waiting>();

  get isEmpty(): boolean {
    return this.#control.length === 0 && this.#datagrams.length === 0 && this.#frames.size === 0;
  }

  control(message: Uint8Array): void {
    this.#control.push(message);
  }

  datagram(message: Uint8Array, nowMs: number): void {
    this.#datagrams.push({ message, at: nowMs });
    if (this.#datagrams.length <= DATAGRAMS_MAX) return;
    this.#datagrams.shift();
    this.droppedDatagrams += 1;
  }

  /** `taken` is called when it goes out. The frame before it must be out. */
  frame(group: OutGroup, messages: readonly Uint8Array[], taken: () => void): void {
    this.#frames.set(group, { messages, taken });
  }

  /** The group's frame that waits does not go out. */
  giveUp(group: OutGroup): void {
    this.#frames.delete(group);
  }

  /** The next messages for the socket; none: there are none, or not now. */
  take(pressure: Pressure, nowMs: number): readonly Uint8Array[] {
    const control = this.#control.shift();
    if (control !== undefined) return [control];
    this.#dropStale(nowMs);
    if (pressure.bufferedBytes > SOUND_BUFFERED_BYTES_MAX) return [];
    const datagram = this.#datagrams.shift();
    if (datagram !== undefined) return [datagram.message];
    const idle =
      pressure.bufferedBytes <= VIDEO_BUFFERED_BYTES_MAX && pressure.delayMs <= VIDEO_DELAY_MS_MAX;
    const waiting = [...this.#frames.entries()];
    const next = waiting.find(([group]) => group.sound) ?? (idle ? waiting[0] : undefined);
    if (next === undefined) return [];
    const [group, { messages, taken }] = next;
    this.#frames.delete(group);
    taken();
    return messages;
  }

  #dropStale(nowMs: number): void {
    while (
      this.#datagrams[0] !== undefined &&
      nowMs - this.#datagrams[0].at > DATAGRAM_AGE_MAX_MS
    ) {
      this.#datagrams.shift();
      this.droppedDatagrams += 1;
    }
  }
}
