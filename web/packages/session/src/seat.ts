// One seat in one meeting, from the first attempt to the end: which session is
// tried when, with what credential, and when it counts as dead. Sans-IO: the
// driver does what `effects` says and reports back with the attempt's number;
// what happens to an older attempt than the newest does not matter any more.
import type { ErrorCode } from "@darktower/protocol";
import type { EndReason, JoinFailure } from "./api";
import { Backoff } from "./backoff";
import { CloseCode, verdictOfClose, verdictOfRefusal, type Verdict } from "./ending";
import { Liveness } from "./liveness";

/** For opening a session. */
const ATTEMPT_TIMEOUT_MS = 5000;
/**
 * For the answer to the join. A session that is open and does not answer is
 * broken (browsers whose streams stall): another carrier is tried.
 */
const ANSWER_TIMEOUT_MS = 3000;
/** Without a first join for so long it is given up. */
const FIRST_JOIN_MAX_MS = 12_000;
/** The server keeps a lost seat for so long. */
const SEAT_KEPT_MS = 300_000;
const HEARTBEAT_MS = 15_000;

export type SeatEffect =
  | { readonly type: "connect"; readonly attempt: number }
  | { readonly type: "join"; readonly attempt: number; readonly resume: Uint8Array | undefined }
  | { readonly type: "heartbeat"; readonly attempt: number }
  | { readonly type: "probe"; readonly attempt: number; readonly packet: Uint8Array }
  | {
      readonly type: "close";
      readonly attempt: number;
      readonly code: number;
      /** The session did not do what it was opened for, or does not any more. */
      readonly failed: boolean;
    };

type State =
  | { readonly name: "idle" }
  | { readonly name: "opening"; readonly attempt: number; readonly until: number }
  | {
      readonly name: "joining";
      readonly attempt: number;
      readonly until: number;
      readonly resuming: boolean;
    }
  | {
      readonly name: "joined";
      readonly attempt: number;
      readonly liveness: Liveness;
      nextHeartbeat: number;
    }
  | { readonly name: "waiting"; readonly until: number }
  | {
      readonly name: "ended";
      readonly reason: EndReason;
      readonly failure: JoinFailure;
      readonly message: string;
    };

export type SeatPhase =
  | { readonly phase: "idle" | "connecting" | "joined" }
  | { readonly phase: "reconnecting"; readonly since: number }
  | {
      readonly phase: "ended";
      readonly reason: EndReason;
      readonly failure: JoinFailure;
      readonly message: string;
      /** It ended before there was a seat. */
      readonly neverJoined: boolean;
    };

export class Seat {
  readonly effects: SeatEffect[] = [];
  readonly #backoff: Backoff;
  #state: State = { name: "idle" };
  #attempts = 0;
  #startedAt = 0;
  #lostAt: number | undefined;
  #everJoined = false;
  #resume: Uint8Array | undefined;

  constructor(random: () => number, resume?: Uint8Array) {
    this.#backoff = new Backoff(random);
    this.#resume = resume;
  }

