// Which carrier a session gets: one has a head start, the other is dialled beside
// it, and the first that is ready wins. Pure: the driver dials and closes as the
// effects say, and reports back. Times are milliseconds of one monotonic clock.
import type { TransportName } from "@darktower/session";

/** The first carrier has so long before the other is dialled beside it. */
export const HEAD_START_MS = 400;
/** Where both are dialled at once the favourite wins even if it is so much later. */
const FAVOUR_MS = 250;

export interface Entrant {
  readonly carrier: TransportName;
  /** After the start, unless those before it fail sooner. */
  readonly afterMs: number;
}

export interface Plan {
  /** The favourite first. */
  readonly entrants: readonly Entrant[];
  /** So long after the start nobody but the favourite wins while it may still. */
  readonly favourMs: number;
}

/** What is known when a session is to be opened. */
export interface Known {
  /** Those that the browser and the server have. */
  readonly offered: readonly TransportName[];
  /** What served this meeting last, or is to after the other failed. */
  readonly preferred: TransportName | undefined;
  /** WebTransport failed on this network a while ago. */
  readonly webTransportFailed: boolean;
}

/** The plan of the next race; undefined: there is no way at all. */
export function planRace(known: Known): Plan | undefined {
  const { offered, preferred, webTransportFailed } = known;
  const favourite = preferred ?? "webtransport";
  const [first, second] = [...offered].sort((a, b) => rank(a, favourite) - rank(b, favourite));
  if (first === undefined) return undefined;
  const entrants: Entrant[] = [{ carrier: first, afterMs: 0 }];
  const together = webTransportFailed && preferred === undefined;
  if (second !== undefined) {
    entrants.push({ carrier: second, afterMs: together ? 0 : HEAD_START_MS });
  }
  // Without it the faster handshake of TCP would win on every network from here on.
  return { entrants, favourMs: together ? FAVOUR_MS : 0 };
}

const rank = (carrier: TransportName, favourite: TransportName): number =>
  carrier === favourite ? 0 : 1;

export type RaceEffect =
  | { readonly type: "dial"; readonly carrier: TransportName }
  /** It lost, whether it is open or not. */
  | { readonly type: "close"; readonly carrier: TransportName }
  | {
      readonly type: "won";
      readonly carrier: TransportName;
      /** Dialled before and not ready when this one was. */
      readonly beaten: readonly TransportName[];
    }
  | { readonly type: "failed" };

interface Runner extends Entrant {
  state: "waiting" | "dialling" | "ready" | "failed";
}

export class Race {
  readonly #runners: Runner[];
  readonly #startedAt: number;
  readonly #favourMs: number;
  /** Nobody waits for the result: the favourite gets all the time that it takes. */
  #patient: boolean;
  #effects: RaceEffect[] = [];
  #over = false;

  constructor(plan: Plan, patient: boolean, nowMs: number) {
    this.#runners = plan.entrants.map((entrant) => ({ ...entrant, state: "waiting" }));
    this.#startedAt = nowMs;
    this.#favourMs = plan.favourMs;
    this.#patient = patient;
    this.#go(nowMs);
  }

  /** What is to be done, oldest first; empties the list. */
  takeEffects(): RaceEffect[] {
    return this.#effects.splice(0);
  }

  /** When {@link handleTimeout} is wanted at the latest. */
  get due(): number | undefined {
    if (this.#over) return undefined;
    const dues = this.#runners
      .filter((runner) => runner.state === "waiting")
      .map((runner) => this.#startedAt + runner.afterMs);
    const held = this.#runners.some((runner) => runner.state === "ready");
    if (held && !this.#patient) dues.push(this.#startedAt + this.#favourMs);
    return dues.length === 0 ? undefined : Math.min(...dues);
  }

  handleReady(carrier: TransportName, nowMs: number): void {
    this.#becomes(carrier, "ready", nowMs);
  }

  /** It could not be opened, or broke while it waited for the result. */
  handleFailed(carrier: TransportName, nowMs: number): void {
    this.#becomes(carrier, "failed", nowMs);
  }

  handleTimeout(nowMs: number): void {
    this.#go(nowMs);
  }

  /** Somebody waits for the result from here on. */
  hurry(nowMs: number): void {
    this.#patient = false;
    this.#go(nowMs);
  }

  /** It became known that this one works here and the others do not. */
  prefer(carrier: TransportName, nowMs: number): void {
    const at = this.#runners.findIndex((runner) => runner.carrier === carrier);
    const runner = this.#runners[at];
    if (runner === undefined || this.#over) return;
    this.#runners.splice(at, 1);
    this.#runners.unshift(runner);
    if (runner.state === "waiting") this.#dial(runner);
    this.#go(nowMs);
  }

  /** The result is not wanted any more. */
  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#closeAll();
  }

  #becomes(carrier: TransportName, state: "ready" | "failed", nowMs: number): void {
    const runner = this.#runners.find((one) => one.carrier === carrier);
    if (runner === undefined || runner.state === "failed" || this.#over) return;
    runner.state = state;
    this.#go(nowMs);
  }

  #dial(runner: Runner): void {
    runner.state = "dialling";
    this.#effects.push({ type: "dial", carrier: runner.carrier });
  }

  #go(nowMs: number): void {
    if (this.#over) return;
    let allFailed = true;
    for (const runner of this.#runners) {
      const due = nowMs >= this.#startedAt + runner.afterMs;
      if (runner.state === "waiting" && (due || allFailed)) this.#dial(runner);
      allFailed &&= runner.state === "failed";
    }
    if (allFailed) {
      this.#over = true;
      this.#effects.push({ type: "failed" });
      return;
    }
    const winner = this.#runners.find((runner) => runner.state === "ready");
    if (winner === undefined) return;
    const better = this.#runners.slice(0, this.#runners.indexOf(winner));
    const favoured = this.#patient || nowMs < this.#startedAt + this.#favourMs;
    if (favoured && better.some((runner) => runner.state === "dialling")) return;
    this.#over = true;
    const beaten = this.#runners.filter(({ state }) => state === "dialling" || state === "failed");
    this.#effects.push({
      type: "won",
      carrier: winner.carrier,
      beaten: beaten.map((runner) => runner.carrier),
    });
    this.#closeAll(winner);
  }

  #closeAll(winner?: Runner): void {
    for (const runner of this.#runners) {
      const open = runner.state === "dialling" || runner.state === "ready";
      if (open && runner !== winner) this.#effects.push({ type: "close", carrier: runner.carrier });
    }
  }
}
