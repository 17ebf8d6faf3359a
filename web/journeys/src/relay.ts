// A relay of UDP packets between browsers and a server, that can be pulled and
// plugged in again. To both ends it is a network that lost its packets, and
// nothing else.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

/** "deaf": the server hears the browser, which hears nothing. */
type State = "plugged" | "pulled" | "deaf";

const LOOPBACK = "127.0.0.1";

export class Relay {
  #state: State = "plugged";
  readonly #server: number;
  readonly #front: Socket;
  /** One towards the server for each port of a browser's. */
  readonly #backs = new Map<number, Socket>();

  private constructor(server: number, front: Socket) {
    this.#server = server;
    this.#front = front;
    front.on("message", (packet, { port }) => {
      const back = this.#backs.get(port) ?? this.#open(port);
      if (this.#state !== "pulled") back.send(packet, this.#server, LOOPBACK);
    });
  }

  /** Before the UDP port of a server on this machine. */
  static async before(server: number): Promise<Relay> {
    const front = createSocket("udp4");
    front.bind(0, LOOPBACK);
    await once(front, "listening");
    return new Relay(server, front);
  }

  /** Where browsers send to. */
  get port(): number {
    return this.#front.address().port;
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

  #open(browser: number): Socket {
    const back = createSocket("udp4");
    back.on("message", (packet) => {
      if (this.#state === "plugged") this.#front.send(packet, browser, LOOPBACK);
    });
    this.#backs.set(browser, back);
    return back;
  }
}
