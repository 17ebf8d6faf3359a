// What is asked of the server for what the window shows. As long as there are
// slots for all, all have one, and turning pages asks for nothing; above that,
// those who are shown come first. Which tiles are seen and how large they are,
// the SDK measures by itself. Pure.
import type { MeetingLayout } from "@darktower/session";
import { TILES_MAX } from "./grid";
import type { View } from "./large";

/** Steps in which the asked grid grows, so that not every arrival asks anew. */
const SIDES = [2, 3, 4, 5, 7] as const;

export interface Shown {
  readonly view: View;
  /** Tiles of others in all, whether they are shown or not. */
  readonly count: number;
  /** User ids of what is pinned, and of what is shown, large ones first. */
  readonly pinned: readonly number[];
  readonly shown: readonly number[];
}

export function layoutFor({ view, count, pinned, shown }: Shown): MeetingLayout {
  const side = SIDES.find((s) => s * s > count) ?? 7;
  const crowded = count > TILES_MAX;
  const options = {
    pinned: [...new Set(crowded ? [...pinned, ...shown] : pinned)],
    preferVideo: true,
  };
  return view === "speaker"
    ? { kind: "speaker", strip: side * side - 1, ...options }
    : { kind: "grid", rows: side, columns: side, ...options };
}
