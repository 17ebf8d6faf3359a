// The turns of one incoming stream's frames while each is opened asynchronously:
// they come out in the order in which they went in. A frame whose key is still
// to come is held, with all behind it, for a moment.

/** A frame whose key is still to come is held for so long. */
export const HELD_MS_MAX = 500;
/** Frames that wait at most; further ones are refused. */
export const FRAMES_WAITING_MAX = 64;
/** And bytes of them: a frame is at most 4 MiB. */
export const BYTES_WAITING_MAX = 8 << 20;

export type Opened<Failure> =
  | { readonly type: "plain"; readonly plain: Uint8Array }
  /** Its key is still to come. */
  | { readonly type: "later"; readonly failure: Failure }
  | { readonly type: "failed"; readonly failure: Failure };

type Turn<Failure> =
  | {
      readonly type: "frame";
      readonly since: number;
      readonly bytes: number;
      readonly open: () => Promise<Opened<Failure>>;
      readonly deliver: (plain: Uint8Array) => void;
      readonly fail: (failure: Failure) => void;
    }
  | { readonly type: "mark"; readonly act: () => void };

export class TurnQueue<Failure> {
  readonly #now: () => number;
  #turns: Turn<Failure>[] = [];
  #frames = 0;
  #bytes = 0;
  #running = false;
  #closed = false;
  /** A key did not come in time: who waits for the same one waits no more. */
  #impatient = false;
  /** Times that keys came: they may come while a frame is being tried. */
  #keys = 0;
  #wake: (() => void) | undefined;
  #drained: (() => void)[] = [];

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Frames that wait for their turn. */
  get waiting(): number {
    return this.#frames;
  }

  /** False: there are too many waiting, and this one is not taken. */
  push(
    bytes: number,
    open: () => Promise<Opened<Failure>>,
    deliver: (plain: Uint8Array) => void,
    fail: (failure: Failure) => void,
  ): boolean {
    if (this.#closed || this.#full) return false;
    this.#frames += 1;
    this.#bytes += bytes;
    this.#turns.push({ type: "frame", since: this.#now(), bytes, open, deliver, fail });
    void this.#run();
    return true;
  }

  /** Acts after all frames that went in before. */
  mark(act: () => void): void {
    if (this.#closed) return;
    this.#turns.push({ type: "mark", act });
    void this.#run();
  }

  /** Resolves when there is room again; at once if there is. */
  room(): Promise<void> {
    if (this.#closed || !this.#full) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Keys came: what is held is tried again. */
  wake(): void {
    this.#impatient = false;
    this.#keys += 1;
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#turns = [];
    this.#frames = 0;
    this.#bytes = 0;
    this.#wake?.();
    this.#release();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let turn = this.#turns[0]; turn !== undefined; turn = this.#turns[0]) {
      if (turn.type === "frame") {
        const keys = this.#keys;
        const opened = await turn.open();
        if (this.#closed) break;
        const again = keys !== this.#keys;
        if (opened.type === "later" && (again || (await this.#hold(turn.since)))) continue;
        // `hold` may have slept until after the close.
        if (this.#isClosed()) break;
        this.#turns.shift();
        this.#frames -= 1;
        this.#bytes -= turn.bytes;
        this.#release();
        if (opened.type === "plain") turn.deliver(opened.plain);
        else turn.fail(opened.failure);
      } else {
        this.#turns.shift();
        turn.act();
      }
    }
    this.#running = false;
  }

  /** True: to be tried again. False: it waited long enough. */
  async #hold(since: number): Promise<boolean> {
    const rest = since + HELD_MS_MAX - this.#now();
    if (rest <= 0 || this.#impatient) return false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const woken = await new Promise<boolean>((resolve) => {
      timer = setTimeout(() => {
        resolve(false);
      }, rest);
      this.#wake = () => {
        resolve(true);
      };
    });
    clearTimeout(timer);
    this.#wake = undefined;
    if (!woken) this.#impatient = true;
    return woken;
  }

  get #full(): boolean {
    return this.#frames >= FRAMES_WAITING_MAX || this.#bytes >= BYTES_WAITING_MAX;
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  #release(): void {
    if (this.#full && !this.#closed) return;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}
