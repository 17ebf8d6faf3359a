// Starting real browsers with fake devices, for the runners beside this file.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CHROMIUM_FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream=fps=30",
  "--autoplay-policy=no-user-gesture-required",
];

const FIREFOX_PREFS = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.cubeb.force_mock_context": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
};

/** A page of `name` ("chromium" or "firefox") at `url`: {evaluate(code), close()}. */
export async function openPage(name, url) {
  const profile = await mkdtemp(join(tmpdir(), "darktower-smoke-"));
  const browser = await (name === "firefox" ? firefox(profile) : chromium(profile));
  const page = await browser.newPage();
  page.on("console", (message) => {
    if (!message.text().startsWith("[vite]")) console.log(`  ${name}:`, message.text());
  });
  page.on("pageerror", (error) => console.log(`  ${name} error:`, error.message));
  await page.goto(url);
  return {
    name,
    evaluate: (code) => withDeadline(page.evaluate(code), code),
    reload: () => page.reload(),
    close: async () => {
      await browser.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function chromium(profile) {
  const { chromium } = await import("playwright-core");
  return chromium.launchPersistentContext(profile, {
    executablePath: "/usr/bin/chromium",
    args: CHROMIUM_FLAGS,
    headless: true,
  });
}

async function firefox(profile) {
  const { default: puppeteer } = await import("puppeteer-core");
  return puppeteer.launch({
    browser: "firefox",
    executablePath: "/usr/bin/firefox-esr",
    headless: true,
    userDataDir: profile,
    extraPrefsFirefox: FIREFOX_PREFS,
  });
}

function withDeadline(promise, what) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer to ${what}`)), 15_000);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** Asks until it is so, and fails after the deadline. */
export async function until(what, ask, deadlineMs = 15_000) {
  const end = Date.now() + deadlineMs;
  let last;
  while (Date.now() < end) {
    last = await ask();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`did not happen: ${what}`);
}
