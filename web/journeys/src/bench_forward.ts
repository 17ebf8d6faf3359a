// What a media handler's forwarding costs beside the physical limit of the same
// machine. The tables and their settings are the program's own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { heading } from "./bench_report.ts";

/** `scripts/bench.sh` has built it beside the binary. */
export async function forwardFigures(): Promise<void> {
  const figures = join(dirname(process.env["DARKTOWER_BIN"] ?? ""), "examples/forward_figures");
  heading(
    "Forwarding: CPU of the media handler a packet, and of a raw sender in the same run",
    "handler on one core, load on the other; raw: copied, AES-128-GCM, GSO with sendmmsg; " +
      "latency: among clients that run before all others on the load's core",
  );
  // It takes minutes: each line is shown as soon as it is there.
  const running = spawn(figures, { stdio: ["ignore", "inherit", "inherit"] });
  const [code] = (await once(running, "exit")) as [number | null];
  if (code !== 0) throw new Error(`forward_figures ended with ${code}`);
}
