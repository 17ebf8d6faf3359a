// A WebSocket whose other side is the test.
import { splitChannel } from "@darktower/protocol";

export class FakeSocket extends EventTarget {
  static readonly all: FakeSocket[] = [];
  binaryType = "";
  bufferedAmount = 0;
  readonly sent: Uint8Array[] = [];
  closedWith: number | undefined;

  constructor(readonly url: string) {
    super();
    FakeSocket.all.push(this);
  }

  send(message: Uint8Array): void {
    this.sent.push(message);
  }

  close(code: number): void {
    this.closedWith ??= code;
  }

  open(): void {
    this.dispatchEvent(new Event("open"));
  }

  /** The server's side closes, or the network does. */
  end(code: number, reason = ""): void {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }

  bring(data: unknown): void {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  get channels(): number[] {
    return this.sent.map((message) => splitChannel(message).channel);
  }
}
