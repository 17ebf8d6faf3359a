// Runs the loopback page in real browsers: `npm run smoke` (chromium, firefox,
// or both). Facts only: pictures are drawn and change, sound is played.
import { createServer } from "vite";
import { openPage, until } from "./browsers.mjs";

const wanted = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ["chromium", "firefox"];

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
  const page = await openPage(name, url);
  let stats;
  try {
    await page.evaluate("loopback.start()");
    await until("pictures and sound come back", async () => {
      stats = await page.evaluate("loopback.stats()");
      return stats.video.drawn > 30 && stats.audio.packets > 100 && stats.audio.peakMax > 0.01;
    });
    const before = stats.video.drawn;
    await page.evaluate("loopback.carrier('datagram')");
    await until("pictures come by datagrams too", async () => {
      stats = await page.evaluate("loopback.stats()");
      return stats.video.carrier === "datagram" && stats.video.drawn > before + 20;
    });
    failed ||= stats.video.decodeErrors + stats.audio.decodeErrors > 0;
  } catch (error) {
    console.log(name, error.message);
    failed = true;
  } finally {
    console.log(name, JSON.stringify(stats));
    await page.close();
  }
}
await server.close();
console.log(failed ? "FAILED" : "ok");
process.exit(failed ? 1 : 0);
