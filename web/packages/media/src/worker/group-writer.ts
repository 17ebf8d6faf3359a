// Writes one group, frame by frame, as the path takes them.
import type { StreamHeader } from "@darktower/protocol";
import { GroupQueue } from "../rules/group-queue";
import type { GroupStream } from "./carrier/types";
import type { MediaPath } from "./outgoing";

export class GroupWriter {
  readonly #queue = new GroupQueue<Uint8Array>();
  #wake: (() => void) | undefined;
  #finishing = false;
  #broken = false;
  #stream: GroupStream | undefined;

  constructor(link: MediaPath, sendOrder: number, header: StreamHeader) {
    void this.#run(link, sendOrder, header);
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
    this.#stream?.abort();
  }

  async #run(link: MediaPath, sendOrder: number, header: StreamHeader): Promise<void> {
    try {
      const stream = await link.openGroup(header, sendOrder);
      this.#stream = stream;
      for (;;) {
        if (this.#isBroken()) {
          stream.abort();
          return;
        }
        const frame = this.#queue.take();
        if (frame !== undefined) {
          await stream.write(frame);
          this.#queue.written();
        } else if (this.#finishing) {
          await stream.close();
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } catch {
      this.#broken = true;
    }
  }

  /** It may have become so while something was awaited. */
  #isBroken(): boolean {
    return this.#broken;
  }
}
