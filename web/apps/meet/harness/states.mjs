// The bad moments, each brought about by hand: refused and missing devices, wrong
// links, no server, no codecs; the app turned around, zoomed, on its side; and the
// views of a meeting, with few and with many people.
// Usage: node states.mjs URL FOLDER BINARY [DIST [PART]]; PART is one of those at
// the end of the file, all without it.
import { bot, bots, browser, open, part, shoot, url } from "./browser.mjs";

const refuse = (name, message) =>
  `navigator.mediaDevices.getUserMedia = () =>
     Promise.reject(new DOMException(${JSON.stringify(message)}, ${JSON.stringify(name)}));`;

async function lobby(page) {
  await page.goto(url);
  await page.getByTestId("new-meeting").click();
  await page.getByTestId("name").fill("Lena Vogt");
}

async function inScheme(scheme, [width, height]) {
  const tag = `${scheme}-${width}`;
  for (const [name, error, message] of [
    ["refused", "NotAllowedError", "Permission denied"],
    ["missing", "NotFoundError", "Requested device not found"],
    ["busy", "NotReadableError", "Could not start video source"],
  ]) {
    const page = await open(width, height, scheme);
    await page.addInitScript(refuse(error, message));
    await lobby(page);
    await page.getByRole("alert").first().waitFor();
    await page.waitForTimeout(200);
    await shoot(page, `${name}-${tag}`);
    if (name === "refused") {
      await page.getByRole("button", { name: "How to allow it" }).first().click();
      await shoot(page, `allow-${tag}`);
      await page.keyboard.press("Escape");
      // What fails does not keep anybody out.
      await page.getByTestId("name").press("Enter");
      await page.getByTestId("alone").waitFor();
      await shoot(page, `deviceless-${tag}`);
    }
    await page.context().close();
  }
  for (const [name, prepare, path] of [
    ["not-found", async () => undefined, "/m/abcde-fghjk-mnpqr"],
    ["unreachable", (page) => page.route("**/api/**", (r) => r.abort()), "/m/abcde-fghjk-mnpqr"],
    [
      "unsupported",
      (page) => page.addInitScript("delete globalThis.VideoEncoder"),
      "/m/abcde-fghjk-mnpqr",
    ],
  ]) {
    const page = await open(width, height, scheme);
    await prepare(page);
    await page.goto(url + path);
    await page.locator(`[data-testid="ended"][data-reason="${name}"]`).waitFor();
    await shoot(page, `${name}-${tag}`);
    await page.context().close();
  }
}

async function turnedAround() {
  const page = await open(1280, 720, "dark");
  await page.addInitScript(() => {
    new MutationObserver(() => {
      if (document.documentElement.dir !== "rtl") document.documentElement.dir = "rtl";
    }).observe(document, { subtree: true, attributes: true, childList: true });
  });
  await lobby(page);
  await page.waitForSelector('[data-testid="preview"][data-live="true"]');
  await shoot(page, "rtl-lobby");
  await page.getByTestId("join").click();
  bot(page.url(), "ليلى حداد");
  await page.waitForFunction(() => document.querySelectorAll("canvas:not(.hidden)").length > 0);
  await page.getByTestId("people-toggle").click();
  await page.waitForTimeout(600);
  await shoot(page, "rtl-meeting");
  await page.context().close();
}

async function sharing() {
  const page = await open(1280, 720, "dark");
  await lobby(page);
  await page.getByTestId("join").click();
  await page.getByTestId("alone").waitFor();
  const other = await open(1280, 720, "light");
  await other.goto(page.url());
  await other.getByTestId("name").fill("Sam");
  await other.getByTestId("join").click();
  await page.waitForFunction(() => document.querySelectorAll("canvas:not(.hidden)").length > 0);
  await page.getByTestId("screen-toggle").click();
  await other.waitForFunction(() =>
    document.querySelector('[data-kind="screen"] canvas:not(.hidden)'),
  );
  await page.getByTestId("mic-toggle").click();
  await page.getByTestId("camera-toggle").click();
  await page.waitForTimeout(800);
  await shoot(page, "sharing-own");
  await shoot(other, "sharing-other");
  await page.keyboard.press("l");
  await shoot(page, "leave-question");
  await page.keyboard.press("Escape");
  await page.reload();
  await page.locator('[data-testid="tile"]').first().waitFor();
  await page.waitForTimeout(1500);
  await shoot(page, "reloaded");
  const clone = await page.context().newPage();
  await page.context().close();
  await other.waitForTimeout(1500);
  await shoot(other, "gone");
  await other.context().close();
  await clone.close().catch(() => undefined);
}

