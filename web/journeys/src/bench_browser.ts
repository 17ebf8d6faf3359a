// From "Join" pressed to the other's first picture drawn, Chromium to Chromium,
// with end-to-end encryption and without.
import { ChromiumDriver, launchChromium } from "./chromium.ts";
import { stats } from "./diagnostics.ts";
import { Participant } from "./participant.ts";
import { Server } from "./server.ts";
import { enter, join, leave, openLobby } from "./steps.ts";
import { percentile, table, type Row } from "./bench_report.ts";
import { pause } from "./waiting.ts";

const JOINS = 12;
/** What a person spends in the lobby at least: time for the warm session. */
const LOBBY_MS = 1500;

interface Timings {
  joined: number;
  media: number;
  keys: number;
  frame: number;
  decoded: number;
  video: number;
  audio: number;
}

export async function browserJoins(): Promise<void> {
  for (const encrypted of [false, true]) await joinsOf(encrypted);
}

async function joinsOf(encrypted: boolean): Promise<void> {
  const server = await Server.start();
  const browser = await launchChromium();
  const timings: Timings[] = [];
  let openMs: string;
  try {
    const settings = { enable_e2e_encryption: encrypted };
    const { url } = await server.createMeeting({ settings });
    const host = new Participant("Host", await ChromiumDriver.open(browser));
    await enter(host, url);
    for (let number = 1; number <= JOINS; number += 1) {
      const guest = new Participant(`Guest ${number}`, await ChromiumDriver.open(browser));
      timings.push(await joinOnce(guest, url));
      await leave(guest);
      await host.tileGone(guest.name);
      await guest.close();
    }
    openMs = (await stats(host)).encryption?.openMs.toFixed(2) ?? "";
    await host.close();
  } finally {
    await browser.close();
    await server.stop();
  }
  const row = (figure: string, of: (timings: Timings) => number): Row => ({
    figure,
    p50: percentile(timings.map(of), 50).toFixed(0),
    p95: percentile(timings.map(of), 95).toFixed(0),
    all: timings.map((one) => of(one).toFixed(0)).join(" "),
  });
  table(
    `Joins in Chromium, ${encrypted ? "encrypted" : "not encrypted"}, ms after Join was pressed`,
    `${JOINS} joins one after the other to one host, both with camera and microphone, ` +
      `${LOBBY_MS} ms in the lobby; goal: first remote video p50 < 300` +
      (encrypted ? `; the host opened a frame in ${openMs} ms on average` : ""),
    [
      row("joined", (one) => one.joined),
      row("media session ready", (one) => one.media),
      ...(encrypted ? [row("keys", (one) => one.keys)] : []),
      row("first video frame arrived", (one) => one.frame),
      row("first video frame decoded", (one) => one.decoded),
      row("first remote video drawn", (one) => one.video),
      row("first remote audio played", (one) => one.audio),
    ],
  );
}

/** Joins from the lobby; everything about it when the first picture and sound are there. */
export async function joinOnce(guest: Participant, url: string): Promise<Timings> {
  await openLobby(guest, url);
  await pause(LOBBY_MS);
  await join(guest);
  return guest.until("the first picture and sound", async () => {
    const { joinTimings } = await stats(guest);
    if (!joinTimings) return false;
    const { joinedMs, firstVideoDrawnMs, firstAudioMs } = joinTimings;
    if (joinedMs === null || firstVideoDrawnMs === null || firstAudioMs === null) return false;
    return {
      joined: joinedMs,
      media: joinTimings.mediaReadyMs ?? NaN,
      keys: joinTimings.keysMs ?? NaN,
      frame: joinTimings.firstVideoFrameMs ?? NaN,
      decoded: joinTimings.firstVideoDecodedMs ?? NaN,
      video: firstVideoDrawnMs,
      audio: firstAudioMs,
    };
  });
}
