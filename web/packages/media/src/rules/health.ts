// How the meeting is for this client, in the figures that the controller counts:
// differences between what was counted at this report and at the one before. Pure.
import { create } from "@bufbuild/protobuf";
import {
  ClientKind,
  DecoderState,
  HealthReportSchema,
  SessionCarrier,
  type HealthReport,
} from "@darktower/protocol";
import type { TransportName } from "@darktower/session";

/** Of one incoming stream, counted since it began. */
export interface StreamCounts {
  readonly kind: "audio" | "video";
  readonly received: number;
  readonly lost: number;
  readonly decodeErrors: number;
  /** Times that frames were skipped because the decoder was too slow. */
  readonly behind: number;
  /** Pictures that left the decoder. */
  readonly decoded: number;
  /** Of sound. */
  readonly jitterMs: number | null;
}

export interface HealthFigures {
  readonly signalingCarrier: TransportName | undefined;
  readonly mediaCarrier: TransportName | undefined;
  readonly signalingRttMs: number | null;
  readonly mediaRttMs: number | null;
  /** By stream id. */
  readonly streams: ReadonlyMap<string, StreamCounts>;
}

const UINT32_MAX = 0xffff_ffff;
const MILLION = 1_000_000;

export class HealthRules {
  readonly #client: ClientKind;
  #before: ReadonlyMap<string, StreamCounts> = new Map();

  constructor(userAgent: string) {
    this.#client = clientKind(userAgent);
  }

  /** The report for the time since the one before. */
  report(figures: HealthFigures): HealthReport {
    const changes = [...figures.streams].map(([id, now]) => changeOf(now, this.#before.get(id)));
    this.#before = figures.streams;
    const signalingRttMs = whole(figures.signalingRttMs);
    const mediaRttMs = whole(figures.mediaRttMs);
    const jitterMs = whole(jitterOf(changes));
    const lostPpm = whole(lostOf(changes));
    return create(HealthReportSchema, {
      signalingCarrier: carrierOf(figures.signalingCarrier),
      mediaCarrier: carrierOf(figures.mediaCarrier),
      client: this.#client,
      decoder: decoderOf(changes),
      ...(signalingRttMs === undefined ? {} : { signalingRttMs }),
      ...(mediaRttMs === undefined ? {} : { mediaRttMs }),
      ...(jitterMs === undefined ? {} : { jitterMs }),
      ...(lostPpm === undefined ? {} : { lostPpm }),
    });
  }
}

/** By the user agent; unspecified for one that is not known. */
export function clientKind(userAgent: string): ClientKind {
  // On iOS each browser is WebKit, whatever its name.
  if (/\b(CriOS|FxiOS|EdgiOS)\//.test(userAgent)) return ClientKind.SAFARI;
  if (/\bFirefox\//.test(userAgent)) return ClientKind.FIREFOX;
  if (/\b(Headless)?(Chrome|Chromium)\//.test(userAgent)) return ClientKind.CHROMIUM;
  if (/\bSafari\//.test(userAgent)) return ClientKind.SAFARI;
  return ClientKind.CLIENT_KIND_UNSPECIFIED;
}

function carrierOf(name: TransportName | undefined): SessionCarrier {
  if (name === undefined) return SessionCarrier.SESSION_CARRIER_UNSPECIFIED;
  return name === "webtransport" ? SessionCarrier.WEBTRANSPORT : SessionCarrier.WEBSOCKET;
}

function changeOf(now: StreamCounts, before: StreamCounts | undefined): StreamCounts {
  const since = (what: "received" | "lost" | "decodeErrors" | "behind" | "decoded"): number =>
    Math.max(0, now[what] - (before?.[what] ?? 0));
  return {
    ...now,
    received: since("received"),
    lost: since("lost"),
    decodeErrors: since("decodeErrors"),
    behind: since("behind"),
    decoded: since("decoded"),
  };
}

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

/** The mean over the sounds that were heard. */
function jitterOf(changes: readonly StreamCounts[]): number | null {
  const heard = changes.filter((one) => one.received > 0).map((one) => one.jitterMs);
  const known = heard.filter((jitter) => jitter !== null);
  return known.length === 0 ? null : sum(known) / known.length;
}

function lostOf(changes: readonly StreamCounts[]): number | null {
  const lost = sum(changes.map((one) => one.lost));
  const sent = lost + sum(changes.map((one) => one.received));
  return sent === 0 ? null : (lost / sent) * MILLION;
}

function decoderOf(changes: readonly StreamCounts[]): DecoderState {
  const video = changes.filter((one) => one.kind === "video");
  if (video.some((one) => one.decodeErrors > 0)) return DecoderState.DECODER_FAILED;
  if (video.some((one) => one.behind > 0)) return DecoderState.DECODER_BEHIND;
  return video.some((one) => one.decoded > 0)
    ? DecoderState.DECODER_RUNNING
    : DecoderState.DECODER_IDLE;
}

/** For a field of 32 bits; undefined where the value is not known. */
function whole(value: number | null): number | undefined {
  if (value === null || !Number.isFinite(value)) return undefined;
  return Math.min(Math.max(Math.round(value), 0), UINT32_MAX);
}
