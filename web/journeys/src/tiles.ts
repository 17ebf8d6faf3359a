// Watches the tiles of other people while something happens: a second tile
// that flashes up for a moment is still one too many.
import type { Participant } from "./participant.ts";

export interface TilesSeen {
  /** Everybody who had a camera tile, sorted. */
  readonly participants: string[];
  /** How many such tiles there were at once, at most. */
  readonly atOnceMax: number;
}

interface Watch {
  participants: Set<string>;
  atOnceMax: number;
}

/** Starts watching; the function it returns tells what was seen since. */
export async function watchTiles(person: Participant): Promise<() => Promise<TilesSeen>> {
  await person.evaluate(() => {
    const watch: Watch = { participants: new Set(), atOnceMax: 0 };
    const look = () => {
      const tiles = document.querySelectorAll<HTMLElement>(
        '[data-testid="tile"][data-kind="camera"]:not([data-self="true"])',
      );
      for (const tile of tiles) watch.participants.add(tile.dataset["participantId"] ?? "");
      watch.atOnceMax = Math.max(watch.atOnceMax, tiles.length);
    };
    look();
    new MutationObserver(look).observe(document.body, {
      subtree: true,
      childList: true,
      attributes: true,
    });
    Object.assign(globalThis, { tileWatch: watch });
  }, null);
  return () =>
    person.evaluate(() => {
      const { tileWatch } = globalThis as unknown as { tileWatch: Watch };
      return {
        participants: [...tileWatch.participants].sort(),
        atOnceMax: tileWatch.atOnceMax,
      };
    }, null);
}
