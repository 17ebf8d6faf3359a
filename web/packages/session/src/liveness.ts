// Tells a dead session from a quiet one by RTT packets (WIRE section 1). Times
// are milliseconds of one monotonic clock, passed in.
import { RTT_TAG } from "@darktower/protocol";

const PROBE_INTERVAL_MS = 1000;
const DEAD_AFTER_MS = 2500;
/** Probes waited for at most; a session is dead long before. */
const UNANSWERED_MAX = 16;

export type Probe =
  | { readonly type: "send"; readonly packet: Uint8Array }
  | { readonly type: "wait"; readonly until: number }
  | { readonly type: "dead" };

/** Follows one session from its opening on. */
export class Liveness {
  #nextProbe: number;
  #heard: number;
  #nextNumber = 0;
  readonly #unanswered = new Map<number, number>();
  #rtt: number | null = null;
  #rttMin = Infinity;

  constructor(nowMs: number) {
    this.#nextProbe = nowMs;
    this.#heard = nowMs;
  }

  /** Milliseconds; null before the first answer. */
  get rttMs(): number | null {
    return this.#rtt;
  }

  /**
   * Milliseconds that what is sent now is behind what it would be on an idle way:
   * above the shortest round trip, by the last answer or the one that is awaited.
   */
  delayMs(nowMs: number): number {
    if (this.#rtt === null) return 0;
    const [oldest] = this.#unanswered.values();
    const newest = Math.max(this.#rtt, oldest === undefined ? 0 : nowMs - oldest);
    return newest - this.#rttMin;
  }

  /** When anything arrived last. */
  get heardAt(): number {
    return this.#heard;
  }

  /** What is due; call until it says wait or dead. */
  poll(nowMs: number): Probe {
    if (nowMs >= this.#heard + DEAD_AFTER_MS) return { type: "dead" };
    if (nowMs < this.#nextProbe) return { type: "wait", until: this.due };
    this.#nextProbe = nowMs + PROBE_INTERVAL_MS;
    const number = this.#nextNumber++;
    for (const oldest of this.#unanswered.keys()) {
      if (this.#unanswered.size < UNANSWERED_MAX) break;
      this.#unanswered.delete(oldest);
    }
    this.#unanswered.set(number, nowMs);
    const packet = new Uint8Array(5);
    packet[0] = RTT_TAG;
    new DataView(packet.buffer).setUint32(1, number);
    return { type: "send", packet };
  }

  /** When {@link poll} has something to do at the latest. */
  get due(): number {
    return Math.min(this.#nextProbe, this.#heard + DEAD_AFTER_MS);
  }

  /** An RTT packet came back; one that nobody waits for is ignored. */
  handleEcho(packet: Uint8Array, nowMs: number): void {
    if (packet.length !== 5 || packet[0] !== RTT_TAG) return;
    const number = new DataView(packet.buffer, packet.byteOffset).getUint32(1);
    const sent = this.#unanswered.get(number);
    if (sent === undefined) return;
    this.#unanswered.delete(number);
    this.#rtt = nowMs - sent;
    this.#rttMin = Math.min(this.#rttMin, this.#rtt);
    // Answers come in order: what was sent before it is lost.
    for (const [earlier] of this.#unanswered)
      if (earlier < number) this.#unanswered.delete(earlier);
    this.heard(nowMs);
  }

  /** Anything else that arrived is a sign of life too. */
  heard(nowMs: number): void {
    this.#heard = Math.max(this.#heard, nowMs);
  }
}