  get phase(): SeatPhase {
    const state = this.#state;
    switch (state.name) {
      case "idle":
        return { phase: "idle" };
      case "joined":
        return { phase: "joined" };
      case "ended":
        return { phase: "ended", ...pick(state), neverJoined: !this.#everJoined };
      default:
        return this.#lostAt === undefined
          ? { phase: "connecting" }
          : { phase: "reconnecting", since: this.#lostAt };
    }
  }

  get rttMs(): number | null {
    return this.#state.name === "joined" ? this.#state.liveness.rttMs : null;
  }

  /** The session that counts now. */
  get attempt(): number | undefined {
    return "attempt" in this.#state ? this.#state.attempt : undefined;
  }

  /** When {@link handleTimeout} is wanted at the latest. */
  get due(): number | undefined {
    switch (this.#state.name) {
      case "idle":
      case "ended":
        return undefined;
      case "joined":
        return Math.min(this.#state.liveness.due, this.#state.nextHeartbeat);
      default:
        return this.#state.until;
    }
  }

  start(nowMs: number): void {
    if (this.#state.name !== "idle") return;
    this.#startedAt = nowMs;
    this.#connect(nowMs);
  }

  handleOpen(attempt: number, nowMs: number): void {
    if (this.#state.name !== "opening" || this.#state.attempt !== attempt) {
      this.#close(attempt);
      return;
    }
    this.effects.push({ type: "join", attempt, resume: this.#resume });
    this.#state = {
      name: "joining",
      attempt,
      until: nowMs + ANSWER_TIMEOUT_MS,
      resuming: this.#resume !== undefined,
    };
  }

  handleJoined(attempt: number, resume: Uint8Array, nowMs: number): void {
    if (this.#state.name !== "joining" || this.#state.attempt !== attempt) return;
    this.#resume = resume;
    this.#lostAt = undefined;
    this.#everJoined = true;
    this.#backoff.reset();
    const liveness = new Liveness(nowMs);
    this.#state = { name: "joined", attempt, liveness, nextHeartbeat: nowMs + HEARTBEAT_MS };
    this.#beat(nowMs);
  }

  handleRefused(
    attempt: number,
    refusal: { code: ErrorCode; message: string; retryAfterMs: number },
    nowMs: number,
  ): void {
    if (this.#state.name !== "joining" || this.#state.attempt !== attempt) return;
    const resuming = this.#state.resuming;
    this.#close(attempt);
    const verdict = verdictOfRefusal(refusal.code, refusal.retryAfterMs);
    if (resuming && !this.#everJoined && verdict.type === "over") {
      // A page that was reloaded too late: its join token is still good.
      this.#resume = undefined;
      this.#connect(nowMs);
      return;
    }
    this.#judge(verdict, refusal.message, nowMs);
  }

  /** Something arrived: a sign of life. */
  handleHeard(attempt: number, nowMs: number): void {
    if (this.#state.name === "joined" && this.#state.attempt === attempt) {
      this.#state.liveness.heard(nowMs);
    }
  }

  handleEcho(attempt: number, packet: Uint8Array, nowMs: number): void {
    if (this.#state.name === "joined" && this.#state.attempt === attempt) {
      this.#state.liveness.handleEcho(packet, nowMs);
    }
  }

  /** The session is gone or could not be opened; `code` when it was closed by the server. */
  handleClosed(attempt: number, code: number | undefined, message: string, nowMs: number): void {
    if (this.attempt === attempt) this.#judge(verdictOfClose(code), message, nowMs);
  }

  /** The person leaves, or the server said that this participant is out. */
  finish(reason: EndReason): void {
    if (this.#state.name === "ended") return;
    const attempt = this.attempt;
    if (attempt !== undefined) this.#close(attempt);
    this.#state = { name: "ended", reason, failure: "failed", message: "" };
  }

  handleTimeout(nowMs: number): void {
    const state = this.#state;
    switch (state.name) {
      case "opening":
      case "joining":
        if (nowMs < state.until) return;
        this.#close(state.attempt, true);
        this.#retry("the server does not answer", 0, nowMs);
        return;
      case "waiting":
        if (nowMs >= state.until) this.#connect(nowMs);
        return;
      case "joined":
        this.#beat(nowMs);
        return;
      case "idle":
      case "ended":
    }
  }

  /** The network came back: don't wait out the backoff. */
  hurry(nowMs: number): void {
    if (this.#state.name === "waiting") this.#connect(nowMs);
  }

  #close(attempt: number, failed = false): void {
    this.effects.push({ type: "close", attempt, code: CloseCode.graceful, failed });
  }

  #connect(nowMs: number): void {
    const attempt = ++this.#attempts;
    this.effects.push({ type: "connect", attempt });
    this.#state = { name: "opening", attempt, until: nowMs + ATTEMPT_TIMEOUT_MS };
  }

  #beat(nowMs: number): void {
    const state = this.#state;
    if (state.name !== "joined") return;
    if (nowMs >= state.nextHeartbeat) {
      state.nextHeartbeat = nowMs + HEARTBEAT_MS;
      this.effects.push({ type: "heartbeat", attempt: state.attempt });
    }
    for (;;) {
      const probe = state.liveness.poll(nowMs);
      if (probe.type === "wait") return;
      if (probe.type === "dead") break;
      this.effects.push({ type: "probe", attempt: state.attempt, packet: probe.packet });
    }
    this.#close(state.attempt, true);
    this.#retry("the connection was lost", 0, nowMs);
  }

  #judge(verdict: Verdict, message: string, nowMs: number): void {
    if (verdict.type === "retry") this.#retry(message, verdict.afterMs, nowMs);
    else this.#state = { name: "ended", ...pick(verdict), message };
  }

  #retry(message: string, afterMs: number, nowMs: number): void {
    if (this.#state.name === "joined") this.#lostAt = nowMs;
    const until = nowMs + Math.max(this.#backoff.next(), afterMs);
    const [since, patience] =
      this.#lostAt === undefined
        ? [this.#startedAt, FIRST_JOIN_MAX_MS]
        : [this.#lostAt, SEAT_KEPT_MS];
    this.#state =
      until >= since + patience
        ? { name: "ended", reason: "lost", failure: "unreachable", message }
        : { name: "waiting", until };
  }
}

function pick(from: { reason: EndReason; failure: JoinFailure; message?: string }): {
  reason: EndReason;
  failure: JoinFailure;
  message: string;
} {
  return { reason: from.reason, failure: from.failure, message: from.message ?? "" };
}
