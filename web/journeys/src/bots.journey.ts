// Programs and people in one meeting: a bot's clips are drawn by browsers, and
// the bot checks every frame of theirs.
import assert from "node:assert/strict";
import { journey } from "./journey.ts";
import type { Program } from "./process.ts";
import { hears } from "./sound.ts";
import { enter } from "./steps.ts";
import { until } from "./waiting.ts";

/** Long enough for a browser to start, join and be heard. */
const BOT_SECONDS = 25;

/** For pictures in a codec that somebody new can decode. */
const CODEC_MS = 30_000;
/** A break that people would notice. */
const CODEC_GAP_MS = 1000;

interface Received {
  frames: number;
  corrupt: number;
  lost_frames: number;
  codecs: Record<string, number>;
}

journey("browsers draw a bot's video, and the bot gets whole frames from them", async (scene) => {
  const meeting = await scene.server.createMeeting();
  const ana = await scene.chromium("Ana");
  await enter(ana, meeting.url);
  const bot = scene.server.bot(meeting.url, "Robbie", BOT_SECONDS, ["--publish", "audio,video"]);
  const tile = await ana.tileOf("Robbie");
  await ana.seesMoving(tile.participantId);
  await hears(ana, "Robbie");

  const summary = await bot.event("summary", (BOT_SECONDS + 30) * 1000);
  assert.equal(await bot.ended(), 0);
  const received = summary["received"] as Received;
  assert.ok(received.frames > 0, "the bot received nothing");
  assert.equal(received.corrupt, 0);
  assert.equal(received.lost_frames, 0);
});

/** Waits until the newest pictures that a bot got are of this codec. */
function gets(bot: Program, codec: string): Promise<true> {
  const newest = () => bot.events("watch").at(-1)?.json["video_codec"];
  const what = `pictures of ${codec}`;
  return until(what, () => Promise.resolve(newest() === codec || undefined), CODEC_MS);
}

journey("a camera's codec follows who decodes it, without a break for who stays", async (scene) => {
  const meeting = await scene.server.createMeeting();
  const ana = await scene.chromium("Ana");
  await enter(ana, meeting.url);
  const join = (name: string, codecs: string): Program =>
    scene.server.bot(meeting.url, name, 120, ["--watch", "100ms", "--codecs", codecs]);
  const both = join("Both", "VP8,VP9");
  await gets(both, "vp08");
  const newer = join("Newer", "VP9");
  await Promise.all([gets(newer, "vp09"), gets(both, "vp09")]);
  await newer.stop();
  const older = join("Older", "VP8");
  await Promise.all([gets(older, "vp08"), gets(both, "vp08")]);
  for (const [bot, codecs] of [
    [newer, ["opus", "vp09"]],
    [older, ["opus", "vp08"]],
    [both, ["opus", "vp08", "vp09"]],
  ] as const) {
    await bot.stop();
    assert.equal(await bot.ended(), 0);
    const summary = await bot.event("summary", CODEC_MS);
    const received = summary["received"] as Received;
    assert.deepEqual(Object.keys(received.codecs), codecs);
    const gap = (summary["longest_gap_ms"] as { video: number }).video;
    assert.ok(gap < CODEC_GAP_MS, `no picture for ${gap} ms`);
  }
});
