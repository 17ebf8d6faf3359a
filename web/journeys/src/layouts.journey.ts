// Five people, two of them in browsers: grid and speaker view, a pinned tile, the
// host's spotlight, a shared screen, pages in a small window. Of each a picture is
// kept beside the reports of the journeys.
import assert from "node:assert/strict";
import { journey, type Scene } from "./journey.ts";
import type { Participant } from "./participant.ts";
import { marked } from "./participant.ts";
import { enter, inside, join, newMeeting } from "./steps.ts";

/** Longer than all of it takes; the journey's end stops the bots. */
const BOT_SECONDS = 170;
const BOTS = ["Noor", "Mateo", "Yuki"];
/** Too small for five tiles at once. */
const SMALL = { width: 320, height: 300 };
const LARGE = { width: 1280, height: 720 };

interface Five {
  /** She made the meeting. */
  readonly ana: Participant;
  readonly bo: Participant;
}

async function five(scene: Scene): Promise<Five> {
  const ana = await scene.chromium("Ana");
  const bo = await scene.chromium("Bo");
  const link = await newMeeting(ana, scene.server.webUrl);
  await join(ana);
  await enter(bo, link);
  for (const name of BOTS) {
    scene.server.bot(link, name, BOT_SECONDS, ["--publish", "audio,video"]);
  }
  return { ana, bo };
}

interface Placed {
  readonly name: string;
  readonly kind: string;
  /** How it stands: in the grid, large, in the strip, or floating. */
  readonly role: string;
  readonly area: number;
}

/** Every tile as it stands. */
async function placed(person: Participant): Promise<readonly Placed[]> {
  return person.evaluate(
    (selector) =>
      [...document.querySelectorAll<HTMLElement>(selector)].map((tile) => ({
        name: tile.querySelector('[data-testid="tile-name"]')?.textContent.trim() ?? "",
        kind: tile.dataset["kind"] ?? "",
        role: tile.dataset["role"] ?? "",
        area: tile.offsetWidth * tile.offsetHeight,
      })),
    marked("tile"),
  );
}

/** The names of those whose tiles are large, sorted. */
async function large(person: Participant): Promise<string> {
  const tiles = await placed(person);
  const names = tiles.filter((tile) => tile.role === "stage").map((tile) => tile.name);
  return names.sort().join(", ");
}

const largeIs = (person: Participant, name: string): Promise<unknown> =>
  person.until(`${name === "" ? "nobody" : name} is large`, async () => {
    const names = await large(person);
    return names === name;
  });

async function allMove(person: Participant, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await person.seesMoving((await person.tileOf(name)).participantId);
  }
}

/** Chooses from the menu of somebody's tile. */
async function choose(person: Participant, name: string, item: string): Promise<void> {
  const { participantId } = await person.tileOf(name);
  await person.driver.click(`[data-participant-id="${participantId}"] ${marked("tile-menu")}`);
  await person.shown("tile-actions");
  await person.click(item);
}

const view = (person: Participant): Promise<string | null> =>
  person.evaluate(
    (selector) => document.querySelector(selector)?.getAttribute("data-view") ?? null,
    marked("stage"),
  );

journey("five people in grid and speaker view, pinned, lit, shared, in pages", async (scene) => {
  const { ana, bo } = await five(scene);
  await allMove(ana, ["Bo", ...BOTS]);
  await allMove(bo, ["Ana", ...BOTS]);

  // All alike, oneself included.
  const grid = await placed(ana);
  assert.deepEqual([...new Set(grid.map((tile) => tile.role))], ["grid"]);
  assert.equal(grid.length, 5);
  await scene.keep(ana, "grid");

  // One is large, the others beside it; for who switched only.
  await ana.driver.press("g");
  await ana.until("one large tile", async () => (await large(ana)) !== "");
  assert.equal(await view(ana), "speaker");
  assert.equal(await view(bo), "grid");
  await ana.until("a large tile and four small ones", async () => {
    const areas = (await placed(ana)).map((tile) => tile.area).sort((a, b) => b - a);
    const [most, second] = areas;
    return areas.length === 5 && (most ?? 0) > 4 * (second ?? Infinity);
  });
  await allMove(ana, ["Bo", ...BOTS]);
  await scene.keep(ana, "speaker");

  // Pinned: for oneself only, and back.
  await choose(ana, "Yuki", "tile-pin");
  await largeIs(ana, "Yuki");
  assert.equal(await large(bo), "");
  await ana.seesMoving((await ana.tileOf("Yuki")).participantId);
  await scene.keep(ana, "pinned");
  await choose(ana, "Yuki", "tile-pin");
  await ana.driver.press("g");
  await largeIs(ana, "");

  // The spotlight: for everybody, and everybody is told by whom.
  await choose(ana, "Mateo", "spotlight-on");
  await largeIs(ana, "Mateo");
  await largeIs(bo, "Mateo");
  await bo.until("who put it on", async () => /by .?Ana/.test(await bo.text("spotlit")));
  await bo.seesMoving((await bo.tileOf("Mateo")).participantId);
  assert.match(await ana.text("announcement"), /You put .*Mateo.* in the spotlight/);
  await scene.keep(ana, "spotlight");
  await scene.keep(bo, "spotlight");
  await choose(ana, "Bo", "spotlight-add");
  await largeIs(ana, "Bo, Mateo");
  await bo.until("that it is oneself", async () =>
    (await bo.text("spotlight")).includes("put you in the spotlight"),
  );
  await ana.click("end-spotlight");
  await largeIs(ana, "");
  await largeIs(bo, "");

  // A shared screen takes the stage by itself.
  await bo.click("screen-toggle");
  const screen = await ana.tileOf("Bo", "screen");
  await ana.seesMoving(screen.participantId, "screen");
  assert.equal((await placed(ana)).find((tile) => tile.kind === "screen")?.role, "stage");
  await scene.keep(ana, "screen");
  await bo.click("screen-toggle");
  await ana.tileGone("Bo", "screen");

  await pages(scene, ana);

  // Remembered in the next meeting, and by who comes back.
  await ana.driver.press("g");
  await ana.driver.reload();
  await inside(ana);
  await ana.until("the speaker view again", async () => (await view(ana)) === "speaker");
});

/** In a small window: everybody is on one page or another, and their pictures move. */
async function pages(scene: Scene, ana: Participant): Promise<void> {
  await ana.driver.setViewport(SMALL.width, SMALL.height);
  await ana.shown("pager");
  const seen = new Set<string>();
  const page = async (): Promise<readonly string[]> =>
    (await ana.tiles()).filter((tile) => !tile.self).map((tile) => tile.name);
  const first = await page();
  await scene.keep(ana, "page-1");
  for (const name of first) seen.add(name);
  await allMove(ana, first);
  while (seen.size < BOTS.length + 1) {
    const before = await ana.text("page");
    await ana.driver.press("PageDown");
    await ana.until("the next page", async () => (await ana.text("page")) !== before);
    const names = await page();
    assert.ok(
      names.every((name) => !seen.has(name)),
      "nobody is on two pages",
    );
    await allMove(ana, names);
    for (const name of names) seen.add(name);
  }
  await scene.keep(ana, "page-last");
  await ana.driver.setViewport(LARGE.width, LARGE.height);
  await ana.until("one page", async () => !(await ana.has("pager")));
  assert.equal((await ana.tiles()).length, BOTS.length + 2);
}
