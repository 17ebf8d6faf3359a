// A person in front of a browser, whichever it is: what they can do to a page
// and what they see there. The two drivers implement `Driver`; journeys use
// `Participant` only.
import { until, within } from "./waiting.ts";

/** No question to a page may take longer; a page that hangs is a failure. */
export const EVALUATE_MS = 10_000;

export interface Driver {
  readonly browser: "Chromium" | "Firefox";
  readonly console: string[];
  goto(url: string): Promise<void>;
  /** Runs in each page before its own scripts. */
  onNewDocument<A>(run: (argument: A) => void, argument: A): Promise<void>;
  reload(): Promise<void>;
  url(): string;
  click(selector: string): Promise<void>;
  fill(selector: string, text: string): Promise<void>;
  press(key: string): Promise<void>;
  evaluate<R, A>(run: (argument: A) => R | Promise<R>, argument: A): Promise<R>;
  setViewport(width: number, height: number): Promise<void>;
  screenshot(path: string): Promise<void>;
  close(): Promise<void>;
}

/** The selector of what the app marks for tests. */
export function marked(testId: string): string {
  return `[data-testid="${testId}"]`;
}

/** What a tile shows, as one sees it from outside. */
export interface TileSeen {
  readonly participantId: string;
  readonly kind: string;
  readonly self: boolean;
  readonly name: string;
  readonly muted: boolean;
}

export class Participant {
  readonly name: string;
  readonly driver: Driver;

  constructor(name: string, driver: Driver) {
    this.name = name;
    this.driver = driver;
  }

  evaluate<R, A>(run: (argument: A) => R | Promise<R>, argument: A): Promise<R> {
    return within(`${this.name}'s page`, EVALUATE_MS, this.driver.evaluate(run, argument));
  }

  until<T>(
    what: string,
    look: () => Promise<T | undefined | null | false>,
    ms?: number,
  ): Promise<T> {
    return until(`${this.name}: ${what}`, look, ms);
  }

  click(testId: string): Promise<void> {
    return this.driver.click(marked(testId));
  }

  fill(testId: string, text: string): Promise<void> {
    return this.driver.fill(marked(testId), text);
  }

  /** Waits until something of this mark is there. */
  async shown(testId: string, ms?: number): Promise<void> {
    await this.until(`"${testId}" is shown`, () => this.has(testId), ms);
  }

  /** Whether something of this mark is there and visible. */
  has(testId: string): Promise<boolean> {
    return this.evaluate((selector) => {
      const element = document.querySelector(selector);
      return element?.checkVisibility() ?? false;
    }, marked(testId));
  }

  text(testId: string): Promise<string> {
    return this.evaluate(
      (selector) => document.querySelector(selector)?.textContent.trim() ?? "",
      marked(testId),
    );
  }

  tiles(): Promise<TileSeen[]> {
    return this.evaluate(
      () =>
        [...document.querySelectorAll<HTMLElement>('[data-testid="tile"]')].map((tile) => ({
          participantId: tile.dataset["participantId"] ?? "",
          kind: tile.dataset["kind"] ?? "",
          self: tile.dataset["self"] === "true",
          name: tile.querySelector('[data-testid="tile-name"]')?.textContent.trim() ?? "",
          muted: tile.querySelector('[data-testid="tile-muted"]')?.checkVisibility() ?? false,
        })),
      null,
    );
  }

  /** The tile of somebody else, by their name. */
  tileOf(name: string, kind = "camera"): Promise<TileSeen> {
    return this.until(`a ${kind} tile of ${name}`, async () =>
      (await this.tiles()).find(
        (tile) => !tile.self && tile.kind === kind && tile.name.includes(name),
      ),
    );
  }

  async tileGone(name: string, kind = "camera"): Promise<void> {
    await this.until(`no ${kind} tile of ${name} any more`, async () =>
      (await this.tiles()).every(
        (tile) => tile.self || tile.kind !== kind || !tile.name.includes(name),
      ),
    );
  }

  /**
   * A small copy of what a tile's canvas shows, three bytes of colour a pixel;
   * empty while nothing is drawn.
   */
  picture(participantId: string, kind = "camera"): Promise<number[]> {
    return this.evaluate(
      (wanted) => {
        const width = 32;
        const height = 18;
        const tile = `[data-testid="tile"][data-participant-id="${wanted.participantId}"][data-kind="${wanted.kind}"]`;
        const canvas = document.querySelector<HTMLCanvasElement>(`${tile} canvas`);
        if (!canvas?.checkVisibility() || canvas.width === 0) return [];
        const copy = document.createElement("canvas");
        copy.width = width;
        copy.height = height;
        const context = copy.getContext("2d");
        if (!context) return [];
        context.drawImage(canvas, 0, 0, width, height);
        const { data } = context.getImageData(0, 0, width, height);
        // The fourth byte of each pixel, how opaque it is, says nothing.
        return [...data].filter((_, at) => at % 4 !== 3);
      },
      { participantId, kind },
    );
  }

  /** Waits until a tile shows a picture, and then until that picture changes. */
  async seesMoving(participantId: string, kind = "camera"): Promise<void> {
    const first = await this.until(`a ${kind} picture`, async () => {
      const picture = await this.picture(participantId, kind);
      return isPicture(picture) && picture;
    });
    await this.until(`the ${kind} picture changes`, async () => {
      const next = await this.picture(participantId, kind);
      return isPicture(next) && differ(first, next);
    });
  }

  close(): Promise<void> {
    return this.driver.close();
  }
}

/** Below this a byte of colour counts as black, and two bytes as equal. */
const VISIBLE = 12;

/** Not empty and not black; of one colour it may be, as Firefox's fake camera is. */
function isPicture(colours: readonly number[]): boolean {
  return colours.some((value) => value > VISIBLE);
}

/** Some of the copied pixels are clearly of another colour. */
function differ(a: readonly number[], b: readonly number[]): boolean {
  return a.some((value, at) => Math.abs(value - (b[at] ?? 0)) > VISIBLE);
}
