// End-to-end encrypted meetings: people see and hear each other, all have the
// same code, and nothing is lost when keys change as people come and go.
import assert from "node:assert/strict";
import { stats } from "./diagnostics.ts";
import { journey, type Scene } from "./journey.ts";
import type { Participant } from "./participant.ts";
import { marked } from "./participant.ts";
import type { CreatedMeeting } from "./server.ts";
import { hears, hearsBeeps } from "./sound.ts";
import { endedWith, enter, inside, leave, openLobby, join, seeEachOther } from "./steps.ts";

const BOT_SECONDS = 20;
/** Six groups of five digits. */
const CODE = /^\d{5}( \d{5}){5}$/;
/** Nine of them. */
const PAIR_CODE = /^\d{5}( \d{5}){8}$/;

function encrypted(scene: Scene): Promise<CreatedMeeting> {
  return scene.server.createMeeting({ settings: { enable_e2e_encryption: true } });
}

/** The lock is closed, and the panel behind it is open. */
async function openLock(person: Participant): Promise<void> {
  await person.until("a closed lock", async () => (await lockOf(person)) === "end-to-end");
  if (!(await person.has("encryption-panel"))) await person.click("lock");
  await person.shown("meeting-code");
}

function lockOf(person: Participant): Promise<string | undefined> {
  return person.evaluate(
    (selector) => document.querySelector<HTMLElement>(selector)?.dataset["state"],
    marked("lock"),
  );
}

function codeShown(person: Participant, testId: string): Promise<string | undefined> {
  return person.evaluate(
    (selector) => document.querySelector<HTMLElement>(selector)?.dataset["code"],
    marked(testId),
  );
}

/** Waits until all have the same code of `holders` people, another one than `before`. */
async function sameCode(people: readonly Participant[], before = ""): Promise<string> {
  for (const person of people) await openLock(person);
  return (
    people[0]?.until("the same code for all", async () => {
      const codes = await Promise.all(people.map((one) => codeShown(one, "meeting-code")));
      const [code] = codes;
      if (code === undefined || code === before) return undefined;
      assert.match(code, CODE);
      return codes.every((one) => one === code) && code;
    }) ?? ""
  );
}

async function holders(person: Participant): Promise<string[]> {
  const names = await person.evaluate(
    (selector) =>
      [...document.querySelectorAll(`${selector} li bdi`)].map((one) => one.textContent.trim()),
    marked("key-holders"),
  );
  return names.sort();
}

/** Nothing that was meant for this person could not be opened. */
async function noFailures(...people: readonly Participant[]): Promise<void> {
  for (const person of people) {
    const { encryption, video, audio } = await stats(person);
    assert.ok(encryption !== null, `${person.name} has no encryption`);
    assert.ok(encryption.opened > 0, `${person.name} opened nothing`);
    assert.equal(encryption.decryptFailures, 0, `${person.name}: ${JSON.stringify(encryption)}`);
    for (const one of [...video, ...audio]) assert.equal(one.decryptFailures, 0);
  }
}

async function two(scene: Scene): Promise<{ ana: Participant; bo: Participant; link: string }> {
  const { url: link } = await encrypted(scene);
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  await enter(ana, link);
  await enter(bo, link);
  return { ana, bo, link };
}

journey(
  "two people in an encrypted meeting see and hear each other and have one code",
  async (scene) => {
    const { ana, bo } = await two(scene);
    await seeEachOther(ana, bo);
    await Promise.all([hearsBeeps(ana, "Bo"), hearsBeeps(bo, "Ana")]);
    await sameCode([ana, bo]);
    assert.deepEqual(await holders(ana), ["Ana", "Bo"]);
    for (const person of [ana, bo]) await person.click("compare");
    const codes = await Promise.all([codeShown(ana, "pair-code"), codeShown(bo, "pair-code")]);
    assert.match(codes[0] ?? "", PAIR_CODE);
    assert.equal(codes[0], codes[1]);
    assert.equal(await ana.has("alarm"), false);
    await noFailures(ana, bo);
  },
);

journey(
  "the lobby says in words that a meeting is end-to-end encrypted, and that one is not",
  async (scene) => {
    const ana = await scene.chromium("Ana");
    await openLobby(ana, (await encrypted(scene)).url);
    assert.match(await ana.text("protection"), /end-to-end encrypted/i);
    const plain = await scene.server.createMeeting({ settings: { enable_e2e_encryption: false } });
    await openLobby(ana, plain.url);
    assert.match(await ana.text("protection"), /on the way/i);
    await join(ana);
    await ana.until("an open lock", async () => (await lockOf(ana)) === "transport");
  },
);

