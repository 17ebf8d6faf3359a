// For everybody: no axe violation in light or dark, everything by keyboard
// alone, and no sideways scrolling on a narrow phone.
import assert from "node:assert/strict";
import { AxeBuilder } from "@axe-core/playwright";
import { ChromiumDriver } from "./chromium.ts";
import {
  PAIR_CODE,
  codeShown,
  openLock,
  sameCode,
  setAlarms,
  swapDevice,
  two,
} from "./encrypted.ts";
import { journey, type Scene } from "./journey.ts";
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
    await ana.click(`compare-${(await ana.tileOf("Bo")).participantId}`);
    await ana.shown("pair-code");
    await assertAccessible(ana, "meeting with the list of people");
    await openLock(ana);
    await ana.click("compare");
    await assertAccessible(ana, "meeting with the encryption's panel");
    await setAlarms(ana, ["stranger", "double", "untrustworthy", "stays"]);
    await ana.shown("panel-alarm");
    await assertAccessible(ana, "meeting with alarms in the encryption's panel");
    await ana.click("lock");
    await ana.shown("alarm");
    await assertAccessible(ana, "meeting with an alarm");
    await setAlarms(ana, []);
    await ana.click("more");
    await ana.click("statistics");
    await ana.until("figures of the encryption", async () =>
      /frames that could not be opened/i.test(await ana.text("statistics-panel")),
    );
    await assertAccessible(ana, "meeting with statistics");
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

/** Two who hold the same keys, with nothing opened: no news of the group is due. */
async function together(scene: Scene): Promise<{ ana: Participant }> {
  const { ana, bo } = await two(scene);
  await sameCode([ana, bo]);
  await ana.click("lock");
  await ana.until("the panel is closed", async () => !(await ana.has("encryption-panel")));
  return { ana };
}

journey("the keyboard alone opens the lock, compares codes and closes it again", async (scene) => {
  const { ana } = await together(scene);
  await pressOn(ana, "lock");
  await ana.shown("meeting-code");
  await pressOn(ana, "compare");
  assert.match((await codeShown(ana, "pair-code")) ?? "", PAIR_CODE);
  await ana.driver.press("Escape");
  await ana.until("the panel is closed", async () => !(await ana.has("encryption-panel")));
  await ana.driver.press("e");
  await ana.shown("encryption-panel");
});

journey("what is wrong is said at once, in an alert, with what to do", async (scene) => {
  const { ana } = await together(scene);
  // The region is there before there is anything to say: readers hear changes.
  assert.deepEqual(await alerts(ana), [""]);
  const wording = {
    stranger: /not in the list of people, under the name .*Mallory.* start a new meeting/,
    double: /two are in the encryption .*Mallory.* start a new meeting/i,
    untrustworthy: /Mallory.* can’t prove it.* ask who it is/i,
    stays: /removed and still holds the keys.*Mallory.* start a new meeting/i,
  };
  for (const [kind, words] of Object.entries(wording)) {
    await setAlarms(ana, [kind as keyof typeof wording]);
    await ana.until(`the alert "${kind}"`, async () =>
      (await alerts(ana)).some((said) => words.test(said)),
    );
  }
  await pressOn(ana, "alarm-details");
  await ana.shown("panel-alarm");
  await ana.until("the alert in the panel", async () =>
    (await alerts(ana)).some((said) => wording.stays.test(said)),
  );
});

journey(
  "a person's other device is flagged in both lists until the codes are compared",
  async (scene) => {
    const { ana } = await together(scene);
    const { participantId } = await ana.tileOf("Bo");
    await openLock(ana);
    await swapDevice(ana, "Bo");
    await ana.shown("changed-key");
    assert.ok(
      (await alerts(ana)).some((said) => /Bo.*another device.*compare the codes/i.test(said)),
    );
    await ana.click("people-toggle");
    await ana.shown("flagged");
    await pressOn(ana, `compare-${participantId}`);
    await pressOn(ana, "accept-key");
    await ana.until("no flag any more", async () => !(await ana.has("flagged")));
    await openLock(ana);
    assert.equal(await ana.has("changed-key"), false);
  },
);

/** What the page's alerts say. */
function alerts(person: Participant): Promise<string[]> {
  return person.evaluate(
    () => [...document.querySelectorAll('[role="alert"]')].map((one) => one.textContent.trim()),
    null,
  );
}

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