async function zoomed() {
  // 1280×720 at 200 %.
  const page = await open(640, 360, "dark", { deviceScaleFactor: 2 });
  await page.goto(url);
  await shoot(page, "zoom-home");
  await lobby(page);
  await page.waitForSelector('[data-testid="preview"][data-live="true"]');
  await shoot(page, "zoom-lobby");
  await page.getByTestId("join").click();
  await page.getByTestId("alone").waitFor();
  await shoot(page, "zoom-alone");
  for (const name of ["Noor", "Mateo", "Yuki"]) bot(page.url(), name);
  await page.waitForFunction(() => document.querySelectorAll("canvas:not(.hidden)").length > 2);
  await page.waitForTimeout(600);
  await shoot(page, "zoom-meeting");
  await page.context().close();
}

/** Puts people without pictures into the page, as if they had come. */
function crowd(page, count) {
  return page.evaluate((n) => {
    const { meeting } = globalThis.darkTower;
    const names = ["Noor Haddad", "Mateo Ruiz", "Yuki Tanaka", "Ingrid Solberg", "ليلى حداد"];
    const people = Array.from({ length: n }, (_, i) => ({
      participantId: `crowd-${i}`,
      userId: 1000 + i,
      name: `${names[i % names.length]} ${i + 1}`,
      role: "guest",
      connected: i !== 3,
      joinedAt: new Date(1000 + i),
    }));
    const map = new Map(people.map((one) => [one.participantId, one]));
    Object.defineProperty(meeting, "participants", { configurable: true, get: () => map });
    meeting.emit("participants", map);
  }, count);
}

async function views() {
  for (const [width, height, scheme, more] of [
    [1280, 720, "dark"],
    [360, 740, "light", { hasTouch: true, isMobile: true }],
    [700, 500, "light"],
    [320, 400, "dark"],
  ]) {
    const tag = `${width}-${scheme}`;
    const page = await open(width, height, scheme, more);
    await lobby(page);
    await page.getByTestId("join").click();
    await page.getByTestId("alone").waitFor();
    for (const name of ["Noor Haddad", "Mateo Ruiz", "Yuki Tanaka", "Ingrid Solberg"]) {
      bot(page.url(), name);
    }
    await page.waitForFunction(
      () =>
        document.querySelectorAll("canvas:not(.hidden)").length >= 3 &&
        globalThis.darkTower.meeting.participants.size === 4,
    );
    await page.waitForTimeout(5000);
    await shoot(page, `view-grid-${tag}`);
    await page.keyboard.press("g");
    await page.waitForTimeout(600);
    await shoot(page, `view-speaker-${tag}`);
    const tile = page.locator('[data-role="strip"]:not([data-self="true"])').first();
    await tile.getByTestId("tile-menu").click();
    await page.waitForTimeout(300);
    await shoot(page, `view-menu-${tag}`);
    await page.getByTestId("spotlight-on").click();
    await page.getByTestId("spotlit").waitFor();
    await page.waitForTimeout(600);
    await shoot(page, `view-spotlight-${tag}`);
    await page.locator('[data-role="strip"]:not([data-self="true"])').first().click();
    await page.waitForTimeout(600);
    await shoot(page, `view-pinned-${tag}`);
    await page.evaluate(() => {
      const { meeting } = globalThis.darkTower;
      meeting.emit("missingCodecs", { video: true, audio: false });
    });
    await page.waitForTimeout(300);
    await shoot(page, `view-no-codec-${tag}`);
    await page.getByTestId("people-toggle").click();
    await page.getByTestId("people").locator('[data-testid^="actions-"]').last().click();
    await page.waitForTimeout(300);
    await shoot(page, `view-people-${tag}`);
    await page.context().close();
    for (const process of bots.splice(0)) process.kill();
  }
}

async function crowds() {
  for (const [width, height, scheme] of [
    [1280, 720, "dark"],
    [360, 740, "light"],
    [700, 500, "dark"],
  ]) {
    const tag = `${width}-${scheme}`;
    const page = await open(width, height, scheme);
    await lobby(page);
    await page.getByTestId("join").click();
    await page.getByTestId("alone").waitFor();
    for (const count of [8, 28, 60]) {
      await crowd(page, count);
      await page.waitForTimeout(500);
      await shoot(page, `crowd-${count}-${tag}`);
    }
    await page.keyboard.press("PageDown");
    await page.waitForTimeout(400);
    await shoot(page, `crowd-page-${tag}`);
    await page.keyboard.press("g");
    await page.waitForTimeout(400);
    await shoot(page, `crowd-speaker-${tag}`);
    await page.keyboard.press("PageDown");
    await page.evaluate(() => {
      const { meeting } = globalThis.darkTower;
      meeting.emit("spotlight", ["crowd-2", "crowd-3", "crowd-4"]);
    });
    await page.waitForTimeout(400);
    await shoot(page, `crowd-spotlight-${tag}`);
    await page.context().close();
  }
}

const parts = {
  dark: () => inScheme("dark", [1280, 720]),
  light: () => inScheme("light", [320, 640]),
  turnedAround,
  sharing,
  zoomed,
  views,
  crowds,
};

try {
  for (const [name, run] of Object.entries(parts)) {
    if (part === undefined || part === name) await run();
  }
} finally {
  for (const process of bots) process.kill();
  await browser.close();
}
