// Where every tile stands: the rows and columns that show the most of everybody
// in a window of any shape, the stage with its strip, the small tile of oneself.
// Pure geometry in CSS pixels; what is shown at all is decided by places.ts.

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Rect extends Size {
  readonly x: number;
  readonly y: number;
}

export interface Grid {
  readonly rows: number;
  readonly columns: number;
  readonly tile: Size;
}

/** What a tile is in the arrangement; only its looks depend on it. */
export type Role = "grid" | "stage" | "strip" | "float";

export interface Placed {
  readonly key: string;
  readonly role: Role;
  readonly rect: Rect;
}

/** Cameras send 16:9; a tile of another shape shows only part of the picture. */
const PICTURE_ASPECT = 16 / 9;
/** In a window that is higher than wide, a square around the face is what counts. */
const FACE_ASPECT = 1;
/** The shapes a tile may take. Narrower or wider cuts faces off. */
const ASPECT_MIN_LANDSCAPE = 1;
const ASPECT_MIN_PORTRAIT = 0.7;
const ASPECT_MAX = 2;
/** Below this a face can't be read, and a name label can't be placed. */
const TILE_MIN: Size = { width: 136, height: 92 };
/** A decoder a tile is running: what an ordinary laptop carries. */
export const TILES_MAX = 49;
/** Wider than high by this much, the strip stands beside the stage. */
const STRIP_BESIDE_ASPECT = 1.15;
const STRIP_BESIDE = { share: 0.18, min: 136, max: 264 } as const;
const STRIP_BELOW = { share: 0.22, min: 84, max: 168 } as const;
const FLOAT = { share: 0.2, min: 104, max: 260 } as const;

const clamp = (value: number, low: number, high: number): number =>
  Math.min(Math.max(value, low), high);

/** The largest tile of an allowed shape inside a cell. */
function tileIn(cell: Size, portrait: boolean): Size {
  const min = portrait ? ASPECT_MIN_PORTRAIT : ASPECT_MIN_LANDSCAPE;
  const aspect = cell.width / cell.height;
  if (aspect > ASPECT_MAX) return { width: cell.height * ASPECT_MAX, height: cell.height };
  if (aspect < min) return { width: cell.width, height: cell.width / min };
  return cell;
}

/**
 * What a tile is worth: its area, less for the part of the picture that it
 * crops. The root, because what is cropped of a camera's picture is mostly wall.
 */
function shown(tile: Size, portrait: boolean): number {
  const aspect = tile.width / tile.height;
  const ideal = portrait ? FACE_ASPECT : PICTURE_ASPECT;
  const part = Math.min(aspect, ideal) / Math.max(aspect, ideal);
  return tile.width * tile.height * Math.sqrt(part);
}

/** The rows and columns in which `count` tiles show the most picture. */
export function bestGrid(count: number, area: Size, gap: number): Grid {
  let best: Grid = { rows: 1, columns: 1, tile: { width: 0, height: 0 } };
  let bestShown = -1;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = {
      width: (area.width - gap * (columns - 1)) / columns,
      height: (area.height - gap * (rows - 1)) / rows,
    };
    if (cell.width <= 0 || cell.height <= 0) continue;
    const portrait = area.height > area.width;
    const tile = tileIn(cell, portrait);
    const score = shown(tile, portrait);
    // A hair's difference is not worth a lonely tile in the last row.
    const empty = rows * columns - count;
    const bestEmpty = best.rows * best.columns - count;
    const better = empty < bestEmpty ? score > bestShown * 0.97 : score > bestShown * 1.03;
    if (bestShown < 0 || better) {
      best = { rows, columns, tile };
      bestShown = score;
    }
  }
  return best;
}

/** How many tiles of a readable size fit. At least one. */
export function capacity(area: Size, gap: number): number {
  const columns = Math.floor((area.width + gap) / (TILE_MIN.width + gap));
  const rows = Math.floor((area.height + gap) / (TILE_MIN.height + gap));
  return clamp(columns * rows, 1, TILES_MAX);
}

/** How many tiles fit beside or below a stage. */
export function stripCapacity(area: Size, gap: number): number {
  const strip = stripOf(area, gap);
  return strip.beside
    ? Math.max(1, Math.floor((strip.rect.height + gap) / (strip.tile.height + gap)))
    : Math.max(1, Math.floor((strip.rect.width + gap) / (strip.tile.width + gap)));
}

interface Strip {
  readonly beside: boolean;
  readonly rect: Rect;
  readonly tile: Size;
}

function stripOf(area: Size, gap: number): Strip {
  if (area.width > area.height * STRIP_BESIDE_ASPECT) {
    const width = clamp(area.width * STRIP_BESIDE.share, STRIP_BESIDE.min, STRIP_BESIDE.max);
    return {
      beside: true,
      rect: { x: area.width - width, y: 0, width, height: area.height },
      tile: { width, height: width / PICTURE_ASPECT },
    };
  }
  const height = clamp(area.height * STRIP_BELOW.share, STRIP_BELOW.min, STRIP_BELOW.max);
  const wanted = Math.min(height * PICTURE_ASPECT, (area.width - gap) / 2);
  return {
    beside: false,
    rect: { x: 0, y: area.height - height, width: area.width, height },
    tile: { width: wanted, height },
  };
}

