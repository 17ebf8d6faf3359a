// The strip of small tiles beside or below the large one, as the window's shape
// allows. Pure geometry in CSS pixels.
import { PICTURE_ASPECT, clamp, type Rect, type Size } from "./grid";

/** Wider than high by this much, the strip stands beside the large tile. */
const BESIDE_ASPECT = 1.15;
const BESIDE = { share: 0.18, min: 136, max: 264 } as const;
const BELOW = { share: 0.22, min: 84, max: 168 } as const;

export interface Strip {
  readonly beside: boolean;
  readonly rect: Rect;
  readonly tile: Size;
}

/** Whether a strip stands beside the large tile in a window of this shape. */
export const standsBeside = (area: Size): boolean => area.width > area.height * BESIDE_ASPECT;

export function stripOf(area: Size, gap: number, beside: boolean): Strip {
  if (beside) {
    const width = clamp(area.width * BESIDE.share, BESIDE.min, BESIDE.max);
    return {
      beside: true,
      rect: { x: area.width - width, y: 0, width, height: area.height },
      tile: { width, height: width / PICTURE_ASPECT },
    };
  }
  const height = clamp(area.height * BELOW.share, BELOW.min, BELOW.max);
  return {
    beside: false,
    rect: { x: 0, y: area.height - height, width: area.width, height },
    tile: { width: Math.min(height * PICTURE_ASPECT, (area.width - gap) / 2), height },
  };
}

/** How many tiles fit into it. At least one. */
export function stripCapacity({ beside, rect, tile }: Strip, gap: number): number {
  const [length, each] = beside ? [rect.height, tile.height] : [rect.width, tile.width];
  return Math.max(1, Math.floor((length + gap) / (each + gap)));
}

/** In the middle, or from the beginning where there are further pages. */
export function stripRects(count: number, strip: Strip, gap: number, paged: boolean): Rect[] {
  const { beside, rect, tile } = strip;
  const [length, each] = beside ? [rect.height, tile.height] : [rect.width, tile.width];
  const start = paged ? 0 : Math.max(0, (length - count * each - (count - 1) * gap) / 2);
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * (each + gap);
    return beside ? { x: rect.x, y: rect.y + at, ...tile } : { x: rect.x + at, y: rect.y, ...tile };
  });
}
