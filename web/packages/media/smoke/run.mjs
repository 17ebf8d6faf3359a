// Runs the loopback page in real browsers: `npm run smoke` (chromium, firefox,
// or both). Facts only: pictures are drawn and change, sound is played.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "vite";

const SECONDS = 4;
const wanted = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ["chromium", "firefox"];

const CHROMIUM_FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream=fps=30",
  "--autoplay-policy=no-user-gesture-required",
];

async function chromium(url, profile) {
  const { chromium } = await import("playwright-core");
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: "/usr/bin/chromium",
    args: CHROMIUM_FLAGS,
    headless: true,
  });
  const page = await context.newPage();
  page.on("console", (message) => console.log("  page:", message.text()));
  page.on("pageerror", (error) => console.log("  page error:", error.message));
  await page.goto(url);
  return { evaluate: (code) => page.evaluate(code), close: () => context.close() };
}

async function firefox(url, profile) {
  const { default: puppeteer } = await import("puppeteer-core");
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: "/usr/bin/firefox-esr",
    headless: true,
    userDataDir: profile,
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
      "media.cubeb.force_mock_context": true,
      "media.autoplay.default": 0,
      "media.autoplay.blocking_policy": 0,
    },
  });
  const page = await browser.newPage();
  page.on("console", (message) => console.log("  page:", message.text()));
  page.on("pageerror", (error) => console.log("  page error:", error.message));
  await page.goto(url);
  return { evaluate: (code) => page.evaluate(code), close: () => browser.close() };
}

const server = await createServer({
  root: import.meta.dirname,
  server: { host: "127.0.0.1", port: 0, fs: { allow: ["../../.."] } },
  worker: { format: "es" },
  logLevel: "warn",
});
await server.listen();
const url = `http://127.0.0.1:${server.httpServer.address().port}/`;
let failed = false;
for (const name of wanted) {
  const profile = await mkdtemp(join(tmpdir(), "darktower-smoke-"));
  const browser = await { chromium, firefox }[name](url, profile);
  try {
    await browser.evaluate("loopback.start()");
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    const stats = await browser.evaluate("loopback.stats()");
    console.log(name, JSON.stringify(stats));
    const good =
      stats.video.drawn > SECONDS * 5 &&
      stats.video.decodeErrors === 0 &&
      stats.audio.packets > SECONDS * 25 &&
      stats.audio.peakMax > 0.01;
    console.log(name, good ? "ok" : "FAILED");
    failed ||= !good;
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  }
}
await server.close();
process.exit(failed ? 1 : 0);
