// Where everything on the stage stands: the large tiles, the grid or strip, one's
// own small tile, and the control that turns pages. Pure; who is shown at all is
// decided by large.ts and pages.ts.
import { PICTURE_ASPECT, capacity, clamp, gridRects, type Rect, type Size } from "./grid";
import { standsBeside, stripCapacity, stripOf, stripRects, type Strip } from "./strip";

/** What a tile is in the arrangement; only its looks depend on it. */
export type Role = "grid" | "stage" | "strip" | "float";

export interface Placed {
  readonly key: string;
  readonly role: Role;
  readonly rect: Rect;
}

export interface Arrangement {
  readonly tiles: readonly Placed[];
  /** Where the control stands that turns pages, if there is more than one. */
  readonly pager: Rect | null;
}

const FLOAT = { share: 0.2, min: 104, max: 260, portraitAspect: 0.75 } as const;
/** A finger's width. */
const PAGER_HEIGHT = 44;

/** What is to be shown, in the order in which it is seated. */
export interface Wish {
  readonly area: Size;
  readonly gap: number;
  /** Tiles that take the stage; none for a plain grid. */
  readonly large: readonly string[];
  /** Everybody else's tiles, of the page that is shown. */
  readonly others: readonly string[];
  /** One's own tile, or `null` when it is hidden, large, or on another page. */
  readonly self: string | null;
  /** Tiles on a full page; `null` while all fit on one. */
  readonly page: number | null;
  readonly rightToLeft: boolean;
}

/**
 * Places every tile. One's own is alone, floats over the only other one, or
 * stands last in the grid or strip. Rectangles are left-based; in a right-to-left
 * page the whole arrangement is mirrored.
 */
export function arrange(wish: Wish): Arrangement {
  const { area, rightToLeft } = wish;
  if (area.width <= 0 || area.height <= 0) return { tiles: [], pager: null };
  const placed = wish.large.length > 0 ? withStage(wish) : plainGrid(wish);
  if (!rightToLeft) return placed;
  const mirror = (rect: Rect): Rect => ({ ...rect, x: area.width - rect.x - rect.width });
  return {
    tiles: placed.tiles.map((tile) => ({ ...tile, rect: mirror(tile.rect) })),
    pager: placed.pager === null ? null : mirror(placed.pager),
  };
}

/** How many tiles fit beside each other in a plain grid. */
export const gridRoom = (area: Size, gap: number, paged: boolean): number =>
  capacity(paged ? abovePager(area, gap) : area, gap);

/** How many fit into the strip beside or below what is large. */
export const stripRoom = (area: Size, gap: number, paged: boolean): number =>
  stripCapacity(stripIn(area, gap, paged).strip, gap);

function plainGrid({ area, gap, others, self, page }: Wish): Arrangement {
  const floats = self !== null && others.length === 1;
  const keys = self === null || floats ? others : [...others, self];
  const within = page === null ? area : abovePager(area, gap);
  const rects = gridRects(keys.length, page ?? keys.length, { x: 0, y: 0, ...within }, gap);
  const tiles = zip(keys, rects, "grid");
  if (floats) tiles.push({ key: self, role: "float", rect: floatRect(area, gap) });
  return { tiles, pager: page === null ? null : pagerBelow(area) };
}

function withStage({ area, gap, large, others, self, page }: Wish): Arrangement {
  const whole = { x: 0, y: 0, ...area };
  if (others.length === 0 && page === null) {
    const tiles = zip(large, gridRects(large.length, large.length, whole, gap), "stage", area);
    if (self !== null) tiles.push({ key: self, role: "float", rect: floatRect(area, gap) });
    return { tiles, pager: null };
  }
  const { strip, pager } = stripIn(area, gap, page !== null);
  const room = strip.beside
    ? { ...whole, width: strip.rect.x - gap }
    : { ...whole, height: strip.rect.y - gap };
  const keys = self === null ? others : [...others, self];
  return {
    tiles: [
      ...zip(large, gridRects(large.length, large.length, room, gap), "stage", room),
      ...zip(keys, stripRects(keys.length, strip, gap, page !== null), "strip"),
    ],
    pager,
  };
}

/** One large tile alone takes all there is, whatever its shape. */
function zip(keys: readonly string[], rects: readonly Rect[], role: Role, all?: Size): Placed[] {
  return keys.flatMap((key, i) => {
    const rect = rects[i];
    if (rect === undefined) return [];
    const only = all !== undefined && keys.length === 1;
    return [
      { key, role, rect: only ? { x: 0, y: 0, width: all.width, height: all.height } : rect },
    ];
  });
}

const abovePager = (area: Size, gap: number): Size => ({
  width: area.width,
  height: Math.max(0, area.height - PAGER_HEIGHT - gap),
});

const pagerBelow = (area: Size): Rect => ({
  x: 0,
  y: area.height - PAGER_HEIGHT,
  width: area.width,
  height: PAGER_HEIGHT,
});

/** The strip, and the pager at its end or below it. */
function stripIn(area: Size, gap: number, paged: boolean): { strip: Strip; pager: Rect | null } {
  const beside = standsBeside(area);
  const within = paged && !beside ? abovePager(area, gap) : area;
  const strip = stripOf(within, gap, beside);
  if (!paged) return { strip, pager: null };
  if (!beside) return { strip, pager: pagerBelow(area) };
  const { rect } = strip;
  const height = Math.max(0, rect.height - PAGER_HEIGHT - gap);
  return {
    strip: { ...strip, rect: { ...rect, height } },
    pager: { ...rect, y: area.height - PAGER_HEIGHT, height: PAGER_HEIGHT },
  };
}

function floatRect(area: Size, gap: number): Rect {
  const portrait = area.height > area.width;
  const width = clamp(area.width * FLOAT.share, FLOAT.min, FLOAT.max);
  const height = width / (portrait ? FLOAT.portraitAspect : PICTURE_ASPECT);
  return {
    x: area.width - width - gap * 1.5,
    y: area.height - height - gap * 1.5,
    width,
    height,
  };
}
