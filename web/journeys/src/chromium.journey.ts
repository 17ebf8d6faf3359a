// Two people in Chromium, by clicks: the whole course of a meeting.
import assert from "node:assert/strict";
import { journey, type Scene } from "./journey.ts";
import type { Participant } from "./participant.ts";
import { hearsBeeps, hearsNothing } from "./sound.ts";
import {
  endedWith,
  enter,
  inside,
  join,
  leave,
  newMeeting,
  openLobby,
  seeEachOther,
} from "./steps.ts";
import { watchTiles } from "./tiles.ts";

interface Pair {
  readonly ana: Participant;
  readonly bo: Participant;
  readonly link: string;
}

/** Ana makes a meeting by hand and Bo comes by the link. */
async function meet(scene: Scene): Promise<Pair> {
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  const link = await newMeeting(ana, scene.server.webUrl);
  await join(ana);
  await enter(bo, link);
  return { ana, bo, link };
}

journey("two people in Chromium see each other move and hear each other", async (scene) => {
  const { ana, bo } = await meet(scene);
  await seeEachOther(ana, bo);
  await Promise.all([hearsBeeps(ana, "Bo"), hearsBeeps(bo, "Ana")]);
});

journey("the lobby copies the meeting's link", async (scene) => {
  const ana = await scene.chromium("Ana");
  const link = await newMeeting(ana, scene.server.webUrl);
  await ana.shown("preview");
  await ana.click("copy-link");
  const copied = await ana.until("the link is copied", () =>
    ana.evaluate(() => navigator.clipboard.readText(), null),
  );
  assert.equal(copied, link);
});

journey("a muted microphone is shown as muted and is silent", async (scene) => {
  const { ana, bo } = await meet(scene);
  await hearsBeeps(bo, "Ana");
  await ana.click("mic-toggle");
  await bo.until("Ana is shown as muted", async () => (await bo.tileOf("Ana")).muted);
  await hearsNothing(bo, "Ana");
  await ana.click("mic-toggle");
  await bo.until("Ana is shown as heard", async () => !(await bo.tileOf("Ana")).muted);
  await hearsBeeps(bo, "Ana");
});

journey("a camera that is switched off shows no picture until it is on again", async (scene) => {
  const { ana, bo } = await meet(scene);
  const tile = await bo.tileOf("Ana");
  await bo.seesMoving(tile.participantId);
  await ana.click("camera-toggle");
  await bo.until(
    "no picture of Ana",
    async () => (await bo.picture(tile.participantId)).length === 0,
  );
  await bo.tileOf("Ana");
  await ana.click("camera-toggle");
  await bo.seesMoving(tile.participantId);
});

journey("a shared screen is seen by the other until it is stopped", async (scene) => {
  const { ana, bo } = await meet(scene);
  await ana.click("screen-toggle");
  const screen = await bo.tileOf("Ana", "screen");
  // The shared page is Ana's own, whose tiles move.
  await bo.seesMoving(screen.participantId, "screen");
  await ana.click("screen-toggle");
  await bo.tileGone("Ana", "screen");
});

journey("the list of people names everybody", async (scene) => {
  const { ana } = await meet(scene);
  await ana.click("people-toggle");
  await ana.shown("people-list");
  await ana.until("both names", async () => {
    const list = await ana.text("people-list");
    return list.includes("Ana") && list.includes("Bo");
  });
});

journey("who leaves is gone at once for the others", async (scene) => {
  const { ana, bo } = await meet(scene);
  await ana.tileOf("Bo");
  await leave(bo);
  await ana.tileGone("Bo");
});

journey("a reload returns to the same seat, and the others never see two", async (scene) => {
  const { ana, bo } = await meet(scene);
  const before = await inside(bo);
  await ana.tileOf("Bo");
  const seen = await watchTiles(ana);
  await bo.driver.reload();
  const after = await inside(bo);
  assert.equal(after, before);
  await seeEachOther(ana, bo);
  const most = await seen();
  assert.deepEqual(most, { participants: [before], atOnceMax: 1 });
});

journey("whom the host removes is told so", async (scene) => {
  const { ana, bo } = await meet(scene);
  const tile = await ana.tileOf("Bo");
  await ana.click("people-toggle");
  await ana.click(`actions-${tile.participantId}`);
  await ana.click(`remove-${tile.participantId}`);
  await confirm(ana);
  await endedWith(bo, "removed");
  await ana.tileGone("Bo");
});

journey("when the host ends the meeting, it ends for all and its link says so", async (scene) => {
  const { ana, bo, link } = await meet(scene);
  await ana.click("end-for-all");
  await confirm(ana);
  await endedWith(bo, "meeting-ended");
  await endedWith(ana, "meeting-ended");
  const late = await scene.chromium("Late");
  await late.driver.goto(link);
  await endedWith(late, "ended");
});

journey("a full meeting says that it is full", async (scene) => {
  const meeting = await scene.server.createMeeting({ max_participants: 2 });
  const [ana, bo, cy] = await Promise.all([
    scene.chromium("Ana"),
    scene.chromium("Bo"),
    scene.chromium("Cy"),
  ]);
  await enter(ana, meeting.url);
  await enter(bo, meeting.url);
  await openLobby(cy, meeting.url);
  await cy.fill("name", cy.name);
  await cy.click("join");
  await endedWith(cy, "full");
});

journey("a link to no meeting says so", async (scene) => {
  const ana = await scene.chromium("Ana");
  await ana.driver.goto(`${scene.server.webUrl}/m/abcde-fghjk-mnpqr`);
  await endedWith(ana, "not-found");
});

/** Says yes where the app asks. */
async function confirm(person: Participant): Promise<void> {
  await person.shown("confirm");
  await person.click("confirm");
}
