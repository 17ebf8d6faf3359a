// For everybody: no axe violation in light or dark, everything by keyboard
// alone, and no sideways scrolling on a narrow phone.
import assert from "node:assert/strict";
import { AxeBuilder } from "@axe-core/playwright";
import { ChromiumDriver } from "./chromium.ts";
import { journey } from "./journey.ts";
import type { Participant } from "./participant.ts";
import { marked } from "./participant.ts";
import { endedWith, enter, inside, join, leave, newMeeting } from "./steps.ts";

async function assertAccessible(person: Participant, screen: string): Promise<void> {
  assert.ok(person.driver instanceof ChromiumDriver);
  const { violations } = await new AxeBuilder({ page: person.driver.page }).analyze();
  const found = violations.map(
    (violation) =>
      `${violation.id} (${violation.help}): ${violation.nodes.map((node) => node.target.join(" ")).join(", ")}`,
  );
  assert.deepEqual(found, [], `axe on the ${screen} screen`);
}

for (const colorScheme of ["light", "dark"] as const) {
  journey(`axe finds nothing on any screen in ${colorScheme}`, async (scene) => {
    const ana = await scene.chromium("Ana", { colorScheme });
    const bo = await scene.chromium("Bo", { colorScheme });
    await ana.driver.goto(scene.server.webUrl);
    await ana.shown("new-meeting");
    await assertAccessible(ana, "home");
    const link = await newMeeting(ana, scene.server.webUrl);
    await assertAccessible(ana, "lobby");
    await join(ana);
    await enter(bo, link);
    await ana.tileOf("Bo");
    await assertAccessible(ana, "meeting");
    await ana.click("people-toggle");
    await ana.shown("people-list");
    await assertAccessible(ana, "meeting with the list of people");
    await leave(bo);
    await assertAccessible(bo, "end");
  });
}

/** Tab until the focus is on what is marked so. */
async function tabTo(person: Participant, testId: string): Promise<void> {
  // More than there are controls on any screen.
  const TABS_MAX = 60;
  for (let tabs = 0; tabs < TABS_MAX; tabs += 1) {
    const there = await person.evaluate(
      (selector) => document.activeElement?.matches(selector) ?? false,
      marked(testId),
    );
    if (there) return;
    await person.driver.press("Tab");
  }
  assert.fail(`"${testId}" can't be reached by Tab`);
}

async function pressOn(person: Participant, testId: string): Promise<void> {
  await tabTo(person, testId);
  await person.driver.press("Enter");
}

journey("the keyboard alone creates, joins, mutes and leaves", async (scene) => {
  const ana = await scene.chromium("Ana");
  await ana.driver.goto(scene.server.webUrl);
  await ana.shown("new-meeting");
  await pressOn(ana, "new-meeting");
  await ana.shown("join");
  await tabTo(ana, "name");
  for (const letter of "Ana") await ana.driver.press(letter);
  await ana.driver.press("Enter");
  const participantId = await inside(ana);

  const bo = await scene.chromium("Bo");
  await enter(bo, ana.driver.url());
  await pressOn(ana, "mic-toggle");
  await bo.until("Ana is muted", async () => (await bo.tileOf("Ana")).muted);
  assert.equal((await bo.tileOf("Ana")).participantId, participantId);
  await pressOn(ana, "leave");
  await endedWith(ana, "left");
});

async function assertNoSidewaysScroll(person: Participant, screen: string): Promise<void> {
  const [content, window] = await person.evaluate(
    () => [document.documentElement.scrollWidth, innerWidth] as const,
    null,
  );
  assert.ok(content <= window, `the ${screen} screen is ${content} px wide in ${window} px`);
}

journey("nothing scrolls sideways on a screen of 320 px", async (scene) => {
  const ana = await scene.chromium("Ana", { width: 320, height: 640 });
  await ana.driver.goto(scene.server.webUrl);
  await ana.shown("new-meeting");
  await assertNoSidewaysScroll(ana, "home");
  await newMeeting(ana, scene.server.webUrl);
  await assertNoSidewaysScroll(ana, "lobby");
  await join(ana);
  await assertNoSidewaysScroll(ana, "meeting");
  for (const control of ["mic-toggle", "camera-toggle", "leave"]) {
    assert.ok(await ana.has(control), `${control} is not shown on a narrow screen`);
  }
  await leave(ana);
  await assertNoSidewaysScroll(ana, "end");
});
