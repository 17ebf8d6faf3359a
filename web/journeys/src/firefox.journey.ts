// One person in Firefox and one in Chromium: other codecs' implementations,
// another way to capture, the same meeting.
import { journey, type Scene } from "./journey.ts";
import type { Participant } from "./participant.ts";
import { hears, hearsBeeps, hearsNothing } from "./sound.ts";
import { enter, join, leave, newMeeting, seeEachOther } from "./steps.ts";

async function meet(scene: Scene): Promise<{ fay: Participant; cleo: Participant }> {
  const fay = await scene.firefox("Fay");
  const cleo = await scene.chromium("Cleo");
  const link = await newMeeting(fay, scene.server.webUrl);
  await join(fay);
  await enter(cleo, link);
  return { fay, cleo };
}

journey("Firefox and Chromium see each other move and hear each other", async (scene) => {
  const { fay, cleo } = await meet(scene);
  await seeEachOther(fay, cleo);
  await Promise.all([hearsBeeps(fay, "Cleo"), hears(cleo, "Fay")]);
});

journey("muting works from Firefox to Chromium and back", async (scene) => {
  const { fay, cleo } = await meet(scene);
  for (const [speaker, listener] of [
    [fay, cleo],
    [cleo, fay],
  ] as const) {
    await hears(listener, speaker.name);
    await speaker.click("mic-toggle");
    await listener.until("the muted sign", async () => (await listener.tileOf(speaker.name)).muted);
    await hearsNothing(listener, speaker.name);
  }
});

journey("Firefox leaves and is gone for Chromium", async (scene) => {
  const { fay, cleo } = await meet(scene);
  await cleo.tileOf("Fay");
  await leave(fay);
  await cleo.tileGone("Fay");
});
