// Writes one group on one stream, frame by frame, as the path takes them.
import { GroupQueue } from "../rules/group-queue";
import type { MediaPath } from "./outgoing";

/** RESET_STREAM codes of WIRE section 2. */
const RESET_GRACEFUL = 0;

export class GroupWriter {
  readonly #queue = new GroupQueue<Uint8Array>();
  #wake: (() => void) | undefined;
  #finishing = false;
  #broken = false;
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;

  constructor(link: MediaPath, sendOrder: number, header: Uint8Array) {
    this.#queue.push(header, performance.now());
    void this.#run(link, sendOrder);
  }

  /** False: the group is late or its stream broke; give it up. */
  push(frame: Uint8Array): boolean {
    if (this.#broken || !this.#queue.push(frame, performance.now())) return false;
    this.#wake?.();
    return true;
  }

  /** No more will come; what waits is still written. */
  finish(): void {
    this.#finishing = true;
    this.#wake?.();
  }

  /** Gives up what was not written. */
  abort(): void {
    this.#broken = true;
    this.#wake?.();
    this.#writer?.abort(resetReason()).catch(() => undefined);
  }

  async #run(link: MediaPath, sendOrder: number): Promise<void> {
    try {
      this.#writer = await link.openStream(sendOrder);
      this.#writer.closed.catch(() => undefined);
      for (;;) {
        if (this.#broken) {
          await this.#writer.abort(resetReason());
          return;
        }
        const frame = this.#queue.take();
        if (frame !== undefined) {
          await this.#writer.write(frame);
          this.#queue.written();
        } else if (this.#finishing) {
          await this.#writer.close();
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } catch {
      this.#broken = true;
    }
  }
}

function resetReason(): unknown {
  return typeof WebTransportError === "undefined"
    ? undefined
    : new WebTransportError("late", { source: "stream", streamErrorCode: RESET_GRACEFUL });
}