journey("a third who joins is seen by all and sees all, and the code changes", async (scene) => {
  const { ana, bo, link } = await two(scene);
  await seeEachOther(ana, bo);
  const before = await sameCode([ana, bo]);
  const cy = await scene.chromium("Cy");
  await enter(cy, link);
  await Promise.all([seeEachOther(ana, cy), seeEachOther(bo, cy)]);
  await seeEachOther(ana, bo);
  await sameCode([ana, bo, cy], before);
  assert.deepEqual(await holders(bo), ["Ana", "Bo", "Cy"]);
  await noFailures(ana, bo, cy);
});

journey("when one leaves the code changes, and who stays goes on without a gap", async (scene) => {
  const { ana, bo, link } = await two(scene);
  const cy = await scene.chromium("Cy");
  await enter(cy, link);
  await Promise.all([seeEachOther(ana, bo), seeEachOther(ana, cy)]);
  const before = await sameCode([ana, bo, cy]);
  await leave(cy);
  await ana.tileGone("Cy");
  await sameCode([ana, bo], before);
  assert.deepEqual(await holders(ana), ["Ana", "Bo"]);
  await seeEachOther(ana, bo);
  await noFailures(ana, bo);
});

journey("who reloads an encrypted meeting is back, sees, hears and is seen", async (scene) => {
  const { ana, bo } = await two(scene);
  await seeEachOther(ana, bo);
  const before = await sameCode([ana, bo]);
  await bo.driver.reload();
  await inside(bo);
  await seeEachOther(ana, bo);
  await hearsBeeps(bo, "Ana");
  await sameCode([ana, bo], before);
  assert.deepEqual(await holders(ana), ["Ana", "Bo"]);
  assert.equal(await ana.has("changed-key"), false);
  await noFailures(ana, bo);
});

journey(
  "new keys are asked for and change the code, and not one frame is lost by it",
  async (scene) => {
    const { ana, bo } = await two(scene);
    await seeEachOther(ana, bo);
    await Promise.all([hears(ana, "Bo"), hears(bo, "Ana")]);
    const before = await sameCode([ana, bo]);
    const lost = async (): Promise<number[]> =>
      (await Promise.all([stats(ana), stats(bo)])).map(({ video, audio }) =>
        [...video, ...audio].reduce((sum, one) => sum + one.lost, 0),
      );
    const lostBefore = await lost();
    await bo.click("rotate-keys");
    await sameCode([ana, bo], before);
    await seeEachOther(ana, bo);
    await Promise.all([hears(ana, "Bo"), hears(bo, "Ana")]);
    assert.deepEqual(await lost(), lostBefore);
    await noFailures(ana, bo);
  },
);

journey("Firefox and Chromium meet encrypted", async (scene) => {
  const { url } = await encrypted(scene);
  const fay = await scene.firefox("Fay");
  const cleo = await scene.chromium("Cleo");
  await enter(fay, url);
  await enter(cleo, url);
  await seeEachOther(fay, cleo);
  await Promise.all([hearsBeeps(fay, "Cleo"), hears(cleo, "Fay")]);
  await sameCode([fay, cleo]);
  await noFailures(fay, cleo);
});

journey("a program and a browser meet encrypted, and nothing arrives broken", async (scene) => {
  const { url } = await encrypted(scene);
  const ana = await scene.chromium("Ana");
  await enter(ana, url);
  const bot = scene.server.bot(url, "Robbie", BOT_SECONDS, ["--publish", "audio,video"]);
  const tile = await ana.tileOf("Robbie");
  await ana.seesMoving(tile.participantId);
  await hears(ana, "Robbie");
  await openLock(ana);
  assert.deepEqual(await holders(ana), ["Ana", "Robbie"]);
  await noFailures(ana);
  const summary = await bot.event("summary", (BOT_SECONDS + 30) * 1000);
  assert.equal(await bot.ended(), 0);
  const received = summary["received"] as { frames: number; corrupt: number; lost_frames: number };
  assert.ok(received.frames > 0, "the program received nothing");
  assert.equal(received.corrupt, 0);
  assert.equal(received.lost_frames, 0);
});

journey("a browser that can't encrypt is told so in words and stays out", async (scene) => {
  const { code } = await encrypted(scene);
  const ana = await scene.chromium("Ana");
  await ana.driver.goto(scene.server.webUrl);
  await ana.evaluate(() => {
    const Real = globalThis.Worker;
    globalThis.Worker = class extends Real {
      constructor(url: string | URL, options?: WorkerOptions) {
        if (options?.name === "darktower-crypto") throw new Error("no such worker here");
        super(url, options);
      }
    };
  }, null);
  await ana.fill("join-field", code);
  await ana.click("join-go");
  await ana.shown("name");
  await ana.fill("name", ana.name);
  await ana.click("join");
  await endedWith(ana, "encryption-unsupported");
});
