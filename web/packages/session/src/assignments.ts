// Which stream a datagram's slot means (WIRE section 2.4). Assignments come by
// the controller and media by a handler, unordered: the previous generation's
// map stays valid, and datagrams of a newer one are held for a moment.
import type { CarrierName, SourceKind } from "./api";
import type { ParticipantId, StreamId } from "./ids";

/** Datagrams of a newer generation are held at most so long … */
const HOLD_MS = 200;
/** … and so many of them, the oldest going first. */
const HELD_MAX = 256;

export interface Assignment {
  readonly slot: number;
  readonly streamId: StreamId;
  readonly participantId: ParticipantId;
  readonly userId: bigint;
  readonly kind: SourceKind;
  readonly carrier: CarrierName;
  /** FourCC of the media header, as the sender announced it. */
  readonly codec: string;
}

export type Resolution =
  | { readonly type: "assigned"; readonly assignment: Assignment }
  | { readonly type: "held" }
  | { readonly type: "unknown" };

interface Held<T> {
  readonly generation: number;
  readonly slot: number;
  readonly at: number;
  readonly item: T;
}

/** `T` is what is held until its generation is known: a parsed datagram. */
export class AssignmentMap<T> {
  #generation = 0;
  #known = false;
  #current = new Map<number, Assignment>();
  #previous = new Map<number, Assignment>();
  #held: Held<T>[] = [];

  get current(): ReadonlyMap<number, Assignment> {
    return this.#current;
  }

  /**
   * Takes a new whole map; an older generation than the newest is ignored.
   * Gives what was held for it and can be resolved now.
   */
  apply(generation: number, assignments: readonly Assignment[], nowMs: number): T[] {
    if (this.#known && generation < this.#generation) return [];
    if (!this.#known || generation > this.#generation) this.#previous = this.#current;
    this.#known = true;
    this.#generation = generation;
    this.#current = new Map(assignments.map((one) => [one.slot, one]));
    const ready: T[] = [];
    this.#held = this.#held.filter((held) => {
      if (nowMs - held.at > HOLD_MS) return false;
      if (held.generation !== (generation & 0xff)) return true;
      if (this.#current.has(held.slot)) ready.push(held.item);
      return false;
    });
    return ready;
  }

  /** A new session begins to count anew; the maps stay until it says otherwise. */
  newSession(): void {
    this.#known = false;
    this.#held = [];
  }

  /** What the slot means; `item` is kept when its generation is still to come. */
  resolve(generation: number, slot: number, item: T, nowMs: number): Resolution {
    const ahead = this.#known ? ((generation - this.#generation) << 24) >> 24 : 1;
    if (ahead > 0) {
      this.#held = this.#held.filter((held) => nowMs - held.at <= HOLD_MS);
      if (this.#held.length >= HELD_MAX) this.#held.shift();
      this.#held.push({ generation, slot, at: nowMs, item });
      return { type: "held" };
    }
    const map = ahead === 0 ? this.#current : ahead === -1 ? this.#previous : undefined;
    const assignment = map?.get(slot);
    return assignment === undefined ? { type: "unknown" } : { type: "assigned", assignment };
  }
}
