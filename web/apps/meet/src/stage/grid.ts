// The rows and columns that show the most of everybody in an area of any shape,
// and how many people fit into it. Pure geometry in CSS pixels.

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

/** Cameras send 16:9; a tile of another shape shows only part of the picture. */
export const PICTURE_ASPECT = 16 / 9;
/** In a window that is higher than wide, a square around the face is what counts. */
const FACE_ASPECT = 1;
/** The shapes a tile may take. Narrower or wider cuts faces off. */
const ASPECT_MIN_LANDSCAPE = 1;
const ASPECT_MIN_PORTRAIT = 0.7;
const ASPECT_MAX = 2;
/**
 * Below this a face can't be read, and a name label can't be placed. Where there
 * is room, tiles are turned over in pages before they get as small as that.
 */
const TILE_MIN = { width: 136, height: 92, share: 1 / 6.5, widthMax: 208, aspect: 1.65 } as const;
/** A decoder a tile is running: what an ordinary laptop carries. */
export const TILES_MAX = 49;

export const clamp = (value: number, low: number, high: number): number =>
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

/**
 * How large a picture of this shape is drawn that fills a tile: what is cropped
 * of it counts for how sharp the rest is.
 */
export function filling(tile: Size, aspect: number): Size {
  return {
    width: Math.max(tile.width, tile.height * aspect),
    height: Math.max(tile.height, tile.width / aspect),
  };
}

/** How many tiles of a readable size fit. At least one. */
export function capacity(area: Size, gap: number): number {
  const width = clamp(area.width * TILE_MIN.share, TILE_MIN.width, TILE_MIN.widthMax);
  const height = Math.max(TILE_MIN.height, width / TILE_MIN.aspect);
  const columns = Math.floor((area.width + gap) / (width + gap));
  const rows = Math.floor((area.height + gap) / (height + gap));
  return clamp(columns * rows, 1, TILES_MAX);
}

/**
 * The rectangles of `count` tiles in reading order, as large as if there were
 * `cells` of them: the last page of several has the tiles of the others. The
 * last row stands in the middle.
 */
export function gridRects(count: number, cells: number, area: Rect, gap: number): Rect[] {
  if (count === 0) return [];
  const { rows, columns, tile } = bestGrid(Math.max(count, cells), area, gap);
  const top = area.y + (area.height - rows * tile.height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, i) => {
    const row = Math.floor(i / columns);
    const inRow = Math.min(columns, count - row * columns);
    const start = area.x + (area.width - inRow * tile.width - (inRow - 1) * gap) / 2;
    return {
      x: start + (i % columns) * (tile.width + gap),
      y: top + row * (tile.height + gap),
      ...tile,
    };
  });
}
