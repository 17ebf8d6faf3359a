// What people do in Dark Tower, by clicks and keys on what they see.
import type { Participant } from "./participant.ts";
import { marked } from "./participant.ts";

/** From "Join" to being inside, on a machine that is busy with browsers. */
const JOIN_MS = 30_000;

/** Presses "New meeting" at home; the link that the lobby is for. */
export async function newMeeting(person: Participant, webUrl: string): Promise<string> {
  await person.driver.goto(webUrl);
  await person.shown("new-meeting");
  await person.click("new-meeting");
  await person.shown("join");
  return person.until("the meeting's link in the address", () => {
    const url = person.driver.url();
    return Promise.resolve(/\/m\/[a-z0-9-]+/.test(url) && url);
  });
}

/** Opens a link and waits for its lobby. */
export async function openLobby(person: Participant, link: string): Promise<void> {
  await person.driver.goto(link);
  await person.shown("join");
}

/** Gives a name in the lobby and joins; returns when inside. */
export async function join(person: Participant): Promise<void> {
  await person.shown("name");
  await person.fill("name", person.name);
  await person.click("join");
  await inside(person);
}

/** Waits until the person's own tile is there. */
export async function inside(person: Participant): Promise<string> {
  await person.shown("leave", JOIN_MS);
  const own = await person.until("the own tile", async () =>
    (await person.tiles()).find((tile) => tile.self && tile.kind === "camera"),
  );
  return own.participantId;
}

/** Opens a link and joins. */
export async function enter(person: Participant, link: string): Promise<string> {
  await openLobby(person, link);
  await join(person);
  return inside(person);
}

/** The end screen, and why it is shown. */
export async function endedWith(person: Participant, reason: string): Promise<void> {
  await person.until(`the end screen says "${reason}"`, async () => {
    const shown = await person.evaluate((selector) => {
      const element = document.querySelector<HTMLElement>(selector);
      return element?.checkVisibility() ? (element.dataset["reason"] ?? "") : undefined;
    }, marked("ended"));
    return shown === reason;
  });
}

/** Leaves by the button. */
export async function leave(person: Participant): Promise<void> {
  await person.click("leave");
  await endedWith(person, "left");
}

/** Whether what is muted is told in words or state, by the toggle itself. */
export function pressed(person: Participant, testId: string): Promise<string | null> {
  return person.evaluate(
    (selector) => document.querySelector(selector)?.getAttribute("aria-pressed") ?? null,
    marked(testId),
  );
}

/** The two see each other's pictures change. */
export async function seeEachOther(a: Participant, b: Participant): Promise<void> {
  const [bSeenByA, aSeenByB] = await Promise.all([a.tileOf(b.name), b.tileOf(a.name)]);
  await Promise.all([a.seesMoving(bSeenByA.participantId), b.seesMoving(aSeenByB.participantId)]);
}
