// Encrypted meetings and lost connections: who comes back in time goes on in the
// group as if nothing had been, and who comes late is let in anew.
import assert from "node:assert/strict";
import type { EncryptionStats } from "@darktower/session";
import { stats } from "./diagnostics.ts";
import { encrypted, holders, noFailures, sameCode } from "./encrypted.ts";
import { journey, type Scene } from "./journey.ts";
import type { Participant } from "./participant.ts";
import type { Relay } from "./relay.ts";
import { hearsBeeps } from "./sound.ts";
import { enter, join, leave, openLobby, seeEachOther } from "./steps.ts";

/** A lost participant's leaf is removed after 10 s; and some to notice and to commit. */
const REMOVED_MS = 40_000;
/** Attempts to come back are up to 5 s apart, and 5 s long. */
const BACK_MS = 30_000;

/** Ana, and Bo whose signaling can be cut. */
async function two(scene: Scene) {
  const { url: link } = await encrypted(scene);
  const ana = await scene.chromium("Ana");
  const { person: bo, cable } = await scene.wired("Bo");
  await enter(ana, link);
  await enter(bo, link);
  await seeEachOther(ana, bo);
  return { ana, bo, cable, link };
}

async function place(person: Participant): Promise<EncryptionStats> {
  const { encryption } = await stats(person);
  assert.ok(encryption);
  return encryption;
}

async function cut(person: Participant, cable: Relay, how?: "pulled" | "deaf"): Promise<void> {
  cable.pull(how);
  await person.until(
    "that it is reconnecting",
    async () => (await stats(person)).phase === "reconnecting",
  );
  await person.until("that it is told so", async () =>
    /reconnecting/i.test(await person.text("status")),
  );
}

async function back(person: Participant, cable: Relay): Promise<void> {
  cable.plugIn();
  await person.until("being back", async () => (await stats(person)).phase === "joined", BACK_MS);
}

/** Everybody has the code and the picture of everybody, and Bo the leaf he had. */
async function allIsWell(people: readonly Participant[], before: string): Promise<void> {
  await sameCode(people, before);
  const names = people.map(({ name }) => name).sort();
  for (const person of people) {
    assert.deepEqual(await holders(person), names);
    assert.equal(await person.has("panel-alarm"), false);
  }
  for (const [at, one] of people.entries()) {
    for (const other of people.slice(at + 1)) await seeEachOther(one, other);
  }
}

journey("who was cut off while somebody joined goes on as the same leaf", async (scene) => {
  const { ana, bo, cable, link } = await two(scene);
  const cy = await scene.chromium("Cy");
  await openLobby(cy, link);
  const before = await sameCode([ana, bo]);
  const was = await place(bo);
  await cut(bo, cable);
  await join(cy);
  await sameCode([ana, cy], before);
  await back(bo, cable);
  await allIsWell([ana, bo, cy], before);
  const is = await place(bo);
  // One commit, Cy's own: had Bo left and entered there would be more.
  assert.deepEqual(
    { group: is.group, leaf: is.leaf, epoch: is.epoch },
    { group: was.group, leaf: was.leaf, epoch: was.epoch + 1 },
  );
  await Promise.all([hearsBeeps(bo, "Ana"), hearsBeeps(cy, "Bo")]);
  await noFailures(ana, cy);
});

journey("who was cut off while somebody left goes on as the same leaf", async (scene) => {
  const { ana, bo, cable, link } = await two(scene);
  const cy = await scene.chromium("Cy");
  await enter(cy, link);
  await ana.tileOf("Cy");
  const before = await sameCode([ana, bo, cy]);
  const was = await place(bo);
  // The server hears that the session was given up, and waits for another.
  await cut(bo, cable, "deaf");
  await leave(cy);
  await sameCode([ana], before);
  await back(bo, cable);
  await allIsWell([ana, bo], before);
  const is = await place(bo);
  assert.deepEqual(
    { group: is.group, leaf: is.leaf, epoch: is.epoch },
    { group: was.group, leaf: was.leaf, epoch: was.epoch + 1 },
  );
  await hearsBeeps(bo, "Ana");
  await noFailures(ana);
});

journey(
  "who was cut off for longer loses the keys, is let in anew, and all goes on",
  async (scene) => {
    const { ana, bo, cable } = await two(scene);
    const before = await sameCode([ana, bo]);
    const was = await place(bo);
    await cut(bo, cable, "deaf");
    await ana.until(
      "Bo's leaf is removed",
      async () => (await holders(ana)).join() === "Ana",
      REMOVED_MS,
    );
    const alone = await sameCode([ana], before);
    await back(bo, cable);
    await allIsWell([ana, bo], alone);
    const is = await place(bo);
    // His removal, and his coming in.
    assert.deepEqual([is.group, is.epoch], [was.group, was.epoch + 2]);
    await hearsBeeps(bo, "Ana");
    await noFailures(ana);
  },
);
