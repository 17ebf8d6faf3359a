// A browser for looking at the app: pages of any size and colour scheme, pictures
// for a person to look at, axe on each, and bots for company. Not part of the app.
// Arguments of every script here: URL FOLDER BINARY [DIST [PART]]
import { AxeBuilder } from "@axe-core/playwright";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

export const [url, folder, binary, dist, part] = process.argv.slice(2);
const types = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
const flags = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream=fps=15",
  "--autoplay-policy=no-user-gesture-required",
  // A page that is put in place by hand has no address space of its own.
  "--disable-features=LocalNetworkAccessChecks",
];
export const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
export const bots = [];

export async function open(width, height, colorScheme, more = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    ...more,
  });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  if (dist !== undefined) await serveFrom(context, dist);
  const page = await context.newPage();
  page.on("console", (m) => console.log(`[${m.type()}] ${m.text()}`));
  page.on("pageerror", (e) => console.log(`[pageerror] ${e.message}`));
  page.setDefaultTimeout(15_000);
  return page;
}

export async function shoot(page, name) {
  await page.screenshot({ path: `${folder}/${name}.png` });
  const { violations } = await new AxeBuilder({ page }).analyze();
  for (const v of violations) {
    console.log(`AXE ${name}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(" | ")}`);
    console.log(v.nodes[0]?.failureSummary);
  }
}

/** Puts a fresh build in place of the pages that the server was compiled with. */
async function serveFrom(context, root) {
  const csp = (await fetch(url)).headers.get("content-security-policy") ?? "";
  await context.route(
    (at) => at.origin === url && !at.pathname.startsWith("/api/"),
    async (route) => {
      const { pathname } = new URL(route.request().url());
      const file = pathname.startsWith("/assets/") ? pathname : "/index.html";
      const body = await readFile(root + file);
      const contentType = types[file.slice(file.lastIndexOf(".") + 1)] ?? "text/plain";
      const headers = {
        "content-security-policy": csp,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
      };
      await route.fulfill({ body, contentType, headers });
    },
  );
}

export function bot(link, name) {
  const args = ["bot", "--join", link, "--name", name, "--publish", "audio,video"];
  const process = spawn(binary, [...args, "--duration", "240s"], { stdio: "ignore" });
  bots.push(process);
}
