// The bad moments, each brought about by hand: refused and missing devices, wrong
// links, no server, no codecs; and the app turned around, zoomed, on its side.
// Usage: node states.mjs URL FOLDER BINARY [DIST]
import { bot, bots, browser, open, shoot, url } from "./browser.mjs";

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

try {
  await inScheme("dark", [1280, 720]);
  await inScheme("light", [320, 640]);
  await turnedAround();
  await sharing();
  await zoomed();
} finally {
  for (const process of bots) process.kill();
  await browser.close();
}
