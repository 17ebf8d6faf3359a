// What this browser remembers of the network it is in: that WebTransport failed
// here a while ago. As far as a page can tell networks apart, which is little: its
// origin, and the kind of connection where the browser says it.

const KEY = "darktower.network";
/** Kinds of connection remembered at most. */
const NETWORKS_MAX = 8;

/** Milliseconds since the Unix epoch; undefined when nothing is known. */
export function recallNetwork(): number | undefined {
  return read()[networkName()];
}

export function rememberNetwork(webTransportFailedAt: number | undefined): void {
  const name = networkName();
  const others = Object.entries(read()).filter(([other]) => other !== name);
  const kept = others.slice(1 - NETWORKS_MAX);
  if (webTransportFailedAt !== undefined) kept.push([name, webTransportFailedAt]);
  try {
    if (kept.length === 0) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(kept)));
  } catch {
    // Withheld or full: it is learned again in each meeting.
  }
}

function networkName(): string {
  const { connection } = navigator as { connection?: { type?: unknown } };
  return typeof connection?.type === "string" ? connection.type.slice(0, 32) : "any";
}

/** What is stored may be anything. */
function read(): Record<string, number> {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (typeof stored !== "object" || stored === null) return {};
    const entries: [string, unknown][] = Object.entries(stored);
    return Object.fromEntries(
      entries.filter((entry): entry is [string, number] => Number.isFinite(entry[1])),
    );
  } catch {
    return {};
  }
}
