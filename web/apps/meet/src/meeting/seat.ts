// What keeps a person in their place: the seat of this tab, so that a reload goes
// back into it, and the host tokens of meetings made on this device, so that the
// creator stays host.
import type { Store } from "../app/storage";

const SEAT_KEY = "darktower.seat";
const HOST_KEY = "darktower.host";
/** More meetings than this nobody hosts at once from one device; the oldest go. */
const HOST_TOKENS_MAX = 20;

export interface Seat {
  /** The meeting's key as it stands in the page's path. */
  readonly key: string;
  readonly resumeToken: string;
  readonly name: string;
  readonly microphoneOn: boolean;
  readonly cameraOn: boolean;
}

/** The seat this tab holds in the meeting `key`, if any. */
export function loadSeat(store: Store, key: string): Seat | null {
  const seat = parse(store.getItem(SEAT_KEY));
  if (
    seat?.["key"] !== key ||
    typeof seat["resumeToken"] !== "string" ||
    typeof seat["name"] !== "string"
  ) {
    return null;
  }
  return {
    key,
    resumeToken: seat["resumeToken"],
    name: seat["name"],
    microphoneOn: seat["microphoneOn"] === true,
    cameraOn: seat["cameraOn"] === true,
  };
}

export function saveSeat(store: Store, seat: Seat): void {
  store.setItem(SEAT_KEY, JSON.stringify(seat));
}

export function dropSeat(store: Store): void {
  store.removeItem(SEAT_KEY);
}

/** The host token of a meeting made on this device. */
export function hostToken(store: Store, code: string): string | null {
  const token = parse(store.getItem(HOST_KEY))?.[code];
  return typeof token === "string" ? token : null;
}

/** Keeps the host token of `code`, or forgets it when `token` is `null`. */
export function keepHostToken(store: Store, code: string, token: string | null): void {
  const kept = Object.entries(parse(store.getItem(HOST_KEY)) ?? {}).filter(([c]) => c !== code);
  if (token !== null) kept.push([code, token]);
  if (kept.length === 0) store.removeItem(HOST_KEY);
  else store.setItem(HOST_KEY, JSON.stringify(Object.fromEntries(kept.slice(-HOST_TOKENS_MAX))));
}

function parse(stored: string | null): Record<string, unknown> | null {
  if (stored === null) return null;
  try {
    const value: unknown = JSON.parse(stored);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
