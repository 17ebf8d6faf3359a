// Which tiles take the stage: what the person pinned, else whom the host put into
// the spotlight, else a shared screen, and in the speaker view whoever has the
// floor. Pure.

/** Everybody in tiles of one size, or one large tile with the others beside it. */
export type View = "grid" | "speaker";

export interface Candidates {
  readonly view: View;
  /** The tile that the person pinned for themselves. */
  readonly pinned: string | null;
  /** Tiles of the people in the spotlight, without one's own; first place first. */
  readonly spotlight: readonly string[];
  /** Shared screens, without one's own, in the order in which the sharing began. */
  readonly screens: readonly string[];
  /** Whose turn it is to speak. */
  readonly floor: string | null;
  /** Everybody else's tiles, the best first: who is large while nobody speaks. */
  readonly others: readonly string[];
}

/** The tiles that are large; none for a plain grid. */
export function largeOf(candidates: Candidates): readonly string[] {
  const { view, pinned, spotlight, screens, floor, others } = candidates;
  if (pinned !== null) return [pinned];
  if (spotlight.length > 0) return spotlight;
  const screen = screens.at(-1);
  if (screen !== undefined) return [screen];
  if (view === "grid") return [];
  const speaker = floor ?? others[0];
  return speaker === undefined ? [] : [speaker];
}
