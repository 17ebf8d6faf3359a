// Who has a place in the window, and which: a person keeps theirs while they
// stay, so that nobody has to be searched for. Pure; grid.ts turns places into
// rectangles.

export interface Seating {
  /** The places as they were. */
  readonly before: readonly string[];
  /** Everybody who could have one, in the order in which they came. */
  readonly present: readonly string[];
  /** Who spoke, the latest first: they get a place when there are too few. */
  readonly speakers: readonly string[];
  readonly capacity: number;
}

/**
 * The new places. Whoever was seated and is present stays where they are; who
 * leaves is replaced by somebody waiting, else by the last in the row, so that
 * at most one tile moves. When there are fewer places than people, a speaker
 * takes the place of the seated person who has been silent longest.
 */
export function seat({ before, present, speakers, capacity }: Seating): readonly string[] {
  const here = new Set(present);
  const loudness = rank(present, speakers);
  const seats: (string | null)[] = before.map((key) => (here.has(key) ? key : null));
  shrink(seats, capacity, loudness);
  const seated = new Set(seats);
  const waiting = present
    .filter((key) => !seated.has(key))
    .sort((a, b) => score(loudness, a) - score(loudness, b));

  fillHoles(seats, waiting);
  while (seats.length < capacity && waiting.length > 0) seats.push(waiting.shift() ?? null);
  const full = seats.filter((key) => key !== null);
  admitSpeakers(full, waiting, speakers, loudness);
  return full;
}

/** Everybody's rank: speakers by how lately they spoke, then order of arrival. */
function rank(present: readonly string[], speakers: readonly string[]): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const key of [...speakers, ...present]) {
    if (!ranks.has(key)) ranks.set(key, ranks.size);
  }
  return ranks;
}

const score = (loudness: Map<string, number>, key: string): number =>
  loudness.get(key) ?? Number.MAX_SAFE_INTEGER;

/** Takes places away until `capacity` are left: holes first, then the silent. */
function shrink(seats: (string | null)[], capacity: number, loudness: Map<string, number>): void {
  while (seats.length > capacity) {
    const hole = seats.lastIndexOf(null);
    const leaving = hole >= 0 ? hole : quietest(seats, loudness);
    seats.splice(leaving, 1);
  }
}

function quietest(seats: readonly (string | null)[], loudness: Map<string, number>): number {
  let index = 0;
  let worst = -1;
  for (const [i, key] of seats.entries()) {
    const s = key === null ? -1 : score(loudness, key);
    if (s > worst) {
      worst = s;
      index = i;
    }
  }
  return index;
}

function fillHoles(seats: (string | null)[], waiting: string[]): void {
  for (let i = 0; i < seats.length; i++) {
    if (seats[i] !== null) continue;
    const next = waiting.shift();
    if (next !== undefined) {
      seats[i] = next;
      continue;
    }
    while (seats.length > i && seats.at(-1) === null) seats.pop();
    if (seats.length > i) seats[i] = seats.pop() ?? null;
  }
}

function admitSpeakers(
  seats: string[],
  waiting: readonly string[],
  speakers: readonly string[],
  loudness: Map<string, number>,
): void {
  // As many as there are places: the latest speakers are all to be seen.
  const wanted = new Set(speakers.slice(0, seats.length));
  for (const key of waiting) {
    if (!wanted.has(key)) continue;
    const victim = quietest(seats, loudness);
    const silent = seats[victim];
    if (silent === undefined || wanted.has(silent)) return;
    seats[victim] = key;
  }
}
