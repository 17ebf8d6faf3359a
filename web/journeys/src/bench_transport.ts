// What the transport does alone: streams opened, messages, partial reliability,
// congestion controllers. The tables and their settings are the program's own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";

/** `scripts/bench.sh` has built it beside the binary. */
export async function transportFigures(): Promise<void> {
  const figures = join(dirname(process.env["DARKTOWER_BIN"] ?? ""), "examples/transport_figures");
  // It takes minutes: each table is shown as soon as it is there.
  const running = spawn(figures, { stdio: ["ignore", "inherit", "inherit"] });
  const [code] = (await once(running, "exit")) as [number | null];
  if (code !== 0) throw new Error(`transport_figures ended with ${code}`);
}
