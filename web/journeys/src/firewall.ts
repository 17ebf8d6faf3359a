// A firewall in the network namespace that scripts/isolated.sh made for all
// journeys: real rules of the kernel, which reach this namespace only.
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

const TABLE = "darktower";

/** Why there can be none; undefined where there can. */
export const noFirewall: string | undefined =
  process.env["ISOLATED_NETWORK"] === "1"
    ? undefined
    : "no network namespace here: run it with scripts/isolated.sh, where unshare and nft work";

/** From here on no packet of UDP arrives anywhere. */
export async function blockUdp(): Promise<void> {
  await run("nft", ["add", "table", "inet", TABLE]);
  const hook = "{ type filter hook input priority 0 ; }";
  await run("nft", ["add", "chain", "inet", TABLE, "input", hook]);
  await run("nft", ["add", "rule", "inet", TABLE, "input", "meta", "l4proto", "udp", "drop"]);
}

/** Everything passes again. */
export async function allowAll(): Promise<void> {
  // Deleting needs it to be there, and adding it again is no error.
  await run("nft", ["add", "table", "inet", TABLE]);
  await run("nft", ["delete", "table", "inet", TABLE]);
}
