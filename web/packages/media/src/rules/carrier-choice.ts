// What one link has learned about carriers on this network: which to try first,
// and why it is not the usual one. Pure. What is worth remembering beyond the
// meeting is `failedAt`; a page keeps it (network-memory.ts).
import type { TransportName, TransportReason } from "@darktower/session";
import { planRace, type Plan } from "./race";

/** What was learned about a network is believed for so long. */
export const REMEMBERED_MS = 10 * 60_000;

export class CarrierChoice {
  /** Milliseconds since the Unix epoch: WebTransport failed and the WebSocket worked. */
  failedAt: number | undefined;
  readonly #hasWebTransport: boolean;
  #preferred: TransportName | undefined;
  /** It failed in this meeting, and no session of it worked since. */
  readonly #failed = new Set<TransportName>();
  /** Of those, sessions that were open: one that opens proves nothing. */
  readonly #deceived = new Set<TransportName>();

  constructor(hasWebTransport: boolean, failedAt?: number) {
    this.#hasWebTransport = hasWebTransport;
    this.failedAt = failedAt;
  }

  /** For another link on the same network: what works here it tries at once. */
  forAnother(): CarrierChoice {
    const other = new CarrierChoice(this.#hasWebTransport, this.failedAt);
    if (this.#preferred === "websocket") other.handleHint();
    return other;
  }

  /** What served last, or is to be tried first. */
  get preferred(): TransportName | undefined {
    return this.#preferred;
  }

  /** Undefined: the browser and the server have no carrier in common. */
  plan(hasWebSocket: boolean, epochMs: number): Plan | undefined {
    return planRace({
      offered: [
        ...(this.#hasWebTransport ? (["webtransport"] as const) : []),
        ...(hasWebSocket ? (["websocket"] as const) : []),
      ],
      preferred: this.#preferred,
      webTransportFailed: this.#isRemembered(epochMs),
    });
  }

  /** A session died, or was open and never answered. */
  handleLost(carrier: TransportName): void {
    this.#failed.add(carrier);
    this.#deceived.add(carrier);
    this.#preferred = carrier === "webtransport" ? "websocket" : "webtransport";
  }

  /** A session is of use: the server answered on it. */
  handleWorks(carrier: TransportName, beaten: readonly TransportName[], epochMs: number): void {
    for (const other of beaten) this.#failed.add(other);
    this.#failed.delete(carrier);
    this.#deceived.delete(carrier);
    this.#preferred = carrier;
    if (carrier === "webtransport") this.failedAt = undefined;
    else if (this.#failed.has("webtransport")) this.failedAt = epochMs;
  }

  /** Whether an open session that was not used yet may be no good. */
  isDoubtful(carrier: TransportName): boolean {
    return this.#deceived.has(carrier);
  }

  /** The page was in this meeting a moment ago: what is remembered served it then. */
  handleReturn(epochMs: number): void {
    if (this.#isRemembered(epochMs)) this.handleHint();
  }

  /** Another link learned that the WebSocket is what works here. */
  handleHint(): void {
    this.#failed.add("webtransport");
    this.#preferred = "websocket";
  }

  /** Why a session on this carrier is not on WebTransport. */
  reason(carrier: TransportName): TransportReason | undefined {
    if (carrier === "webtransport") return undefined;
    if (!this.#hasWebTransport) return "unsupported";
    return this.#failed.has("webtransport") ? "blocked" : undefined;
  }

  #isRemembered(epochMs: number): boolean {
    const age = this.failedAt === undefined ? Infinity : epochMs - this.failedAt;
    // A clock that was set back makes it look like the future.
    return age >= 0 && age < REMEMBERED_MS;
  }
}
