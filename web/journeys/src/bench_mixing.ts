// What it costs the server to mix sound and to encode it anew. The table is the
// program's own.
import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { heading } from "./bench_report.ts";

/** `scripts/bench.sh` has built it beside the binary. */
export function mixingFigures(): Promise<void> {
  const figures = join(dirname(process.env["DARKTOWER_BIN"] ?? ""), "examples/mixing_figures");
  heading(
    "Mixing: CPU for each second of sound, and how many of it a core can do",
    "one thread, Opus at 32 kbit/s in and 40 kbit/s out; a mix for many who do not speak is one",
  );
  console.log(execFileSync(figures, { encoding: "utf8" }).trimEnd().replace(/^/gm, "  "));
  return Promise.resolve();
}
