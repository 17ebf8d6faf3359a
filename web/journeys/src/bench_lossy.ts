// Sound where packets are lost: the kernel drops so many of all that goes to one of
// two listeners, or that comes from one of two speakers, by chance. What of the
// sound is heard, and what the copies cost. Real bots, and a real wire.
import { appendFile } from "node:fs/promises";
import { table, type Row } from "./bench_report.ts";
import { noFirewall } from "./firewall.ts";
import { NEAR_HOST, NarrowNetwork } from "./narrow.ts";
import type { Json } from "./process.ts";
import { Server } from "./server.ts";
import { pause } from "./waiting.ts";

const LOSSES = [0, 2, 5, 10, 20] as const;
/** Until losses are known, and what is then counted. */
const LEARN_MS = 6000;
const COUNT_MS = 20_000;
const WATCH_MS = 100;
const EXTRA_MS = 60_000;

/** Where packets are lost. */
type Way = "to a listener" | "from a speaker";

function count(looks: readonly { json: Json; at: number }[], from: number, to: number): number {
  const within = looks.filter(({ at }) => at >= from && at < to);
  return within.reduce((sum, { json }) => sum + Number(json["audio_frames"]), 0);
}

async function lossy(server: Server, network: NarrowNetwork, way: Way, percent: number) {
  const { url } = await server.createMeeting();
  const seconds = (LEARN_MS + COUNT_MS) / 1000 + 20;
  const [far, near] = [network.launcher, []] as const;
  const publish = ["--publish", "audio"];
  const watch = ["--watch", `${WATCH_MS}ms`];
  const toListener = way === "to a listener";
  const speaker = server.bot(url, "Speaker", seconds, publish, toListener ? near : far);
  await speaker.event("joined", EXTRA_MS);
  const listener = server.bot(url, "Listener", seconds, watch, toListener ? far : near);
  await listener.event("joined", EXTRA_MS);
  await pause(2000);
  await network.lose(percent);
  await pause(LEARN_MS);
  const before = await network.carried();
  const from = Date.now();
  await pause(COUNT_MS);
  const to = Date.now();
  const after = await network.carried();
  await network.lose(0);
  const heard = count(listener.events("watch"), from, to);
  await Promise.all([speaker.stop(), listener.stop()]);
  const summary = listener.events("summary")[0]?.json;
  const received = (summary?.["received"] ?? {}) as Record<string, number>;
  // A packet each 20 ms.
  const said = (to - from) / 20;
  return {
    heard,
    lostPercent: Math.max(0, 100 * (1 - heard / said)),
    lost: received["lost_frames"] ?? Number.NaN,
    packets: toListener
      ? after.sent.packets - before.sent.packets
      : after.received.packets - before.received.packets,
    bytes: toListener
      ? after.sent.bytes - before.sent.bytes
      : after.received.bytes - before.received.bytes,
  };
}

async function record(part: string, figures: Record<string, unknown>): Promise<void> {
  const file = process.env["FIGURES"];
  if (file) await appendFile(file, `${JSON.stringify({ part, ...figures })}\n`);
}

export async function lossySound(): Promise<void> {
  if (noFirewall !== undefined) {
    console.log(`\nSound where packets are lost: left out, ${noFirewall}`);
    return;
  }
  const network = await NarrowNetwork.open();
  const server = await Server.start([], NEAR_HOST);
  try {
    const rows: Row[] = [];
    for (const way of ["to a listener", "from a speaker"] as const) {
      let plain = Number.NaN;
      for (const percent of LOSSES) {
        const one = await lossy(server, network, way, percent);
        if (percent === 0) plain = one.bytes;
        const kbps = (one.bytes * 8) / COUNT_MS;
        const row = {
          way,
          "packets lost %": percent,
          "sound heard": one.heard,
          "sound lost %": one.lostPercent.toFixed(2),
          "frames lost in all": one.lost,
          "kbit/s on the wire": kbps.toFixed(0),
          "of those without loss": (one.bytes / plain).toFixed(2),
        };
        rows.push(row);
        await record("lossy", { way, percent, ...one, kbps });
      }
    }
    table(
      "Sound where packets are lost",
      `one microphone by datagrams, ${COUNT_MS / 1000} s each after ${LEARN_MS / 1000} s, packets ` +
        "dropped by nft on one way; goals: sound lost < 1 % at 10 %, nothing sent again at 0 %",
      rows,
    );
  } finally {
    await server.stop();
    await network.close();
  }
}
