// The cable between one person's browser and the server's signaling: a relay of
// UDP packets that can be pulled and plugged in again. The page finds its way
// through it in the API's answers; media takes its usual way. To both ends it is
// a network that lost its packets, and nothing else.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { Page } from "playwright-core";

/** "deaf": the server hears the browser, which hears nothing. */
type State = "plugged" | "pulled" | "deaf";

const LOOPBACK = "127.0.0.1";

interface Access {
  readonly meeting_controller?: { url: string };
}

export class Cable {
  #state: State = "plugged";
  readonly #front: Socket;
  /** One towards the server for each port of the browser's. */
  readonly #backs = new Map<number, Socket>();

  private constructor(front: Socket) {
    this.#front = front;
  }

  static async of(page: Page): Promise<Cable> {
    const front = createSocket("udp4");
    front.bind(0, LOOPBACK);
    await once(front, "listening");
    const cable = new Cable(front);
    await page.route("**/api/v1/meetings**", async (route) => {
      const response = await route.fetch();
      const access = (await response.json()) as Access;
      if (access.meeting_controller) {
        access.meeting_controller.url = cable.#through(access.meeting_controller.url);
      }
      await route.fulfill({ response, json: access });
    });
    return cable;
  }

  /** Nothing passes any more, or only towards the server. */
  pull(how: Exclude<State, "plugged"> = "pulled"): void {
    this.#state = how;
  }

  plugIn(): void {
    this.#state = "plugged";
  }

  close(): void {
    this.#front.close();
    for (const back of this.#backs.values()) back.close();
  }

  /** The address on this side of what is on the other. */
  #through(url: string): string {
    const there = new URL(url);
    const server = Number(there.port);
    this.#front.removeAllListeners("message");
    this.#front.on("message", (packet, { port }) => {
      const back = this.#backs.get(port) ?? this.#open(port);
      if (this.#state !== "pulled") back.send(packet, server, LOOPBACK);
    });
    there.port = String(this.#front.address().port);
    return there.href;
  }

  #open(browser: number): Socket {
    const back = createSocket("udp4");
    back.on("message", (packet) => {
      if (this.#state === "plugged") this.#front.send(packet, browser, LOOPBACK);
    });
    this.#backs.set(browser, back);
    return back;
  }
}
