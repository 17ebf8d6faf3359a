// What encryption costs natively and in the browser: a frame's SFrame, and the
// group's operations.
import { execFileSync } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { createServer } from "vite";
import { heading, percentile, table, type Row } from "./bench_report.ts";
import { launchChromium } from "./chromium.ts";

const ROOT = resolve(import.meta.dirname, "../../packages/crypto/bench");
const WEB = resolve(import.meta.dirname, "../..");
/** An audio frame, and the datagrams of video. */
const FRAME_BYTES = 1200;
const SIZES = [2, 10, 100, 500];
/** Growing a group to the last of them takes most of it. */
const PAGE_MS = 600_000;

interface Costs {
  readonly [figure: string]: number | readonly number[];
}

export async function cryptoCosts(): Promise<void> {
  nativeCosts();
  await browserCosts();
}

/** `scripts/bench.sh` has built it beside the binary. */
function nativeCosts(): void {
  const figures = join(dirname(process.env["DARKTOWER_BIN"] ?? ""), "examples/e2ee_figures");
  heading(
    "SFrame and MLS in Rust",
    `${FRAME_BYTES} B frames; enter: external commit, add, remove: a member's commit, ` +
      "join: a Welcome, process: another's commit; goal: seal and open < 3 µs",
  );
  console.log(execFileSync(figures, { encoding: "utf8" }).trimEnd().replace(/^/gm, "  "));
}

async function browserCosts(): Promise<void> {
  const server = await createServer({
    root: ROOT,
    server: { host: "127.0.0.1", port: 0, fs: { allow: [WEB] } },
    worker: { format: "es" },
    logLevel: "warn",
  });
  await server.listen();
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PAGE_MS);
    const open = async () => {
      await page.goto(server.resolvedUrls?.local[0] ?? "");
      await page.waitForFunction("globalThis.cryptoBench !== undefined");
    };
    const ask = <Result>(call: string) => page.evaluate<Result>(`cryptoBench.${call}`);
    await open();
    // The device has one key, whatever page it is.
    const first = await ask<{ thumbprint: string }>("found()");
    await open();
    const again = await ask<{ thumbprint: string }>("found()");
    if (first.thumbprint !== again.thumbprint) throw new Error("the device key was not kept");

    const frames: Row[] = [];
    for (const suite of [4, 5]) {
      const costs = await ask<Costs>(`frames(${suite}, ${FRAME_BYTES})`);
      for (const figure of ["seal", "open"]) {
        frames.push({ suite, figure, ...both(costs[figure], 3) });
      }
    }
    const frameSettings = `${FRAME_BYTES} B frames in a module worker; goal: p50 < 0.3 ms`;
    table("SFrame in Chromium, ms a frame", frameSettings, frames);

    const groups = (await ask<Costs[]>(`groups(${JSON.stringify(SIZES)})`)).map((costs) => {
      const row: Record<string, string | number> = { members: String(costs["members"]) };
      for (const figure of ["enter", "add", "join", "remove", "process"]) {
        row[figure] = both(costs[figure], 1).p50;
      }
      return row;
    });
    table(
      "MLS in WebAssembly in Chromium, ms p50",
      "in a module worker; enter: external commit, add and remove: a member's commit, join: " +
        "a Welcome, process: another's commit",
      groups,
    );
  } finally {
    await browser.close();
    await server.close();
  }
}

function both(costs: number | readonly number[] | undefined, digits: number) {
  const values = Array.isArray(costs) ? (costs as readonly number[]) : [];
  return {
    p50: percentile(values, 50).toFixed(digits),
    p95: percentile(values, 95).toFixed(digits),
  };
}
