// A session being opened, by whichever carrier wins the race: the rules are in
// rules/race.ts, this dials, waits and closes.
import { CloseCode, type Endpoint, type TransportName } from "@darktower/session";
import { Race, type Plan } from "../../rules/race";
import type { Session, SessionKind } from "./types";
import { WebSocketSession } from "./websocket";
import { WebTransportSession } from "./webtransport";

export interface Won {
  readonly session: Session;
  /** Carriers that were tried and not ready when this one was. */
  readonly beaten: readonly TransportName[];
}

function dial(carrier: TransportName, endpoint: Endpoint, kind: SessionKind): Session {
  return carrier === "webtransport"
    ? new WebTransportSession(endpoint)
    : new WebSocketSession(endpoint, kind);
}

export class Dialing {
  /** Rejects when no carrier could be opened, or it was cancelled. */
  readonly won: Promise<Won>;
  readonly #endpoint: Endpoint;
  readonly #kind: SessionKind;
  readonly #race: Race;
  readonly #sessions = new Map<TransportName, Session>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #resolve: (won: Won) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  #running = false;

  /** `patient`: nobody waits for it yet, see {@link hurry}. */
  constructor(endpoint: Endpoint, kind: SessionKind, plan: Plan, patient: boolean) {
    this.#endpoint = endpoint;
    this.#kind = kind;
    this.won = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.won.catch(() => undefined);
    this.#race = new Race(plan, patient, performance.now());
    this.#run();
  }

  /** Somebody waits from here on. */
  hurry(): void {
    this.#race.hurry(performance.now());
    this.#run();
  }

  prefer(carrier: TransportName): void {
    this.#race.prefer(carrier, performance.now());
    this.#run();
  }

  /** Closes what is open, unless the race is over: then it is the winner's holder who does. */
  cancel(): void {
    this.#race.cancel();
    this.#run();
    this.#reject(new Error("not wanted any more"));
  }

  #run(): void {
    // A carrier that can't even be dialled fails in the midst of it.
    if (this.#running) return;
    this.#running = true;
    for (let effects = this.#race.takeEffects(); effects.length > 0;) {
      for (const effect of effects) {
        switch (effect.type) {
          case "dial":
            this.#dial(effect.carrier);
            break;
          case "close":
            this.#sessions.get(effect.carrier)?.close(CloseCode.graceful);
            break;
          case "won":
            this.#settle(effect.carrier, effect.beaten);
            break;
          case "failed":
            this.#reject(new Error("the server cannot be reached"));
        }
      }
      effects = this.#race.takeEffects();
    }
    this.#running = false;
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const { due } = this.#race;
    if (due === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#race.handleTimeout(performance.now());
        this.#run();
      },
      Math.max(0, due - performance.now()),
    );
  }

  #dial(carrier: TransportName): void {
    const failed = (): void => {
      this.#race.handleFailed(carrier, performance.now());
      this.#run();
    };
    let session: Session;
    try {
      session = dial(carrier, this.#endpoint, this.#kind);
    } catch {
      failed();
      return;
    }
    this.#sessions.set(carrier, session);
    session.ready.then(() => {
      this.#race.handleReady(carrier, performance.now());
      this.#run();
    }, failed);
    // Open, and gone before the race was decided.
    void session.closed.then(failed);
  }

  #settle(carrier: TransportName, beaten: readonly TransportName[]): void {
    const session = this.#sessions.get(carrier);
    if (session !== undefined) this.#resolve({ session, beaten });
  }
}
