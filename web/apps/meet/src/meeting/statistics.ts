// What is measured, put into words: the same lines on the screen and on the
// clipboard. Pure.
import type { MeetingStats } from "@darktower/session";
import { texts } from "../texts";

export interface Section {
  readonly title: string;
  /** A name and its value each. */
  readonly rows: readonly (readonly [string, string])[];
}

const t = texts.statistics;

const ms = (value: number | null): string => (value === null ? t.unknown : t.ms(value));
const kbps = (value: number): string =>
  value >= 1000 ? `${(value / 1000).toFixed(1)} Mbit/s` : `${value.toFixed(0)} kbit/s`;
const size = (width: number, height: number): string =>
  width === 0 ? "" : `${String(width)}×${String(height)}`;
const words = (...parts: readonly string[]): string =>
  parts.filter((part) => part !== "").join(" · ");

/** `nameOf` gives a participant's name. */
export function sections(stats: MeetingStats, nameOf: (id: string) => string): readonly Section[] {
  const { joinTimings: join } = stats;
  const all: Section[] = [
    {
      title: t.connection,
      rows: [
        [t.phase, stats.phase],
        [t.transport, stats.transport],
        [t.controllerRtt, ms(stats.controllerRttMs)],
        [t.mediaRtt, ms(stats.mediaRttMs)],
        [t.sound, stats.audioOutput],
      ],
    },
    {
      title: t.sent,
      rows: stats.outgoing.map((out) => [
        out.kind,
        out.muted || !out.active
          ? out.muted
            ? "muted"
            : "paused, nobody watches"
          : words(
              out.carrier,
              size(out.width, out.height),
              out.kind === "microphone" ? "" : `${out.fps.toFixed(0)} fps`,
              kbps(out.kbps),
              out.droppedFrames > 0 ? `${String(out.droppedFrames)} dropped` : "",
            ),
      ]),
    },
    {
      title: t.received,
      rows: [
        ...stats.video.map((video): readonly [string, string] => [
          `${nameOf(video.participantId)}, ${video.kind}`,
          words(
            video.carrier,
            size(video.width, video.height),
            `${video.fps.toFixed(0)} fps`,
            kbps(video.kbps),
            `${String(video.lost)} lost`,
            video.decodeErrors > 0 ? `${String(video.decodeErrors)} decode errors` : "",
          ),
        ]),
        ...stats.audio.map((audio): readonly [string, string] => [
          `${nameOf(audio.participantId)}, sound`,
          words(
            kbps(audio.kbps),
            `buffer ${audio.bufferMs.toFixed(0)} ms`,
            `${String(audio.lost)} lost`,
            `${audio.concealedMs.toFixed(0)} ms concealed`,
          ),
        ]),
      ],
    },
  ];
  if (join !== null) {
    all.push({
      title: t.join,
      rows: [
        [t.joined, ms(join.joinedMs)],
        [t.firstVideo, ms(join.firstVideoDrawnMs)],
        [t.firstAudio, ms(join.firstAudioMs)],
      ],
    });
  }
  const discarded = Object.entries(stats.discarded).filter(([, n]) => n > 0);
  if (discarded.length > 0) {
    all.push({ title: t.discarded, rows: discarded.map(([why, n]) => [why, String(n)]) });
  }
  return all;
}

/** The sections as plain text, a line a row. */
export function asText(all: readonly Section[]): string {
  return all
    .map(({ title, rows }) =>
      [title, ...rows.map(([name, value]) => `  ${name}: ${value}`)].join("\n"),
    )
    .join("\n");
}
