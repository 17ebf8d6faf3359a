// Joining a meeting of ten in which everybody publishes, and how fast a tile that
// grows or shrinks gets the encoding of its size.
import { percentile, table, type Row } from "./bench_report.ts";
import { joinOnce } from "./bench_browser.ts";
import { ChromiumDriver, launchChromium } from "./chromium.ts";
import { Participant } from "./participant.ts";
import { Server } from "./server.ts";
import { enter, leave, seeEachOther } from "./steps.ts";
import { pause } from "./waiting.ts";

/** Who publish already. */
const OTHERS = 9;
const BOT_JOINS = 20;
const BOT_SECONDS = 3;
const BROWSER_JOINS = 8;
/** Beyond a program's own duration. */
const EXTRA_MS = 60_000;
/** Between two joins: who left is removed, who came is quiet. */
const BETWEEN_MS = 500;

const SWITCHES = 10;
/** Where half the sides of the camera are enough. */
const SMALL = { width: 300, height: 220 };
const LARGE = { width: 1280, height: 720 };
/** Until a switch, and the probing after it, are over. */
const SETTLED_MS = 6000;

function figures(figure: string, values: readonly number[]): Row {
  return {
    figure,
    p50: percentile(values, 50).toFixed(0),
    p95: percentile(values, 95).toFixed(0),
    all: values.map((value) => value.toFixed(0)).join(" "),
  };
}

/** Joins to a meeting with nine others who publish. */
export async function crowdJoins(): Promise<void> {
  const rows: Row[] = [];
  for (const encrypted of [false, true]) {
    const server = await Server.start();
    try {
      rows.push(...(await crowd(server, encrypted)));
    } finally {
      await server.stop();
    }
  }
  table(
    `Joins to ${OTHERS} others who publish camera and microphone, ms`,
    `${BOT_JOINS} joins of the Rust client and ${BROWSER_JOINS} of Chromium, one after the other; ` +
      "the others, the server and the browser share this machine; goal: first media p50 < 250",
    rows,
  );
}

async function crowd(server: Server, encrypted: boolean): Promise<Row[]> {
  const meeting = encrypted ? "encrypted" : "not encrypted";
  const { url } = await server.createMeeting({ settings: { enable_e2e_encryption: encrypted } });
  const seconds = BOT_JOINS * (BOT_SECONDS + 2) + BROWSER_JOINS * 15 + 120;
  for (let other = 1; other <= OTHERS; other += 1) {
    const publisher = server.bot(url, `Other ${other}`, seconds, ["--publish", "audio,video"]);
    await publisher.event("joined", EXTRA_MS);
    await pause(BETWEEN_MS);
  }
  const program = await programJoins(server, url);
  const browser = await chromiumJoins(url);
  return [
    figures(`Rust client, ${meeting}: first media`, program),
    figures(`Chromium, ${meeting}: first picture drawn`, browser.video),
    figures(`Chromium, ${meeting}: first sound played`, browser.audio),
  ];
}

async function programJoins(server: Server, url: string): Promise<number[]> {
  const joins: number[] = [];
  for (let join = 1; join <= BOT_JOINS; join += 1) {
    const bot = server.bot(url, `Bot ${join}`, BOT_SECONDS, ["--layout", "grid:3x3"]);
    const summary = await bot.event("summary", BOT_SECONDS * 1000 + EXTRA_MS);
    await bot.ended();
    joins.push(Number(summary["first_media_ms"]));
    await pause(BETWEEN_MS);
  }
  return joins;
}

async function chromiumJoins(url: string): Promise<{ video: number[]; audio: number[] }> {
  const joins = { video: [] as number[], audio: [] as number[] };
  const browser = await launchChromium();
  try {
    for (let number = 1; number <= BROWSER_JOINS; number += 1) {
      const guest = new Participant(`Guest ${number}`, await ChromiumDriver.open(browser));
      const { video, audio } = await joinOnce(guest, url);
      joins.video.push(video);
      joins.audio.push(audio);
      await leave(guest);
      await guest.close();
      await pause(BETWEEN_MS);
    }
  } finally {
    await browser.close();
  }
  return joins;
}

/** A window that grows and shrinks: until the first picture of the other encoding is drawn. */
export async function layerSwitches(): Promise<void> {
  const server = await Server.start();
  const browser = await launchChromium();
  const up: number[] = [];
  const down: number[] = [];
  try {
    const { url } = await server.createMeeting();
    const sender = new Participant("Sender", await ChromiumDriver.open(browser));
    const viewer = new Participant("Viewer", await ChromiumDriver.open(browser));
    await enter(sender, url);
    await enter(viewer, url);
    await seeEachOther(sender, viewer);
    await viewer.driver.setViewport(LARGE.width, LARGE.height);
    await pause(SETTLED_MS);
    for (let number = 0; number < SWITCHES; number += 1) {
      for (const [size, times] of [[SMALL, down] as const, [LARGE, up] as const]) {
        times.push(await switchTo(viewer, size));
        await pause(SETTLED_MS);
      }
    }
  } finally {
    await browser.close();
    await server.stop();
  }
  table(
    "Layer switches, ms from the window's resize to the first picture of the other encoding",
    `Chromium to Chromium, encrypted, three encodings; the viewer's window goes ${SWITCHES} times ` +
      `from ${LARGE.width} × ${LARGE.height} to ${SMALL.width} × ${SMALL.height} and back; goal < 500`,
    [figures("up", up), figures("down", down)],
  );
}

interface Switch {
  resizedAt?: number;
  changedAt?: number;
}

async function switchTo(
  viewer: Participant,
  { width, height }: { readonly width: number; readonly height: number },
): Promise<number> {
  // Watched in the page: no message between processes is in the figure.
  await viewer.evaluate(() => {
    type Stats = { video: { drawn: number; encoding: number | null }[] };
    const page = globalThis as unknown as {
      darkTower?: { meeting?: { stats(): Promise<Stats> } };
      switched?: Switch;
    };
    const seen: Switch = {};
    page.switched = seen;
    const encoding = async (): Promise<number | null> =>
      (await page.darkTower?.meeting?.stats())?.video[0]?.encoding ?? null;
    void encoding().then((before) => {
      addEventListener("resize", () => (seen.resizedAt ??= performance.now()), { once: true });
      const look = async (): Promise<void> => {
        const now = await encoding();
        if (now !== before && seen.resizedAt !== undefined) seen.changedAt = performance.now();
        else setTimeout(() => void look(), 5);
      };
      void look();
    });
  }, null);
  await pause(200);
  await viewer.driver.setViewport(width, height);
  return viewer.until("the other encoding", () =>
    viewer.evaluate(() => {
      const { switched } = globalThis as unknown as { switched?: Switch };
      if (switched?.resizedAt === undefined || switched.changedAt === undefined) return undefined;
      return switched.changedAt - switched.resizedAt;
    }, null),
  );
}
