// Programs and people in one meeting: a bot's clips are drawn by browsers, and
// the bot checks every frame of theirs.
import assert from "node:assert/strict";
import { journey } from "./journey.ts";
import { hears } from "./sound.ts";
import { enter } from "./steps.ts";

/** Long enough for a browser to start, join and be heard. */
const BOT_SECONDS = 25;

interface Received {
  frames: number;
  corrupt: number;
  lost_frames: number;
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
