// One of three receivers is squeezed for a while: what it keeps, how soon it is
// back, and that the others see nothing of it. Real bots, and a real wire.
import { table, type Row } from "./bench_report.ts";
import { noFirewall } from "./firewall.ts";
import { NEAR_HOST, NarrowNetwork } from "./narrow.ts";
import type { Json, Program } from "./process.ts";
import { Server } from "./server.ts";
import { pause } from "./waiting.ts";

const SQUEEZED_KBPS = 300;
/** Until the pictures have settled; squeezed; and then released. */
const BEFORE_MS = 8000;
const SQUEEZED_MS = 15_000;
const AFTER_MS = 12_000;
const WATCH_MS = 100;
const EXTRA_MS = 60_000;

/** What came in a tenth of a second. */
interface Look {
  /** When, in milliseconds since the epoch. */
  readonly at: number;
  readonly audio: number;
  /** Pictures of each encoding, smallest first. */
  readonly video: readonly number[];
  readonly audioLatency: number;
}

function look({ json, at }: { json: Json; at: number }): Look {
  return {
    at,
    audio: Number(json["audio_frames"]),
    video: json["video_frames"] as number[],
    audioLatency: Number(json["audio_latency_max_ms"]),
  };
}

const pictures = (one: Look) => one.video.reduce((sum, count) => sum + count, 0);

function figures(looks: readonly Look[]): {
  fps: number;
  gap: number;
  audio: number;
  late: number;
} {
  const sum = (of: (one: Look) => number) => looks.reduce((all, one) => all + of(one), 0);
  const first = looks.at(0)?.at ?? 0;
  const last = looks.at(-1)?.at ?? 0;
  let gap = 0;
  let seen = first;
  for (const one of looks) {
    if (pictures(one) === 0) continue;
    gap = Math.max(gap, one.at - seen);
    seen = one.at;
  }
  return {
    fps: sum(pictures) / ((last - first) / 1000),
    gap: Math.max(gap, last - seen),
    audio: sum((one) => one.audio),
    late: Math.max(...looks.map((one) => one.audioLatency)),
  };
}

/** The best encoding alone, from then on; in milliseconds after `from`. */
function backAfter(looks: readonly Look[], best: number, from: number): number {
  let back = Number.NaN;
  for (const one of looks) {
    const isBest = (one.video[best] ?? 0) > 0 && pictures(one) === one.video[best];
    if (pictures(one) > 0 && !isBest) back = Number.NaN;
    else if (isBest && Number.isNaN(back)) back = one.at - from;
  }
  return back;
}

export async function squeezedReceiver(): Promise<void> {
  if (noFirewall !== undefined) {
    console.log(`\nA squeezed receiver: left out, ${noFirewall}`);
    return;
  }
  const network = await NarrowNetwork.open();
  const server = await Server.start([], NEAR_HOST);
  try {
    const { url } = await server.createMeeting();
    const seconds = (BEFORE_MS + SQUEEZED_MS + AFTER_MS) / 1000 + 10;
    const publishing = ["--publish", "audio,video", "--layers", "3"];
    const sender = server.bot(url, "Sender", seconds + 20, publishing);
    await sender.event("joined", EXTRA_MS);
    const watching = ["--watch", `${WATCH_MS}ms`];
    const receivers: Program[] = [
      server.bot(url, "Squeezed", seconds, watching, network.launcher),
      server.bot(url, "Other 1", seconds, watching),
      server.bot(url, "Other 2", seconds, watching),
    ];
    await Promise.all(receivers.map((one) => one.event("joined", EXTRA_MS)));

    await pause(BEFORE_MS);
    const squeezedAt = Date.now();
    await network.squeeze(SQUEEZED_KBPS);
    await pause(SQUEEZED_MS);
    const queueBytes = await network.release();
    const releasedAt = Date.now();
    await pause(AFTER_MS);

    const all = receivers.map((one) => one.events("watch").map(look));
    const within = (looks: readonly Look[], from: number, to: number) =>
      looks.filter((one) => one.at >= from && one.at < to);
    const best = Math.max(...all.flat().map((one) => one.video.length)) - 1;
    // What was said meanwhile, and a while to arrive.
    const heard = all.map((looks) => figures(within(looks, squeezedAt, releasedAt + 2000)).audio);
    const [squeezedHeard = Number.NaN, ...others] = heard;
    const said = Math.max(...others);
    const rows: Row[] = ["squeezed", "other 1", "other 2"].map((receiver, place) => {
      const looks = all[place] ?? [];
      const during = figures(within(looks, squeezedAt, releasedAt));
      const before = figures(within(looks, squeezedAt - BEFORE_MS / 2, squeezedAt));
      const heardHere = place === 0 ? squeezedHeard : (others[place - 1] ?? Number.NaN);
      return {
        receiver,
        "fps before": before.fps.toFixed(1),
        "fps squeezed": during.fps.toFixed(1),
        "longest gap ms": during.gap,
        "sound lost %": (100 * (1 - heardHere / said)).toFixed(2),
        "sound late at most ms": during.late.toFixed(0),
        "best again after ms": place === 0 ? backAfter(looks, best, releasedAt) : "-",
        "queue at most ms": place === 0 ? ((queueBytes * 8) / SQUEEZED_KBPS).toFixed(0) : "-",
      };
    });
    table(
      "One of three receivers squeezed",
      `${SQUEEZED_KBPS} kbit/s for ${SQUEEZED_MS / 1000} s by the kernel's token bucket, one sender ` +
        `with three encodings, looked at every ${WATCH_MS} ms; goals: sound lost < 1 %, a moving ` +
        "picture, best again < 5000 ms, round trip (the queue) < 300 ms, others unchanged",
      rows,
    );
  } finally {
    await server.stop();
    await network.close();
  }
}
