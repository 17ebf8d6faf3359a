// What a handler is told of what is to be seen here: which slots, how large, and
// whether the decoders keep up. Driven by the page's measurements, the controller's
// assignments and the clock; says when a report is due and what stands in it.
// Sending it is the driver's.

/** Reports at most in any second, as the wire has it. */
const REPORTS_A_SECOND_MAX = 10;
/** What can wait, waits until so long after the report before. */
const QUIET_MS = 250;
/** A tile that grew by more than this is told of at once: it looks blurred. */
const GROWTH = 1.25;
/** Sizes are rounded up to this many pixels: a window that is dragged changes them all. */
const STEP_PIXELS = 8;
/** A page has so long to draw what it was just assigned; until then it is asked for. */
const GRACE_MS = 2000;
/** How large a tile is that was never measured, while no other is known. */
const UNMEASURED: TileSize = { width: 640, height: 360 };

export interface TileSize {
  /** In pixels of the screen. */
  readonly width: number;
  readonly height: number;
}

export interface Report {
  readonly tiles: readonly (TileSize & { readonly slot: number })[];
  /** Bits per second, 0: no limit. */
  readonly maxBitrate: number;
  readonly overloaded: boolean;
}

interface Slot {
  readonly slot: number;
  readonly streamId: string;
  /** Since when the slot has this stream. */
  readonly since: number;
}

export class ReceiverReports {
  /** By stream, by canvas; null: it is there, and not measured yet. */
  readonly #tiles = new Map<string, Map<number, TileSize | null>>();
  #slots: readonly Slot[] = [];
  #hidden = false;
  #overloaded = false;
  #maxBitrate = 0;
  /** Before anything was drawn here there is nothing to say. */
  #begun = false;
  #sent: Report | undefined;
  /** When the last reports were sent, oldest first. */
  #sentAt: number[] = [];

  /** A canvas of a stream was attached or measured; `size` null: not measured yet. */
  setTile(streamId: string, canvas: number, size: TileSize | null): void {
    const tiles = this.#tiles.get(streamId) ?? new Map<number, TileSize | null>();
    this.#tiles.set(streamId, tiles.set(canvas, size));
    if (size !== null) this.#begun = true;
  }

  removeTile(streamId: string, canvas: number): void {
    const tiles = this.#tiles.get(streamId);
    tiles?.delete(canvas);
    if (tiles?.size === 0) this.#tiles.delete(streamId);
  }

  /** Which stream each video slot has now. */
  assign(slots: readonly { slot: number; streamId: string }[], nowMs: number): void {
    this.#slots = slots.map(({ slot, streamId }) => {
      const before = this.#slots.find((one) => one.streamId === streamId);
      return { slot, streamId, since: before?.since ?? nowMs };
    });
  }

  /** The page can't be seen. */
  setHidden(hidden: boolean): void {
    this.#hidden = hidden;
    if (hidden) this.#begun = true;
  }

  setOverloaded(overloaded: boolean): void {
    this.#overloaded = overloaded;
  }

  /** Bits per second of all media together, 0: no limit. */
  setMaxBitrate(maxBitrate: number): void {
    if (maxBitrate === this.#maxBitrate) return;
    this.#maxBitrate = maxBitrate;
    this.#begun = true;
  }

  /** The report that is to be sent now, if any. It counts as sent. */
  poll(nowMs: number): Report | undefined {
    const at = this.#due(nowMs);
    if (at === undefined || at > nowMs) return undefined;
    return this.#send(nowMs);
  }

  /** For a handler that knows nothing yet; undefined: there is nothing to say. */
  whole(nowMs: number): Report | undefined {
    return this.#begun ? this.#send(nowMs) : undefined;
  }

  /** When {@link poll} should be asked again at the latest. */
  due(nowMs: number): number | undefined {
    const ends = this.#slots
      .filter((slot) => this.#isInGrace(slot, nowMs))
      .map(({ since }) => since + GRACE_MS);
    const at = this.#due(nowMs);
    const all = at === undefined ? ends : [...ends, at];
    return all.length === 0 ? undefined : Math.min(...all);
  }

  #due(nowMs: number): number | undefined {
    if (!this.#begun) return undefined;
    const now = this.#make(nowMs);
    if (this.#sent !== undefined && same(now, this.#sent)) return undefined;
    const last = this.#sentAt.at(-1) ?? Number.NEGATIVE_INFINITY;
    const wanted = this.#sent === undefined || isUrgent(now, this.#sent) ? nowMs : last + QUIET_MS;
    return Math.max(wanted, this.#allowedAt());
  }

  /** No more than so many in any second. */
  #allowedAt(): number {
    const tenth = this.#sentAt.at(-REPORTS_A_SECOND_MAX);
    return tenth === undefined ? Number.NEGATIVE_INFINITY : tenth + 1000;
  }

  #send(nowMs: number): Report {
    const report = this.#make(nowMs);
    this.#sent = report;
    this.#sentAt = [...this.#sentAt, nowMs].slice(-REPORTS_A_SECOND_MAX);
    return report;
  }

  #make(nowMs: number): Report {
    const tiles = this.#hidden ? [] : this.#slots.flatMap((slot) => this.#tile(slot, nowMs));
    return { tiles, maxBitrate: this.#maxBitrate, overloaded: this.#overloaded };
  }

  #tile(at: Slot, nowMs: number): Report["tiles"] {
    const { slot } = at;
    const sizes = this.#isInGrace(at, nowMs) ? [this.#usual()] : this.#sizes(at.streamId);
    const width = roundUp(Math.max(0, ...sizes.map((size) => size.width)));
    const height = roundUp(Math.max(0, ...sizes.map((size) => size.height)));
    return width > 0 && height > 0 ? [{ slot, width, height }] : [];
  }

  #sizes(streamId: string): TileSize[] {
    const measured = [...(this.#tiles.get(streamId)?.values() ?? [])];
    return measured.filter((size) => size !== null);
  }

  /** The page had no time yet to say how large it is. */
  #isInGrace({ streamId, since }: Slot, nowMs: number): boolean {
    return nowMs < since + GRACE_MS && this.#sizes(streamId).length === 0;
  }

  /** What a tile is like here that was not measured yet. */
  #usual(): TileSize {
    for (const tiles of this.#tiles.values()) {
      for (const size of tiles.values()) {
        if (size !== null && size.width > 0 && size.height > 0) return size;
      }
    }
    return UNMEASURED;
  }
}

function roundUp(pixels: number): number {
  return Math.ceil(pixels / STEP_PIXELS) * STEP_PIXELS;
}

function same(a: Report, b: Report): boolean {
  return (
    a.maxBitrate === b.maxBitrate &&
    a.overloaded === b.overloaded &&
    a.tiles.length === b.tiles.length &&
    a.tiles.every((tile) => {
      const other = b.tiles.find((one) => one.slot === tile.slot);
      return other?.width === tile.width && other.height === tile.height;
    })
  );
}

/** Somebody would see it, or suffer from it, if this waited. */
function isUrgent(now: Report, before: Report): boolean {
  if (now.overloaded && !before.overloaded) return true;
  return now.tiles.some((tile) => {
    const other = before.tiles.find((one) => one.slot === tile.slot);
    if (other === undefined) return true;
    return tile.width > other.width * GROWTH || tile.height > other.height * GROWTH;
  });
}
