// Makes the picture of the README: a real meeting of people in browsers and
// bots. Run by `make screenshot` only.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { journey } from "./journey.ts";
import { hears } from "./sound.ts";
import { enter } from "./steps.ts";

const PICTURE = join(import.meta.dirname, "../../../docs/screenshot.png");
/** Longer than two browsers take to join; the journey's end stops the bots. */
const BOT_SECONDS = 120;
const BOTS = ["Noor", "Mateo", "Yuki", "Ingrid"];

journey("a picture of a real meeting", async (scene) => {
  const meeting = await scene.server.createMeeting({ display_name: "Design review" });
  const lena = await scene.chromium("Lena", { width: 1280, height: 720 });
  const sam = await scene.chromium("Sam");
  await enter(lena, meeting.url);
  await enter(sam, meeting.url);
  for (const name of BOTS) {
    scene.server.bot(meeting.url, name, BOT_SECONDS, ["--publish", "audio,video"]);
  }
  for (const name of [...BOTS, "Sam"]) {
    const tile = await lena.tileOf(name);
    await lena.seesMoving(tile.participantId);
  }
  await hears(lena, "Sam");
  await mkdir(join(PICTURE, ".."), { recursive: true });
  await lena.driver.screenshot(PICTURE);
});
