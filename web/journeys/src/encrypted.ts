// What people see of the encryption of a meeting: the lock, the codes, who holds
// the keys; and what the figures say. Used by the journeys of encrypted meetings.
import assert from "node:assert/strict";
import type { Alarm } from "@darktower/crypto";
import type { EncryptionState } from "@darktower/session";
import { stats } from "./diagnostics.ts";
import type { Scene } from "./journey.ts";
import type { Participant } from "./participant.ts";
import { marked } from "./participant.ts";
import type { CreatedMeeting } from "./server.ts";
import { enter } from "./steps.ts";

/** Six groups of five digits. */
const CODE = /^\d{5}( \d{5}){5}$/;
/** Nine of them. */
export const PAIR_CODE = /^\d{5}( \d{5}){8}$/;

export function encrypted(scene: Scene): Promise<CreatedMeeting> {
  return scene.server.createMeeting({ settings: { enable_e2e_encryption: true } });
}

/** The lock is closed, and the panel behind it is open. */
export async function openLock(person: Participant): Promise<void> {
  await person.until("a closed lock", async () => (await lockOf(person)) === "end-to-end");
  if (!(await person.has("encryption-panel"))) await person.click("lock");
  await person.shown("meeting-code");
}

export function lockOf(person: Participant): Promise<string | undefined> {
  return person.evaluate(
    (selector) => document.querySelector<HTMLElement>(selector)?.dataset["state"],
    marked("lock"),
  );
}

export function codeShown(person: Participant, testId: string): Promise<string | undefined> {
  return person.evaluate(
    (selector) => document.querySelector<HTMLElement>(selector)?.dataset["code"],
    marked(testId),
  );
}

/** Waits until all have the same code of `holders` people, another one than `before`. */
export async function sameCode(people: readonly Participant[], before = ""): Promise<string> {
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

export async function holders(person: Participant): Promise<string[]> {
  const names = await person.evaluate(
    (selector) =>
      [...document.querySelectorAll(`${selector} li bdi`)].map((one) => one.textContent.trim()),
    marked("key-holders"),
  );
  return names.sort();
}

/** Nothing that was meant for this person could not be opened. */
export async function noFailures(...people: readonly Participant[]): Promise<void> {
  for (const person of people) {
    const { encryption, video, audio } = await stats(person);
    assert.ok(encryption !== null, `${person.name} has no encryption`);
    assert.ok(encryption.opened > 0, `${person.name} opened nothing`);
    assert.equal(encryption.decryptFailures, 0, `${person.name}: ${JSON.stringify(encryption)}`);
    for (const one of [...video, ...audio]) assert.equal(one.decryptFailures, 0);
  }
}

export async function two(
  scene: Scene,
): Promise<{ ana: Participant; bo: Participant; link: string }> {
  const { url: link } = await encrypted(scene);
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  await enter(ana, link);
  await enter(bo, link);
  return { ana, bo, link };
}

interface Page {
  readonly meeting: {
    readonly encryption: EncryptionState;
    emit(type: "encryption", state: EncryptionState): void;
  };
}

/**
 * Has the page told of alarms, as its workers would if the server lied; that they
 * do is tested where the group is.
 */
export async function setAlarms(
  person: Participant,
  kinds: readonly Alarm["kind"][],
): Promise<void> {
  await person.evaluate((wanted) => {
    const { meeting } = (globalThis as unknown as { darkTower: Page }).darkTower;
    const state = meeting.encryption;
    if (state.kind !== "end-to-end") throw new Error("no keys yet");
    const alarms = wanted.map((kind) => ({ kind, name: "Mallory", leaf: 9, participantId: "m" }));
    meeting.emit("encryption", { ...state, view: { ...state.view, alarms } });
  }, kinds);
}

/** Has the page told that somebody came with another device. */
export async function swapDevice(person: Participant, name: string): Promise<void> {
  await person.evaluate((wanted) => {
    const { meeting } = (globalThis as unknown as { darkTower: Page }).darkTower;
    const state = meeting.encryption;
    if (state.kind !== "end-to-end") throw new Error("no keys yet");
    const holders = state.view.holders.map((holder) =>
      holder.name === wanted ? { ...holder, deviceThumbprint: "another" } : holder,
    );
    meeting.emit("encryption", { ...state, view: { ...state.view, holders } });
  }, name);
}
