// Networks that block UDP: joins by WebSocket, and how long media stays away
// when the firewall closes in the middle of a meeting. Rust client and Chromium.
import { joinOnce } from "./bench_browser.ts";
import { percentile, table, type Row } from "./bench_report.ts";
import { ChromiumDriver, launchChromium } from "./chromium.ts";
import { allowAll, blockUdp, noFirewall } from "./firewall.ts";
import { carriedBy, enterByWebTransport, watchGaps } from "./network.ts";
import { Participant } from "./participant.ts";
import type { Json } from "./process.ts";
import { Server } from "./server.ts";
import { enter, leave, seeEachOther } from "./steps.ts";
import { pause } from "./waiting.ts";

const PROGRAM_JOINS = 10;
const BROWSER_JOINS = 6;
const CUTS = 5;
/** A program's stay: to join, to be cut off at some moment, and to be back. */
const STAY_SECONDS = 12;
const CUT_AFTER_MS = 4000;
const SPREAD_MS = 1000;
const EXTRA_MS = 60_000;

export async function blockedNetworks(): Promise<void> {
  if (noFirewall !== undefined) {
    console.log(`\nNetworks that block UDP: left out, ${noFirewall}`);
    return;
  }
  const joins: Row[] = [];
  const gaps: Row[] = [];
  for (const measure of [programs, browsers]) {
    const server = await Server.start();
    try {
      await measure(server, joins, gaps);
    } finally {
      await allowAll();
      await server.stop();
    }
  }
  table(
    "Joins where UDP is blocked, ms",
    "encrypted, nothing remembered of the network, all on this machine; goal: media < 1500",
    joins,
  );
  table(
    "UDP blocked in the middle of a meeting: longest time without media, ms",
    `${CUTS} times each, encrypted, both people behind the firewall; goal < 3000`,
    gaps,
  );
}

function row(what: Row, values: readonly number[]): Row {
  return {
    ...what,
    p50: percentile(values, 50).toFixed(0),
    max: Math.max(...values).toFixed(0),
    all: values.map((one) => one.toFixed(0)).join(" "),
  };
}

async function programs(server: Server, joins: Row[], gaps: Row[]): Promise<void> {
  const { url } = await server.createMeeting();
  const bot = (name: string, seconds: number) =>
    server.bot(url, name, seconds, ["--publish", "audio,video"]);

  await blockUdp();
  const long = PROGRAM_JOINS * 6 + 30;
  await bot("Publisher", long).event("joined", EXTRA_MS);
  const media: number[] = [];
  for (let join = 0; join < PROGRAM_JOINS; join += 1) {
    const summary = await server.bot(url, `Joiner ${join}`, 3).event("summary", EXTRA_MS);
    media.push(Number(summary["first_media_ms"]));
  }
  joins.push(row({ client: "Rust", figure: "first media" }, media));

  const away: Record<"audio" | "video", number[]> = { audio: [], video: [] };
  for (let cut = 0; cut < CUTS; cut += 1) {
    await allowAll();
    const meeting = await server.createMeeting();
    const two = ["One", "Two"].map((name) =>
      server.bot(meeting.url, name, STAY_SECONDS, ["--publish", "audio,video"]),
    );
    await Promise.all(two.map((one) => one.event("joined", EXTRA_MS)));
    // At another moment between two probes each time.
    const after = CUT_AFTER_MS + (cut * SPREAD_MS) / CUTS;
    await pause(after);
    await blockUdp();
    for (const one of two) {
      const summary = await one.event("summary", STAY_SECONDS * 1000 + EXTRA_MS);
      const longest = summary["longest_gap_ms"] as Json;
      away.audio.push(Number(longest["audio"]));
      away.video.push(Number(longest["video"]));
    }
  }
  for (const kind of ["audio", "video"] as const) {
    gaps.push(row({ client: "Rust", media: kind }, away[kind]));
  }
}

async function browsers(server: Server, joins: Row[], gaps: Row[]): Promise<void> {
  const browser = await launchChromium();
  const person = async (name: string) => new Participant(name, await ChromiumDriver.open(browser));
  try {
    await blockUdp();
    const { url } = await server.createMeeting();
    const host = await person("Host");
    await enter(host, url);
    const timings: Awaited<ReturnType<typeof joinOnce>>[] = [];
    for (let join = 0; join < BROWSER_JOINS; join += 1) {
      // A context of its own remembers nothing of the others' network.
      const guest = await person(`Guest ${join}`);
      timings.push(await joinOnce(guest, url));
      await leave(guest);
      await host.tileGone(guest.name);
      await guest.close();
    }
    await host.close();
    const client = "Chromium";
    const drawn = timings.map((one) => one.video);
    joins.push(row({ client, figure: "first remote video drawn" }, drawn));
    joins.push(
      row(
        { client, figure: "first remote audio played" },
        timings.map((one) => one.audio),
      ),
    );

    const away: Record<"audio" | "video", number[]> = { audio: [], video: [] };
    for (let cut = 0; cut < CUTS; cut += 1) {
      await allowAll();
      const meeting = await server.createMeeting();
      const two = [await person("Ana"), await person("Bo")] as const;
      for (const one of two) await enterByWebTransport(one, meeting.url);
      await seeEachOther(...two);
      const gapsOf = await Promise.all(two.map(watchGaps));
      await blockUdp();
      for (const one of two) await carriedBy(one, "websocket");
      await seeEachOther(...two);
      for (const longest of gapsOf) {
        const { audio, video } = await longest();
        away.audio.push(audio);
        away.video.push(video);
      }
      for (const one of two) await one.close();
    }
    for (const kind of ["audio", "video"] as const) {
      gaps.push(row({ client, media: kind }, away[kind]));
    }
  } finally {
    await browser.close();
  }
}
