// Tells the controller every ten seconds how the meeting is for this client; what
// is told is worked out in rules/health.ts.
import type { HealthReport } from "@darktower/protocol";
import { HealthRules, type HealthFigures } from "../rules/health";
import type { Engine } from "./engine";

const EVERY_MS = 10_000;

export class HealthReporter {
  readonly #engine: Engine;
  readonly #send: (report: HealthReport) => void;
  readonly #rules = new HealthRules(navigator.userAgent);
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(engine: Engine, send: (report: HealthReport) => void) {
    this.#engine = engine;
    this.#send = send;
  }

  start(): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => {
      this.#send(this.#rules.report(this.#figures()));
    }, EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #figures(): HealthFigures {
    const { handlers, signaling, incoming, carrier } = this.#engine;
    const media = handlers.all.find((link) => link.ready);
    return {
      signalingCarrier: carrier,
      mediaCarrier: media?.carrier,
      signalingRttMs: signaling.rttMs,
      mediaRttMs: media?.rttMs ?? null,
      streams: new Map([...incoming.sinks].map(([id, sink]) => [id, sink.counts()])),
    };
  }
}