function gridTiles(keys: readonly string[], area: Size, gap: number): Placed[] {
  if (keys.length === 0) return [];
  const { rows, columns, tile } = bestGrid(keys.length, area, gap);
  const top = (area.height - rows * tile.height - (rows - 1) * gap) / 2;
  return keys.map((key, i) => {
    const row = Math.floor(i / columns);
    const inRow = Math.min(columns, keys.length - row * columns);
    const start = (area.width - inRow * tile.width - (inRow - 1) * gap) / 2;
    return {
      key,
      role: "grid",
      rect: {
        x: start + (i % columns) * (tile.width + gap),
        y: top + row * (tile.height + gap),
        ...tile,
      },
    };
  });
}

function stripTiles(keys: readonly string[], strip: Strip, gap: number): Placed[] {
  const length = strip.beside
    ? keys.length * strip.tile.height + (keys.length - 1) * gap
    : keys.length * strip.tile.width + (keys.length - 1) * gap;
  const start = strip.beside
    ? Math.max(0, (strip.rect.height - length) / 2)
    : Math.max(0, (strip.rect.width - length) / 2);
  return keys.map((key, i) => ({
    key,
    role: "strip",
    rect: strip.beside
      ? {
          x: strip.rect.x,
          y: start + i * (strip.tile.height + gap),
          ...strip.tile,
        }
      : {
          x: start + i * (strip.tile.width + gap),
          y: strip.rect.y,
          ...strip.tile,
        },
  }));
}

function floatRect(area: Size, gap: number): Rect {
  const portrait = area.height > area.width;
  const width = clamp(area.width * FLOAT.share, FLOAT.min, FLOAT.max);
  const height = portrait ? width / 0.75 : width / PICTURE_ASPECT;
  return {
    x: area.width - width - gap * 1.5,
    y: area.height - height - gap * 1.5,
    width,
    height,
  };
}

/** What is to be shown, in the order in which it is seated. */
export interface Wish {
  readonly area: Size;
  readonly gap: number;
  /** Everybody else's tiles, without the one on the stage. */
  readonly others: readonly string[];
  /** One's own tile, or `null` when it is hidden. */
  readonly self: string | null;
  /** The tile that takes the stage, or `null` for a plain grid. */
  readonly stage: string | null;
  readonly rightToLeft: boolean;
}

/**
 * Places every tile. One's own is alone, floats over the only other person, or
 * stands last in the grid or strip. Rectangles are left-based; in a right-to-left
 * page the whole arrangement is mirrored.
 */
export function arrange(wish: Wish): readonly Placed[] {
  const placed = place(wish);
  if (!wish.rightToLeft) return placed;
  return placed.map((tile) => ({
    ...tile,
    rect: { ...tile.rect, x: wish.area.width - tile.rect.x - tile.rect.width },
  }));
}

function place({ area, gap, others, self, stage }: Wish): Placed[] {
  if (area.width <= 0 || area.height <= 0) return [];
  const own = self === null ? [] : [self];
  if (stage !== null) {
    const keys = stage === self ? others : [...others, ...own];
    if (keys.length === 0) return [{ key: stage, role: "stage", rect: { x: 0, y: 0, ...area } }];
    const strip = stripOf(area, gap);
    const size = strip.beside
      ? { width: strip.rect.x - gap, height: area.height }
      : { width: area.width, height: strip.rect.y - gap };
    return [
      { key: stage, role: "stage", rect: { x: 0, y: 0, ...size } },
      ...stripTiles(keys, strip, gap),
    ];
  }
  if (others.length === 1 && self !== null) {
    return [
      ...gridTiles(others, area, gap),
      { key: self, role: "float", rect: floatRect(area, gap) },
    ];
  }
  return gridTiles([...others, ...own], area, gap);
}

/** Steps in which the asked grid grows, so that not every arrival asks anew. */
const SLOT_SIDES = [2, 3, 4, 5, 7] as const;

/**
 * The grid to ask the server for, so that `count` tiles of others have a slot
 * and the next people to come find one already there. Never more than `limit`
 * slots, whatever the count.
 */
export function slotsFor(count: number, limit: number): { rows: number; columns: number } {
  const most = clamp(limit, 1, TILES_MAX);
  const side = SLOT_SIDES.find((s) => s * s > count) ?? 7;
  if (side * side <= most) return { rows: side, columns: side };
  let best = { rows: 1, columns: most };
  for (let columns = Math.ceil(Math.sqrt(most)); columns <= most; columns++) {
    const rows = Math.floor(most / columns);
    // Near to a square, unless that gives slots away.
    if (rows * columns === most) return { rows, columns };
    if (rows * columns > best.rows * best.columns) best = { rows, columns };
  }
  return best;
}
