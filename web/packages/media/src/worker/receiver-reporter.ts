// Tells the handlers what is to be seen here, as rules/receiver-report.ts has it:
// gathers the page's measurements, the assignments and the decoders' state.
import type { Assignment } from "@darktower/session";
import { Overload } from "../rules/overload";
import { ReceiverReports, type Report, type TileSize } from "../rules/receiver-report";

/** An overload ends without anything happening. */
const CALM_CHECK_MS = 1000;

export class ReceiverReporter {
  readonly #rules = new ReceiverReports();
  readonly #overload = new Overload();
  readonly #send: (report: Report) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #overloaded = false;
  #closed = false;

  /** `send`: to all handlers. */
  constructor(send: (report: Report) => void) {
    this.#send = send;
  }

  get overloaded(): boolean {
    return this.#overloaded;
  }

  setTile(streamId: string, canvas: number, size: TileSize | null): void {
    this.#rules.setTile(streamId, canvas, size);
    this.#pump();
  }

  removeTile(streamId: string, canvas: number): void {
    this.#rules.removeTile(streamId, canvas);
    this.#pump();
  }

  setHidden(hidden: boolean): void {
    this.#rules.setHidden(hidden);
    this.#pump();
  }

  setMaxBitrate(bitsPerSecond: number): void {
    this.#rules.setMaxBitrate(bitsPerSecond);
    this.#pump();
  }

  assign(assignments: Iterable<Assignment>): void {
    const videos = [...assignments].filter(({ kind }) => kind !== "microphone");
    this.#rules.assign(videos, performance.now());
    this.#pump();
  }

  /** A decoder of this stream has so many frames before it. */
  queued(streamId: string, frames: number): void {
    this.#overload.queued(streamId, frames, performance.now());
    if (this.#overload.isOverloaded(performance.now()) !== this.#overloaded) this.#pump();
  }

  gone(streamId: string): void {
    this.#overload.gone(streamId);
  }

  /** For a handler that was just reached. */
  whole(): Report | undefined {
    return this.#rules.whole(performance.now());
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #pump(): void {
    if (this.#closed) return;
    const now = performance.now();
    this.#overloaded = this.#overload.isOverloaded(now);
    this.#rules.setOverloaded(this.#overloaded);
    const report = this.#rules.poll(now);
    if (report !== undefined) this.#send(report);
    clearTimeout(this.#timer);
    const due = this.#rules.due(now);
    const calm = this.#overloaded ? now + CALM_CHECK_MS : Infinity;
    const next = Math.min(due ?? Infinity, calm);
    if (next === Infinity) return;
    this.#timer = setTimeout(
      () => {
        this.#pump();
      },
      Math.max(0, next - now),
    );
  }
}
