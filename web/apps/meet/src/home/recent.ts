// The list of meetings this device was in: kept by the browser alone, newest
// first, bounded, and forgettable one by one or as a whole.

import type { Store } from "../app/storage";

/** More than this many are more than anyone looks through. */
const ENTRIES_MAX = 8;
const STORAGE_KEY = "darktower.recent";

export interface RecentMeeting {
  readonly code: string;
  /** The meeting's own name, empty when it has none. */
  readonly title: string;
  /** When this device was last inside, milliseconds since the Unix epoch. */
  readonly at: number;
}

/** The list with `meeting` at its head, once. */
export function withMeeting(
  list: readonly RecentMeeting[],
  meeting: RecentMeeting,
): readonly RecentMeeting[] {
  return [meeting, ...list.filter((m) => m.code !== meeting.code)].slice(0, ENTRIES_MAX);
}

/** Reads a stored list; whatever is not one counts as empty. */
export function parseRecent(stored: string | null): readonly RecentMeeting[] {
  if (stored === null) return [];
  let value: unknown;
  try {
    value = JSON.parse(stored);
  } catch {
    return [];
  }
  if (!Array.isArray(value)) return [];
  return value.filter(isRecent).slice(0, ENTRIES_MAX);
}

function isRecent(value: unknown): value is RecentMeeting {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Partial<Record<keyof RecentMeeting, unknown>>;
  return (
    typeof entry.code === "string" &&
    typeof entry.title === "string" &&
    typeof entry.at === "number" &&
    Number.isFinite(entry.at)
  );
}

/** The list as this browser keeps it. */
export function loadRecent(storage: Store): readonly RecentMeeting[] {
  return parseRecent(storage.getItem(STORAGE_KEY));
}

/** Keeps the list; an empty one leaves nothing behind. */
export function saveRecent(storage: Store, list: readonly RecentMeeting[]): void {
  if (list.length === 0) storage.removeItem(STORAGE_KEY);
  else storage.setItem(STORAGE_KEY, JSON.stringify(list));
}
