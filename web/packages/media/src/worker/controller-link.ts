// Drives the signaling rules with real sessions and timers. A session that was
// opened ahead of the join serves the first attempt.
import { readServerMessage, type Framed } from "@darktower/protocol";
import { CloseCode, type Endpoint, type Signaling, type SignalingEvent } from "@darktower/session";
import { ControlStream, closeQuietly, closedWith, dial } from "./transport";

/** The answer to a `closed` that does not come after the stream ended. */
const CLOSE_GRACE_MS = 300;
/** A leave has so long to reach the server before the session closes. */
const LINGER_MS = 150;

interface Session {
  readonly transport: WebTransport;
  control: ControlStream | undefined;
}

export class ControllerLink {
  readonly #signaling: Signaling;
  readonly #endpoint: Endpoint;
  readonly #onEvent: (event: SignalingEvent) => void;
  readonly #sessions = new Map<number, Session>();
  #warm: WebTransport | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pumping = false;

  constructor(signaling: Signaling, endpoint: Endpoint, onEvent: (event: SignalingEvent) => void) {
    this.#signaling = signaling;
    this.#endpoint = endpoint;
    this.#onEvent = onEvent;
  }

  /** Opens a session ahead of the join. */
  warm(): void {
    if (this.#warm !== undefined || this.#signaling.phase.phase !== "idle") return;
    const warm = dial(this.#endpoint);
    this.#warm = warm;
    void closedWith(warm).then(() => {
      if (this.#warm === warm) this.#warm = undefined;
    });
  }

  /** Gives up a session that no join came to use. */
  cool(): void {
    if (this.#warm !== undefined) closeQuietly(this.#warm, CloseCode.graceful);
    this.#warm = undefined;
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
            this.#sessions.get(effect.attempt)?.control?.send(effect.message);
            break;
          case "close":
            this.#close(effect.attempt, effect.code);
            break;
          case "event":
            this.#onEvent(effect.event);
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

  #connect(attempt: number): void {
    const transport = this.#warm ?? dial(this.#endpoint);
    this.#warm = undefined;
    const session: Session = { transport, control: undefined };
    this.#sessions.set(attempt, session);
    void closedWith(transport).then(({ code, message }) => {
      this.#gone(attempt, code, message);
    });
    void this.#open(attempt, session);
  }

  async #open(attempt: number, session: Session): Promise<void> {
    try {
      await session.transport.ready;
      session.control = await ControlStream.open(session.transport);
    } catch (error) {
      this.#gone(attempt, undefined, error instanceof Error ? error.message : "cannot connect");
      return;
    }
    this.#signaling.handleOpen(attempt, performance.now());
    this.pump();
    try {
      await session.control.read((framed) => {
        this.#take(attempt, framed);
      });
    } catch {
      // The server broke the protocol: nothing after it can be trusted.
      closeQuietly(session.transport, CloseCode.protocolError);
    }
    // The close code, if there is one, arrives just behind the stream's end.
    setTimeout(() => {
      this.#gone(attempt, undefined, "the server ended the session");
    }, CLOSE_GRACE_MS);
  }

  #take(attempt: number, framed: Framed): void {
    const now = performance.now();
    if (framed.type === "rtt") {
      this.#signaling.handleEcho(attempt, framed.bytes, now);
    } else {
      const message = readServerMessage(framed.bytes);
      if (message !== undefined) this.#signaling.handleMessage(attempt, message, now);
    }
    this.pump();
  }

  #gone(attempt: number, code: number | undefined, message: string): void {
    const session = this.#sessions.get(attempt);
    if (session === undefined) return;
    this.#sessions.delete(attempt);
    closeQuietly(session.transport, CloseCode.graceful);
    this.#signaling.handleClosed(attempt, code, message, performance.now());
    this.pump();
  }

  #close(attempt: number, code: number): void {
    const session = this.#sessions.get(attempt);
    if (session === undefined) return;
    this.#sessions.delete(attempt);
    setTimeout(() => {
      closeQuietly(session.transport, code);
    }, LINGER_MS);
  }
}
