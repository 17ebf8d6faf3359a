// Measures a meeting on this machine and prints tables: what `make bench`
// shows. Arguments choose parts. Nothing here passes or fails; the goals stand
// beside the figures.
import { blockedNetworks } from "./bench_blocked.ts";
import { browserJoins } from "./bench_browser.ts";
import { crowdJoins, layerSwitches } from "./bench_crowd.ts";
import { cryptoCosts } from "./bench_crypto.ts";
import { forwardFigures } from "./bench_forward.ts";
import { lossySound } from "./bench_lossy.ts";
import { mixingFigures } from "./bench_mixing.ts";
import { botJoins, encryptedJoins, idle, load } from "./bench_programs.ts";
import { squeezedReceiver } from "./bench_squeeze.ts";
import { transportFigures } from "./bench_transport.ts";

const PARTS: Record<string, () => Promise<void>> = {
  idle,
  bot: botJoins,
  e2ee: encryptedJoins,
  load,
  browser: browserJoins,
  crowd: crowdJoins,
  layers: layerSwitches,
  crypto: cryptoCosts,
  blocked: blockedNetworks,
  transport: transportFigures,
  forward: forwardFigures,
  mixing: mixingFigures,
  squeeze: squeezedReceiver,
  lossy: lossySound,
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((part) => !(part in PARTS));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(", ")}; there are ${Object.keys(PARTS).join(", ")}`);
  process.exit(2);
}
for (const [name, part] of Object.entries(PARTS)) {
  if (chosen.length === 0 || chosen.includes(name)) await part();
}
