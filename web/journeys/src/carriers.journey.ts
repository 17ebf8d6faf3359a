// Networks without UDP and browsers without WebTransport: the whole meeting goes
// over a WebSocket, encrypted, and back to WebTransport where that works again.
import assert from "node:assert/strict";
import { stats } from "./diagnostics.ts";
import { encrypted, noFailures, openLock, sameCode } from "./encrypted.ts";
import { journey, type Scene } from "./journey.ts";
import {
  carriedBy,
  carriers,
  enterByWebTransport,
  removeWebTransport,
  stallWebTransport,
  statisticsShown,
  watchGaps,
  type Gaps,
} from "./network.ts";
import type { Participant } from "./participant.ts";
import { hears, hearsBeeps, hearsNothing } from "./sound.ts";
import { enter, inside, leave, seeEachOther } from "./steps.ts";

const WEBSOCKET = { signaling: "websocket", media: "websocket" } as const;
const WEBTRANSPORT = { signaling: "webtransport", media: "webtransport" } as const;

/** The two see and hear each other in an encrypted meeting, mute, and leave. */
async function meet(a: Participant, b: Participant): Promise<void> {
  await seeEachOther(a, b);
  await Promise.all([hears(a, b.name), hears(b, a.name)]);
  await sameCode([a, b]);
  await a.click("mic-toggle");
  await b.until("the muted sign", async () => (await b.tileOf(a.name)).muted);
  await hearsNothing(b, a.name);
  await a.click("mic-toggle");
  await hears(b, a.name);
  await noFailures(a, b);
}

async function printJoin(person: Participant, how: string): Promise<void> {
  const { joinTimings } = await stats(person);
  const who = `${person.name} in ${person.driver.browser}`;
  console.log(`${who}, ${how}: ${JSON.stringify(joinTimings)}`);
}

/** Two people behind networks that let no UDP through. */
async function withoutUdp(scene: Scene, a: Participant, b: Participant): Promise<void> {
  for (const person of [a, b]) (await scene.relay(person)).pull();
  const { url: link } = await encrypted(scene);
  await enter(a, link);
  await enter(b, link);
  await meet(a, b);
  for (const person of [a, b]) {
    assert.deepEqual(await carriers(person), WEBSOCKET);
    await printJoin(person, "joined from the lobby");
    const shown = await statisticsShown(person);
    assert.match(shown, /Signaling by\s*WebSocket \(TCP\), because UDP does not get through/);
    assert.match(shown, /Media by\s*WebSocket \(TCP\), because UDP does not get through/);
  }
  // Without a lobby there is no time to connect ahead of the join.
  await b.driver.reload();
  await inside(b);
  await seeEachOther(a, b);
  assert.deepEqual(await carriers(b), WEBSOCKET);
  await printJoin(b, "back after a reload");
  await leave(a);
  await b.tileGone(a.name);
}

journey("where UDP is blocked two in Chromium have the whole meeting", async (scene) => {
  await withoutUdp(scene, await scene.chromium("Ana"), await scene.chromium("Bo"));
});

journey("where UDP is blocked Firefox and Chromium have the whole meeting", async (scene) => {
  await withoutUdp(scene, await scene.firefox("Fay"), await scene.chromium("Cleo"));
});

journey("with and without UDP people are in one meeting", async (scene) => {
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  (await scene.relay(bo)).pull();
  const { url: link } = await encrypted(scene);
  await enterByWebTransport(ana, link);
  await enter(bo, link);
  await meet(ana, bo);
  assert.deepEqual(await carriers(ana), WEBTRANSPORT);
  assert.deepEqual(await carriers(bo), WEBSOCKET);
});

journey("a browser without WebTransport has the whole meeting", async (scene) => {
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  await removeWebTransport(bo.driver);
  const { url: link } = await encrypted(scene);
  await enterByWebTransport(ana, link);
  await enter(bo, link);
  await meet(ana, bo);
  assert.deepEqual(await carriers(ana), WEBTRANSPORT);
  assert.deepEqual(await carriers(bo), WEBSOCKET);
  assert.match(await statisticsShown(bo), /because this browser has no WebTransport/);
});

journey("a browser whose WebTransport opens and stalls has the whole meeting", async (scene) => {
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  await stallWebTransport(bo.driver);
  const { url: link } = await encrypted(scene);
  await enter(ana, link);
  await enter(bo, link);
  await meet(ana, bo);
  assert.deepEqual(await carriers(bo), WEBSOCKET);
  await printJoin(bo, "with streams that stall");
});

/** UDP of one is cut in the midst of a meeting, which goes on; how long it was away. */
async function cutMidCall(
  scene: Scene,
  away: Participant,
  other: Participant,
): Promise<{ link: string; plugIn: () => void }> {
  const udp = await scene.relay(away);
  const { url: link } = await encrypted(scene);
  await enterByWebTransport(other, link);
  await enterByWebTransport(away, link);
  await seeEachOther(away, other);
  await hearsBeeps(away, other.name);
  const code = await sameCode([away, other]);
  const watches = await Promise.all([watchGaps(away), watchGaps(other)]);
  udp.pull();
  await carriedBy(away, "websocket");
  await seeEachOther(away, other);
  await Promise.all([hearsBeeps(away, other.name), hears(other, away.name)]);
  const gaps = await Promise.all(watches.map((gapsOf) => gapsOf()));
  print(away, gaps[0]);
  print(other, gaps[1]);
  // The same people with the same keys: nobody left or came.
  await openLock(away);
  assert.equal(await sameCode([away, other]), code);
  await noFailures(away, other);
  assert.equal(await away.text("status"), "");
  assert.match(await statisticsShown(away), /Media by\s*WebSocket \(TCP\), because UDP/);
  assert.deepEqual(await carriers(other), WEBTRANSPORT);
  return {
    link,
    plugIn: () => {
      udp.plugIn();
    },
  };
}

function print(person: Participant, gaps: Gaps | undefined): void {
  console.log(`${person.name} in ${person.driver.browser}, media away: ${JSON.stringify(gaps)} ms`);
}

journey("UDP cut in the midst of a meeting: it goes on, and the next is by UDP", async (scene) => {
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  const { link, plugIn } = await cutMidCall(scene, bo, ana);
  await leave(bo);
  plugIn();
  await enterByWebTransport(bo, link);
  await seeEachOther(ana, bo);
});

journey("UDP cut in the midst of a meeting in Firefox: it goes on", async (scene) => {
  await cutMidCall(scene, await scene.firefox("Fay"), await scene.chromium("Cleo"));
});
