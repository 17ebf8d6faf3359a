import { ClientKind, DecoderState, SessionCarrier } from "@darktower/protocol";
import { describe, expect, it } from "vitest";
import {
  HealthRules,
  clientKind,
  type HealthFigures,
  type StreamCounts,
} from "../src/rules/health";
import { Jitter } from "../src/rules/jitter";

const none: HealthFigures = {
  signalingCarrier: undefined,
  mediaCarrier: undefined,
  signalingRttMs: null,
  mediaRttMs: null,
  streams: new Map(),
};
const counts = (more: Partial<StreamCounts> = {}): StreamCounts => ({
  kind: "video",
  received: 0,
  lost: 0,
  decodeErrors: 0,
  behind: 0,
  decoded: 0,
  jitterMs: null,
  ...more,
});
const streams = (...all: StreamCounts[]): Pick<HealthFigures, "streams"> => ({
  streams: new Map(all.map((one, i) => [String(i), one])),
});

describe("a health report", () => {
  it("says nothing of what is not known", () => {
    const report = new HealthRules("").report(none);
    expect(report).toMatchObject({
      signalingCarrier: SessionCarrier.SESSION_CARRIER_UNSPECIFIED,
      mediaCarrier: SessionCarrier.SESSION_CARRIER_UNSPECIFIED,
      client: ClientKind.CLIENT_KIND_UNSPECIFIED,
      decoder: DecoderState.DECODER_IDLE,
    });
    for (const field of ["signalingRttMs", "mediaRttMs", "jitterMs", "lostPpm"] as const) {
      expect(report[field]).toBeUndefined();
    }
  });

  it("says what carries the sessions and how long they take", () => {
    const report = new HealthRules("Firefox/140.0").report({
      ...none,
      signalingCarrier: "websocket",
      mediaCarrier: "webtransport",
      signalingRttMs: 12.4,
      mediaRttMs: 0.2,
    });
    expect(report).toMatchObject({
      signalingCarrier: SessionCarrier.WEBSOCKET,
      mediaCarrier: SessionCarrier.WEBTRANSPORT,
      client: ClientKind.FIREFOX,
      signalingRttMs: 12,
      mediaRttMs: 0,
    });
  });

  it("counts what was lost since the one before", () => {
    const rules = new HealthRules("");
    const lost = (...all: StreamCounts[]) => rules.report({ ...none, ...streams(...all) }).lostPpm;
    expect(lost(counts({ received: 900, lost: 100 }))).toBe(100_000);
    expect(lost(counts({ received: 1899, lost: 101 }))).toBe(1000);
    // Nothing came: nothing is known. Streams that are gone count no more.
    expect(lost(counts({ received: 1899, lost: 101 }))).toBeUndefined();
    expect(lost()).toBeUndefined();
    // One that came back under its id begins anew, and is not a negative number.
    expect(lost(counts({ received: 3, lost: 1 }))).toBe(250_000);
    expect(lost(counts({ received: 2, lost: 0 }))).toBeUndefined();
  });

  it("has the mean jitter of what is heard", () => {
    const rules = new HealthRules("");
    const sound = (received: number, jitterMs: number | null) =>
      counts({ kind: "audio", received, jitterMs });
    const jitter = (...all: StreamCounts[]) =>
      rules.report({ ...none, ...streams(...all) }).jitterMs;
    expect(jitter(sound(10, 4), sound(10, 9), sound(0, 500), sound(1, null))).toBe(7);
    expect(jitter(sound(10, 4))).toBeUndefined();
  });

  it("tells the worst state of a decoder", () => {
    const rules = new HealthRules("");
    const state = (...all: StreamCounts[]) => rules.report({ ...none, ...streams(...all) }).decoder;
    const { DECODER_IDLE, DECODER_RUNNING, DECODER_BEHIND, DECODER_FAILED } = DecoderState;
    expect(state(counts({ decoded: 5 }))).toBe(DECODER_RUNNING);
    expect(state(counts({ decoded: 5 }))).toBe(DECODER_IDLE);
    expect(state(counts({ decoded: 9, behind: 1 }))).toBe(DECODER_BEHIND);
    const failed = counts({ decoded: 12, behind: 3, decodeErrors: 1 });
    expect(state(failed)).toBe(DECODER_FAILED);
    expect(state({ ...failed, decoded: 13 })).toBe(DECODER_RUNNING);
    const sound = { kind: "audio", decodeErrors: 9, decoded: 9 } as const;
    expect(state({ ...failed, decoded: 13 }, counts(sound))).toBe(DECODER_IDLE);
  });

  it("survives figures that are none", () => {
    const report = new HealthRules("").report({
      ...none,
      signalingRttMs: Number.NaN,
      mediaRttMs: 1e12,
    });
    expect(report.signalingRttMs).toBeUndefined();
    expect(report.mediaRttMs).toBe(0xffff_ffff);
  });
});

describe("the kind of client", () => {
  const { CHROMIUM, FIREFOX, SAFARI } = ClientKind;
  const webkit = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
  it.each([
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", FIREFOX],
    [`Mozilla/5.0 (X11; Linux x86_64) ${webkit} Chrome/142.0.0.0 Safari/537.36`, CHROMIUM],
    [`Mozilla/5.0 (X11) ${webkit} HeadlessChrome/142.0.0.0 Safari/537.36`, CHROMIUM],
    [`Mozilla/5.0 (Windows) ${webkit} Chrome/142.0 Safari/537.36 Edg/142.0`, CHROMIUM],
    [`Mozilla/5.0 (Macintosh) ${webkit} Version/26.0 Safari/605.1.15`, SAFARI],
    [`Mozilla/5.0 (iPhone) ${webkit} CriOS/142.0 Mobile/15E148 Safari/604.1`, SAFARI],
    [`Mozilla/5.0 (iPhone) ${webkit} FxiOS/140.0 Mobile/15E148 Safari/605.1.15`, SAFARI],
    ["curl/8.0", ClientKind.CLIENT_KIND_UNSPECIFIED],
  ])("of %s", (userAgent, kind) => {
    expect(clientKind(userAgent)).toBe(kind);
  });
});

describe("jitter", () => {
  it("is nothing for sound that arrives as it was sent, whatever the clocks", () => {
    const jitter = new Jitter();
    expect(jitter.value).toBeNull();
    for (let i = 0; i < 50; i++) jitter.add(9_000_000 + i * 20, 5 + i * 20);
    expect(jitter.value).toBe(0);
  });

  it("approaches the mean deviation, and takes a pause for no jitter", () => {
    const jitter = new Jitter();
    // Each second packet is 8 ms late: transit times differ by 8 ms each time.
    for (let i = 0; i < 200; i++) jitter.add(i * 20, i * 20 + (i % 2) * 8);
    expect(jitter.value).toBeCloseTo(8, 3);
    jitter.add(200 * 20, 9000);
    expect(jitter.value).toBeCloseTo(8, 3);
    jitter.add(Number.MAX_SAFE_INTEGER, 9020);
    expect(jitter.value).toBeLessThan(8 + 1000 / 16);
  });
});
