// Figures without a browser: the idle server, joins of the Rust client, and
// the fan-out of one publisher.
import { Program, type Json } from "./process.ts";
import { Server } from "./server.ts";
import { percentile, table, type Row } from "./bench_report.ts";
import { pause } from "./waiting.ts";

/** Starts of the server. */
const STARTS = 5;
/** Until allocator and runtime have settled, before memory is read. */
const SETTLE_MS = 3000;
const BOT_JOINS = 20;
const BOT_SECONDS = 3;
/** Of an encrypted meeting whose next join is measured. */
const CROWD = 50;
const LOAD_SECONDS = 20;
const SUBSCRIBERS = 50;
const VIDEO_KBPS = 1500;
const FPS = 30;
/** Beyond a run's own duration. */
const EXTRA_MS = 60_000;

async function withServer<T>(run: (server: Server) => Promise<T>): Promise<T> {
  const server = await Server.start();
  try {
    return await run(server);
  } finally {
    await server.stop();
  }
}

export async function idle(): Promise<void> {
  const rows: Row[] = [];
  for (let start = 1; start <= STARTS; start += 1) {
    rows.push(
      await withServer(async (server) => {
        await pause(SETTLE_MS);
        const { residentMib, cpuSeconds } = await server.usage();
        return {
          start,
          "ready ms": Math.round(server.readyMs),
          "resident MiB": residentMib.toFixed(1),
          "CPU s": cpuSeconds.toFixed(2),
        };
      }),
    );
  }
  const goal = "goals: ready < 1000 ms, resident < 60 MB";
  table("Idle server", `new data folder each; memory after ${SETTLE_MS} ms; ${goal}`, rows);
}

function measured(summary: Json, name: string): number {
  const value = summary[name];
  if (typeof value !== "number") throw new Error(`no ${name} in ${JSON.stringify(summary)}`);
  return value;
}

interface Joins {
  readonly join: number[];
  readonly media: number[];
}

/** Joins of bots one after the other into a meeting with one publisher and so many others. */
async function joins(server: Server, encrypted: boolean, others: number): Promise<Joins> {
  const measuredJoins: Joins = { join: [], media: [] };
  const { url } = await server.createMeeting({
    settings: { enable_e2e_encryption: encrypted },
  });
  const seconds = others * 2 + BOT_JOINS * (BOT_SECONDS + 2) + 60;
  const publisher = server.bot(url, "Publisher", seconds, ["--publish", "audio,video"]);
  await publisher.event("joined", EXTRA_MS);
  for (let other = 0; other < others; other += 1) {
    const bot = server.bot(url, `Other ${other}`, seconds, ["--layout", "grid:1x1"]);
    await bot.event("joined", EXTRA_MS);
    // The next one finds a quiet group, as most who come to a meeting do.
    await pause(500);
  }
  for (let join = 0; join < BOT_JOINS; join += 1) {
    const bot = server.bot(url, `Bot ${join}`, BOT_SECONDS);
    const summary = await bot.event("summary", BOT_SECONDS * 1000 + EXTRA_MS);
    await bot.ended();
    measuredJoins.join.push(measured(summary, "join_ms"));
    measuredJoins.media.push(measured(summary, "first_media_ms"));
    // The one who left is removed from the group.
    await pause(500);
  }
  return measuredJoins;
}

function figures(figure: string, values: readonly number[]): Row {
  return {
    figure,
    p50: percentile(values, 50).toFixed(0),
    p95: percentile(values, 95).toFixed(0),
    max: Math.max(...values).toFixed(0),
  };
}

export async function botJoins(): Promise<void> {
  const { join, media } = await withServer((server) => joins(server, false, 0));
  table(
    "Joins of the Rust client, ms",
    `${BOT_JOINS} joins one after the other, one publisher, no encryption; ` +
      "goal: first_media_ms p95 < 150",
    [figures("join_ms", join), figures("first_media_ms", media)],
  );
}

export async function encryptedJoins(): Promise<void> {
  const rows: Row[] = [];
  const kinds = [
    { meeting: "not encrypted", encrypted: false, others: 0 },
    { meeting: "encrypted", encrypted: true, others: 0 },
    { meeting: `encrypted, ${CROWD} members`, encrypted: true, others: CROWD - 1 },
  ];
  for (const { meeting, encrypted, others } of kinds) {
    const { join, media } = await withServer((server) => joins(server, encrypted, others));
    rows.push({ meeting, ...figures("join_ms", join) });
    rows.push({ meeting, ...figures("first_media_ms", media) });
  }
  table(
    "Joins of the Rust client with and without end-to-end encryption, ms",
    `${BOT_JOINS} joins one after the other, one publisher; goals: p50 < 50 ms more than without, ` +
      `first_media_ms p95 < 150, among ${CROWD} members p50 < 250`,
    rows,
  );
}

export async function load(): Promise<void> {
  const rows: Row[] = [];
  for (const carrier of ["stream", "datagram"]) {
    rows.push(await withServer((server) => loadOnce(server, carrier)));
  }
  table(
    "One publisher to many subscribers",
    `1 to ${SUBSCRIBERS}, ${VIDEO_KBPS} kbit/s, ${FPS} fps, ${LOAD_SECONDS} s, load and server on ` +
      "this machine; goals: no loss, p99 < 20 ms",
    rows,
  );
}

async function loadOnce(server: Server, carrier: string): Promise<Row> {
  const before = await server.usage();
  const program = new Program([
    ...["load", "--api", server.apiUrl, "--json", "--duration", `${LOAD_SECONDS}s`],
    ...["--publishers", "1", "--subscribers", String(SUBSCRIBERS), "--carrier", carrier],
    ...["--video-kbps", String(VIDEO_KBPS), "--fps", String(FPS)],
  ]);
  try {
    const summary = await program.event("summary", LOAD_SECONDS * 1000 + EXTRA_MS);
    const after = await server.usage();
    await program.ended();
    const received = summary["received"] as Record<string, number>;
    const latency = summary["latency_ms"] as Record<string, number>;
    return {
      carrier,
      expected: measured(summary, "expected_frames"),
      received: received["frames"] ?? Number.NaN,
      lost: received["lost_frames"] ?? Number.NaN,
      "p50 ms": (latency["p50"] ?? Number.NaN).toFixed(1),
      "p99 ms": (latency["p99"] ?? Number.NaN).toFixed(1),
      "server CPU s": (after.cpuSeconds - before.cpuSeconds).toFixed(1),
      "server MiB": after.residentMib.toFixed(0),
    };
  } finally {
    await program.stop();
  }
}
