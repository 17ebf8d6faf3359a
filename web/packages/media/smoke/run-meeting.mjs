// Two browsers in a meeting on a real server, through the SDK alone:
// `DARKTOWER=path/to/darktower npm run smoke:meeting -- chromium firefox`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build, preview } from "vite";
import { openPage, until } from "./browsers.mjs";

const names = process.argv.slice(2).length === 2 ? process.argv.slice(2) : ["chromium", "chromium"];
const verbose = process.env.VERBOSE !== undefined;

const POLICY =
  "default-src 'self'; script-src 'self'; connect-src 'self' https: wss: ws:; worker-src 'self' blob:; " +
  "object-src 'none'; base-uri 'none'";

async function freePort() {
  const socket = listen().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

const vitePort = await freePort();
const data = await mkdtemp(join(tmpdir(), "darktower-data-"));
const tower = spawn(
  process.env.DARKTOWER ?? "darktower",
  ["up", "--data", data, "--http", "127.0.0.1:0", "--public", "127.0.0.1:0", "--json"].concat([
    "--origin",
    `http://127.0.0.1:${vitePort}`,
  ]),
  { stdio: ["ignore", "pipe", verbose ? "inherit" : "ignore"] },
);
const ready = await new Promise((resolve, reject) => {
  tower.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  createInterface({ input: tower.stdout }).on("line", (line) => {
    const event = JSON.parse(line);
    if (event.event === "ready") resolve(event);
  });
});
// Built as for production and under a policy as strict as the server's: what
// works in development only would show here.
const outDir = join(data, "dist");
await build({
  root: import.meta.dirname,
  build: {
    outDir,
    assetsInlineLimit: 0,
    target: "es2023",
    rolldownOptions: { input: join(import.meta.dirname, "meeting.html") },
  },
  worker: { format: "es" },
  logLevel: "warn",
});
const vite = await preview({
  root: import.meta.dirname,
  build: { outDir },
  preview: {
    host: "127.0.0.1",
    port: vitePort,
    strictPort: true,
    proxy: { "/api": ready.web_url },
    headers: { "Content-Security-Policy": POLICY },
  },
  logLevel: "warn",
});
const url = `http://127.0.0.1:${vitePort}/meeting.html`;

const pages = [];
let failed = false;
const step = (what) => console.log("-", what);
try {
  pages.push(await openPage(names[0], url), await openPage(names[1], url));
  const [a, b] = pages;
  const code = await a.evaluate("sdk.open(null)");
  await b.evaluate(`sdk.open(${JSON.stringify(code)})`);
  await new Promise((resolve) => setTimeout(resolve, 500));
  step("join");
  await a.evaluate("sdk.join('Ana')");
  await b.evaluate("sdk.join('Ben')");

  step("each sees the other's picture change and hears sound");
  for (const page of pages) {
    await until(`${page.name} draws the other`, async () => {
      const stats = await page.evaluate("sdk.stats()");
      return (
        stats.video[0]?.drawn > 20 &&
        stats.audio[0]?.peakMax > 0.01 &&
        stats.audio[0].playedMs > 1000
      );
    });
    const before = await page.evaluate("sdk.pixels()");
    await until(`pixels change in ${page.name}`, async () => {
      const after = await page.evaluate("sdk.pixels()");
      return after.join() !== before.join();
    });
    const stats = await page.evaluate("sdk.stats()");
    console.log("  ", page.name, JSON.stringify(stats.joinTimings));
    if (verbose) console.log(JSON.stringify(stats, null, 1));
  }

  step("mute and unmute");
  await a.evaluate("sdk.mute('microphone', true)");
  await a.evaluate("sdk.mute('camera', true)");
  await until("Ben sees the mutes", async () => {
    const [ana] = await b.evaluate("sdk.participants()");
    return ana.microphone.muted && ana.camera.muted && !ana.camera.live;
  });
  await a.evaluate("sdk.mute('microphone', false)");
  await a.evaluate("sdk.mute('camera', false)");
  await until("Ben sees Ana again", async () => {
    const [ana] = await b.evaluate("sdk.participants()");
    return !ana.microphone.muted && ana.camera.live;
  });

  if (names[0] === "chromium") {
    step("screen share");
    await a.evaluate("sdk.screen()");
    await until("Ben sees the screen", async () => {
      const [ana] = await b.evaluate("sdk.participants()");
      return ana.screen?.live;
    });
    await a.evaluate("sdk.stopScreen()");
    await until("the screen is gone", async () => {
      const [ana] = await b.evaluate("sdk.participants()");
      return ana.screen === undefined;
    });
  }

  step("a reload takes the same seat");
  const id = (await b.evaluate("sdk.self()")).participantId;
  await b.reload();
  await b.evaluate(`sdk.open(${JSON.stringify(code)}, sdk.resumeToken())`);
  await b.evaluate("sdk.join('Ben')");
  const again = (await b.evaluate("sdk.self()")).participantId;
  if (again !== id)
    await until("same seat", async () => (await b.evaluate("sdk.self()")).participantId === id);
  await until("Ana draws Ben again", async () => {
    const [ben] = await a.evaluate("sdk.participants()");
    return ben?.connected && ben.camera?.live;
  });
  await until(
    "Ben draws Ana again",
    async () => (await b.evaluate("sdk.stats()")).video[0]?.drawn > 5,
  );

  step("a server that hangs for four seconds: both come back into their seats");
  tower.kill("SIGSTOP");
  await until(
    "Ana notices",
    async () => (await a.evaluate("sdk.state()")).phase === "reconnecting",
  );
  tower.kill("SIGCONT");
  for (const page of pages) {
    await until(`${page.name} is back`, async () => {
      const stats = await page.evaluate("sdk.stats()");
      return stats.phase === "joined" && stats.mediaConnected;
    });
    const before = (await page.evaluate("sdk.stats()")).video[0]?.drawn ?? 0;
    await until("pictures go on", async () => {
      const stats = await page.evaluate("sdk.stats()");
      return (stats.video[0]?.drawn ?? 0) > before + 10;
    });
  }
  if ((await b.evaluate("sdk.self()")).participantId !== id) throw new Error("another seat");

  step("the host removes Ben, who sees why");
  await a.evaluate(`sdk.remove(${JSON.stringify(id)})`);
  await until("Ben is out", async () => (await b.evaluate("sdk.state()")).reason === "removed");

  step("the host ends the meeting");
  await a.evaluate("sdk.end()");
  await until(
    "it is over",
    async () => (await a.evaluate("sdk.state()")).reason === "meeting-ended",
  );
} catch (error) {
  failed = true;
  console.log("FAILED:", error.message);
  for (const page of pages) {
    const what =
      "(async () => ({log: sdk.log, self: sdk.self(), others: sdk.participants(), stats: await sdk.stats().catch(String)}))()";
    console.log(page.name, JSON.stringify(await page.evaluate(what).catch(String)));
  }
} finally {
  for (const page of pages) await page.close();
  await vite.close();
  tower.removeAllListeners("exit");
  tower.kill();
  await once(tower, "exit");
  await rm(data, { recursive: true, force: true });
}
console.log(failed ? "FAILED" : "ok");
process.exit(failed ? 1 : 0);
