// What is measured, put into words: the same lines on the screen and on the
// clipboard. Pure.
import type {
  EncodingStats,
  IncomingAudioStats,
  IncomingVideoStats,
  MeetingStats,
  OutgoingStats,
  TransportStats,
} from "@darktower/session";
import { texts } from "../texts";

/** A name and its value. */
export type Row = readonly [string, string];

export interface Section {
  readonly title: string;
  readonly rows: readonly Row[];
}

const t = texts.statistics;

const ms = (value: number | null): string => (value === null ? t.unknown : t.ms(value));
const rate = (kbps: number): string => (kbps >= 1000 ? t.mbps(kbps / 1000) : t.kbps(kbps));
const size = (width: number, height: number): string =>
  width === 0 ? "" : `${String(width)}×${String(height)}`;
const words = (...parts: readonly string[]): string =>
  parts.filter((part) => part !== "").join(" · ");
const some = (n: number, say: (n: number) => string): string => (n > 0 ? say(n) : "");

/** `nameOf` gives a participant's name. */
export function sections(stats: MeetingStats, nameOf: (id: string) => string): readonly Section[] {
  const all: Section[] = [
    {
      title: t.connection,
      rows: [
        [t.phase, t.phases[stats.phase]],
        [t.signalingTransport, carrier(stats.signalingTransport)],
        [t.mediaTransport, carrier(stats.mediaTransport)],
        [t.controllerRtt, ms(stats.controllerRttMs)],
        [t.mediaRtt, ms(stats.mediaRttMs)],
        ...(stats.uplinkLostPpm === null
          ? []
          : [[t.uplinkLoss, t.percent(stats.uplinkLostPpm / 10_000)] as const]),
        [t.sound, stats.audioOutput],
        [t.decoding, stats.overloaded ? t.overloaded : t.keepsUp],
      ],
    },
    { title: t.sent, rows: stats.outgoing.flatMap(sentRows) },
    {
      title: t.received,
      rows: [
        ...stats.video.map((video): Row => {
          const name = t.of(nameOf(video.participantId), t.kinds[video.kind]);
          return [name, seen(video)];
        }),
        ...stats.audio.map((audio): Row => {
          const name = t.of(nameOf(audio.participantId), t.kinds.microphone);
          return [name, heard(audio)];
        }),
      ],
    },
  ];
  const { encryption } = stats;
  if (encryption !== null) {
    const rows: Row[] = [
      [t.suite, t.suites[encryption.suite]],
      [t.epoch, t.epochOf(encryption.epoch, encryption.group)],
      [t.leaf, encryption.leaf === null ? t.unknown : String(encryption.leaf)],
      [t.sealed, String(encryption.sealed)],
      [t.opened, String(encryption.opened)],
      [t.decryptFailures, String(encryption.decryptFailures)],
      [t.openTime, t.fineMs(encryption.openMs)],
    ];
    all.splice(1, 0, { title: t.encryption, rows });
  }
  const { joinTimings: join } = stats;
  if (join !== null) {
    const rows: Row[] = [
      [t.joined, ms(join.joinedMs)],
      [t.firstVideo, ms(join.firstVideoDrawnMs)],
      [t.firstAudio, ms(join.firstAudioMs)],
    ];
    if (join.keysMs !== null) rows.splice(1, 0, [t.keys, ms(join.keysMs)]);
    all.push({ title: t.join, rows });
  }
  const discarded = Object.entries(stats.discarded).filter(([, n]) => n > 0);
  if (discarded.length > 0) {
    all.push({ title: t.discarded, rows: discarded.map(([why, n]) => [why, String(n)]) });
  }
  return all;
}

function carrier(transport: TransportStats | null): string {
  if (transport === null) return t.unknown;
  const name = t.carriers[transport.carrier];
  return transport.reason === null ? name : `${name}, ${t.because[transport.reason]}`;
}

/** All of a stream together, and below it each of its encodings where it has several. */
function sentRows(out: OutgoingStats): readonly Row[] {
  const name = t.kinds[out.kind];
  const rows: Row[] = [[name, sent(out)]];
  if (out.muted || !out.active || out.encodings.length < 2) return rows;
  for (const one of out.encodings.toReversed()) {
    rows.push([t.of(name, t.layer(one.encoding + 1)), sentEncoding(one)]);
  }
  return rows;
}

function sent(out: OutgoingStats): string {
  if (out.muted) return t.muted;
  if (!out.active) return t.paused;
  if (out.kind === "microphone") {
    return words(out.carrier, rate(out.kbps), out.repeating ? t.repeating : "");
  }
  const [only] = out.encodings;
  return words(
    out.carrier,
    out.encodings.length === 1 && only !== undefined ? codec(only.codec) : "",
    size(out.width, out.height),
    t.fps(out.fps),
    rate(out.kbps),
    some(out.droppedFrames, t.dropped),
  );
}

const sentEncoding = (one: EncodingStats): string =>
  one.active
    ? words(
        codec(one.codec),
        size(one.width, one.height),
        t.fps(one.fps),
        one.bitrate > 0 ? t.outOf(rate(one.kbps), rate(one.bitrate / 1000)) : rate(one.kbps),
      )
    : t.paused;

/** By the name that people know; the FourCC where there is none. */
const codec = (fourCc: string): string => t.codecs[fourCc] ?? fourCc;

const seen = (video: IncomingVideoStats): string =>
  words(
    video.carrier,
    codec(video.codec),
    video.encoding === null ? "" : t.layer(video.encoding + 1),
    size(video.width, video.height),
    t.fps(video.fps),
    rate(video.kbps),
    t.lost(video.lost),
    some(video.switches, t.switches),
    some(video.decodeErrors, t.decodeErrors),
    some(video.decryptFailures, t.unopened),
  );

const heard = (audio: IncomingAudioStats): string =>
  words(
    rate(audio.kbps),
    t.buffer(audio.bufferMs),
    t.lost(audio.lost),
    t.concealed(audio.concealedMs),
    some(audio.decodeErrors, t.decodeErrors),
    some(audio.decryptFailures, t.unopened),
  );

/** The sections as plain text, a line a row. */
export function asText(all: readonly Section[]): string {
  return all
    .map(({ title, rows }) =>
      [title, ...rows.map(([name, value]) => `  ${name}: ${value}`)].join("\n"),
    )
    .join("\n");
}
