// End-to-end encrypted meetings: people see and hear each other, all have the
// same code, and nothing is lost when keys change as people come and go.
import assert from "node:assert/strict";
import { stats } from "./diagnostics.ts";
import {
  PAIR_CODE,
  codeShown,
  encrypted,
  holders,
  lockOf,
  noFailures,
  openLock,
  sameCode,
  two,
} from "./encrypted.ts";
import { journey } from "./journey.ts";
import { hears, hearsBeeps } from "./sound.ts";
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

const BOT_SECONDS = 20;

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

journey(
  "whom the host removes loses the keys, and the others go on with new ones",
  async (scene) => {
    const [ana, bo, cy] = [
      await scene.chromium("Ana"),
      await scene.chromium("Bo"),
      await scene.chromium("Cy"),
    ];
    const link = await newMeeting(ana, scene.server.webUrl);
    await join(ana);
    await enter(bo, link);
    await enter(cy, link);
    await seeEachOther(ana, bo);
    const { participantId } = await ana.tileOf("Cy");
    const before = await sameCode([ana, bo, cy]);
    await ana.click("people-toggle");
    await ana.click(`actions-${participantId}`);
    await ana.click(`remove-${participantId}`);
    await ana.shown("confirm");
    await ana.click("confirm");
    await endedWith(cy, "removed");
    await bo.tileGone("Cy");
    await sameCode([ana, bo], before);
    for (const person of [ana, bo]) {
      assert.deepEqual(await holders(person), ["Ana", "Bo"]);
      assert.equal(await person.has("panel-alarm"), false);
    }
    await seeEachOther(ana, bo);
    await Promise.all([hearsBeeps(ana, "Bo"), hearsBeeps(bo, "Ana")]);
    await noFailures(ana, bo);
  },
);

journey(
  "one comes while another goes, and who is there has one code and sees all",
  async (scene) => {
    const { ana, bo, link } = await two(scene);
    const [cy, dee] = [await scene.chromium("Cy"), await scene.chromium("Dee")];
    await enter(cy, link);
    const before = await sameCode([ana, bo, cy]);
    await openLobby(dee, link);
    await Promise.all([leave(bo), join(dee)]);
    await ana.tileGone("Bo");
    await sameCode([ana, cy, dee], before);
    for (const person of [ana, cy, dee]) {
      await person.until("the keys of who is there", async () => {
        return (await holders(person)).join() === "Ana,Cy,Dee";
      });
    }
    await Promise.all([seeEachOther(ana, dee), seeEachOther(cy, dee)]);
    await seeEachOther(ana, cy);
    await noFailures(ana, cy, dee);
  },
);

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

journey(
  "where its creator wants no encryption two meet without, and the lock is open",
  async (scene) => {
    const { url } = await scene.server.createMeeting({
      settings: { enable_e2e_encryption: false },
    });
    const [ana, bo] = [await scene.chromium("Ana"), await scene.chromium("Bo")];
    await enter(ana, url);
    await enter(bo, url);
    await seeEachOther(ana, bo);
    await Promise.all([hearsBeeps(ana, "Bo"), hearsBeeps(bo, "Ana")]);
    for (const person of [ana, bo]) {
      assert.equal(await lockOf(person), "transport");
      assert.equal((await stats(person)).encryption, null);
    }
    await ana.click("lock");
    await ana.shown("encryption-panel");
    assert.match(await ana.text("encryption-panel"), /the server itself could see and hear/i);
    assert.equal(await ana.has("meeting-code"), false);
  },
);

journey("the longer cipher is used where the meeting's creator chose it", async (scene) => {
  const { url } = await scene.server.createMeeting({ settings: { sframe_cipher: "aes-256-gcm" } });
  const [ana, bo] = [await scene.chromium("Ana"), await scene.chromium("Bo")];
  await enter(ana, url);
  await enter(bo, url);
  await seeEachOther(ana, bo);
  assert.equal((await stats(ana)).encryption?.suite, 5);
  await noFailures(ana, bo);
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
