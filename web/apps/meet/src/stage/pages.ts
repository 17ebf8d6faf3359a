// Who stands on which page, when there are more people than fit: the first page
// has those who speak, the others everybody else, and whoever is on a page stays
// there. Pure; the seats of one page are places.ts'.
import { seat } from "./places";

export interface Seats {
  /** In their places. */
  readonly first: readonly string[];
  /** The other pages, one after the other. */
  readonly rest: readonly string[];
}

export const NO_SEATS: Seats = { first: [], rest: [] };

/** How many have a place, without oneself. */
export interface Fit {
  readonly first: number;
  readonly other: number;
  readonly paged: boolean;
}

/**
 * How `count` people and one's own tile (`own`, 0 or 1) fit where there is room
 * for `whole`, or, with the control that turns pages, for `paged`. One's own tile
 * stands on the first page only.
 */
export function fit(count: number, own: number, whole: number, paged: number): Fit {
  const fits = count + own <= whole;
  const room = fits ? whole : paged;
  return { first: Math.max(1, room - own), other: Math.max(1, room), paged: !fits };
}

export interface Seating {
  readonly before: Seats;
  /** Everybody who could have a place; the first ones get the better ones. */
  readonly present: readonly string[];
  /** Who spoke, the latest first. */
  readonly speakers: readonly string[];
  readonly fit: Fit;
}

/**
 * The new seats. A speaker from a later page and who makes room for them on the
 * first one change places; nobody else moves for it.
 */
export function seatAll({ before, present, speakers, fit: { first: room } }: Seating): Seats {
  const first = seat({ before: before.first, present, speakers, capacity: room });
  const seated = new Set(first);
  const waiting = present.filter((key) => !seated.has(key));
  // With room for as many as before, who leaves makes a hole and not a shift.
  const capacity = Math.max(before.rest.length, waiting.length);
  return { first, rest: seat({ before: before.rest, present: waiting, speakers: [], capacity }) };
}

export function pageCount(seats: Seats, { other }: Fit): number {
  return 1 + Math.ceil(seats.rest.length / other);
}

/** Who stands on a page, counted from 0; beyond the last one: on the last. */
export function onPage(seats: Seats, fits: Fit, page: number): readonly string[] {
  const at = Math.min(page, pageCount(seats, fits) - 1);
  if (at <= 0) return seats.first;
  return seats.rest.slice((at - 1) * fits.other, at * fits.other);
}
