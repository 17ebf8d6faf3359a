// Drives the signaling rules with real sessions and timers. A session that was
// opened ahead of the join serves the first attempt.
import { readServerMessage, type Framed } from "@darktower/protocol";
import {
  CloseCode,
  type Endpoint,
  type Signaling,
  type SignalingEvent,
  type TransportName,
} from "@darktower/session";
import type { CarrierChoice } from "../rules/carrier-choice";
import { Dialing, type Won } from "./carrier/dialing";
import type { Session } from "./carrier/types";

/** A leave has so long to reach the server before the session closes. */
const LINGER_MS = 150;

interface Attempt {
  readonly dialing: Dialing;
  won: Won | undefined;
  /** The server gave a seat on it. */
  works: boolean;
}

export interface ControllerEvents {
  event(event: SignalingEvent): void;
  /** A session works, on this carrier. */
  works(carrier: TransportName): void;
  discard(cause: string): void;
}

export class ControllerLink {
  readonly #signaling: Signaling;
  readonly #endpoint: Endpoint;
  readonly #choice: CarrierChoice;
  readonly #events: ControllerEvents;
  readonly #attempts = new Map<number, Attempt>();
  #warm: Dialing | undefined;
  #warmSession: Session | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pumping = false;

  constructor(
    signaling: Signaling,
    endpoint: Endpoint,
    choice: CarrierChoice,
    events: ControllerEvents,
  ) {
    this.#signaling = signaling;
    this.#endpoint = endpoint;
    this.#choice = choice;
    this.#events = events;
  }

  /** What carries the session that counts, or the one that is warm. */
  get carrier(): TransportName | undefined {
    for (const attempt of this.#attempts.values()) {
      if (attempt.won !== undefined) return attempt.won.session.carrier;
    }
    return this.#warmSession?.carrier;
  }

  /** Opens a session ahead of the join. */
  warm(): void {
    if (this.#warm !== undefined || this.#signaling.phase.phase !== "idle") return;
    const warm = this.#dial(true);
    this.#warm = warm;
    const gone = (): void => {
      if (this.#warm === warm) this.#cooled();
    };
    warm?.won.then(({ session }) => {
      if (this.#warm === warm) this.#warmSession = session;
      void session.closed.then(gone);
    }, gone);
  }

  /** Gives up a session that no join came to use. */
  cool(): void {
    this.#warm?.cancel();
    this.#warmSession?.close(CloseCode.graceful);
    this.#cooled();
  }

  /** Carries out what the rules want. Call after every call of theirs. */
  pump(): void {
    // An event's listener may call the rules again: the loop takes that up.
    if (this.#pumping) return;
    this.#pumping = true;
    for (;;) {
      const effects = this.#signaling.takeEffects();
      if (effects.length === 0) break;
      for (const effect of effects) {
        switch (effect.type) {
          case "connect":
            this.#connect(effect.attempt);
            break;
          case "send":
            this.#attempts.get(effect.attempt)?.won?.session.send(effect.message);
            break;
          case "close":
            this.#close(effect.attempt, effect.code, effect.failed);
            break;
          case "event":
            this.#events.event(effect.event);
            break;
        }
      }
    }
    this.#pumping = false;
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const due = this.#signaling.due;
    if (due === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#signaling.handleTimeout(performance.now());
        this.pump();
      },
      Math.max(0, due - performance.now()),
    );
  }

  #cooled(): void {
    this.#warm = undefined;
    this.#warmSession = undefined;
  }

  #dial(patient: boolean): Dialing | undefined {
    const plan = this.#choice.plan(this.#endpoint.websocketUrl !== null, Date.now());
    return plan && new Dialing(this.#endpoint, "signaling", plan, patient);
  }

  #connect(attempt: number): void {
    const dialing = this.#warm ?? this.#dial(false);
    this.#cooled();
    if (dialing === undefined) {
      this.#signaling.handleClosed(attempt, undefined, "no way to the server", performance.now());
      return;
    }
    const made: Attempt = { dialing, won: undefined, works: false };
    this.#attempts.set(attempt, made);
    void this.#open(attempt, made);
    dialing.hurry();
  }

  async #open(attempt: number, made: Attempt): Promise<void> {
    try {
      made.won = await made.dialing.won;
      const { session } = made.won;
      void session.closed.then(({ code, message }) => {
        this.#gone(attempt, code, message);
      });
      await session.start({
        control: (framed) => {
          this.#take(attempt, made, framed);
        },
        discard: (cause) => {
          this.#events.discard(cause);
        },
      });
    } catch (error) {
      this.#gone(attempt, undefined, error instanceof Error ? error.message : "cannot connect");
      return;
    }
    this.#signaling.handleOpen(attempt, performance.now());
    this.pump();
  }

  #take(attempt: number, made: Attempt, framed: Framed): void {
    const now = performance.now();
    if (framed.type === "rtt") {
      this.#signaling.handleEcho(attempt, framed.bytes, now);
    } else {
      const message = readServerMessage(framed.bytes);
      if (message !== undefined) this.#signaling.handleMessage(attempt, message, now);
    }
    if (!made.works && made.won !== undefined && this.#signaling.phase.phase === "joined") {
      made.works = true;
      const { session, beaten } = made.won;
      this.#choice.handleWorks(session.carrier, beaten, Date.now());
      this.#events.works(session.carrier);
    }
    this.pump();
  }

  #gone(attempt: number, code: number | undefined, message: string): void {
    const made = this.#attempts.get(attempt);
    if (made === undefined) return;
    this.#attempts.delete(attempt);
    // Closed with a code it was the server's wish, and no fault of the carrier.
    if (code === undefined) this.#lost(made);
    this.#end(made, CloseCode.graceful);
    this.#signaling.handleClosed(attempt, code, message, performance.now());
    this.pump();
  }

  #close(attempt: number, code: number, failed: boolean): void {
    const made = this.#attempts.get(attempt);
    if (made === undefined) return;
    this.#attempts.delete(attempt);
    if (failed) this.#lost(made);
    setTimeout(() => {
      this.#end(made, code);
    }, LINGER_MS);
  }

  #lost(made: Attempt): void {
    if (made.won !== undefined) this.#choice.handleLost(made.won.session.carrier);
  }

  #end(made: Attempt, code: number): void {
    made.dialing.cancel();
    made.won?.session.close(code);
  }
}
