// Sessions over a pretended network: what the two carriers do alike, what the
// WebSocket does by itself, and how a link moves from one to the other.
import {
  SocketChannel,
  parseStreamHeader,
  splitChannel,
  writeOnChannel,
  writeStreamHeader,
  type StreamHeader,
} from "@darktower/protocol";
import { CloseCode, type Endpoint } from "@darktower/session";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CarrierChoice } from "../src/rules/carrier-choice";
import { Dialing } from "../src/worker/carrier/dialing";
import type { Receiver } from "../src/worker/carrier/types";
import { WebSocketSession } from "../src/worker/carrier/websocket";
import { GroupWriter } from "../src/worker/group-writer";
import { FakeSocket } from "./fake-socket";

const ENDPOINT: Endpoint = {
  url: "https://127.0.0.1:1/mh/0",
  websocketUrl: "ws://127.0.0.1:2/media/0",
  certificateHashes: [],
};
const HEADER: StreamHeader = {
  kind: "video",
  streamId: "550e8400-e29b-41d4-a716-446655440000",
  codec: "vp08",
  encoding: 0,
  screen: false,
  group: 1,
};

const buffer = (channel: SocketChannel, body: Uint8Array): ArrayBuffer =>
  writeOnChannel(channel, body).buffer;

class Ears implements Receiver {
  readonly heard: string[] = [];
  readonly discarded: string[] = [];
  control(framed: Parameters<Receiver["control"]>[0]): void {
    this.heard.push(`${framed.type} ${framed.bytes.join()}`);
  }
  discard(cause: string): void {
    this.discarded.push(cause);
  }
  readonly media = {
    datagram: (bytes: Uint8Array): void => {
      this.heard.push(`datagram ${bytes.join()}`);
    },
    group: () => undefined,
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all.length = 0;
  vi.stubGlobal("WebSocket", FakeSocket);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function opened(kind: "signaling" | "media"): Promise<{
  session: WebSocketSession;
  socket: FakeSocket;
  ears: Ears;
}> {
  const session = new WebSocketSession(ENDPOINT, kind);
  const socket = FakeSocket.all.at(-1);
  if (socket === undefined) throw new Error("nothing was dialled");
  socket.open();
  await session.ready;
  const ears = new Ears();
  await session.start(ears);
  return { session, socket, ears };
}

describe("a WebSocket of signaling", () => {
  it("carries a message as it is", async () => {
    const { session, socket, ears } = await opened("signaling");
    session.send(Uint8Array.of(8, 1));
    expect(socket.sent).toEqual([Uint8Array.of(8, 1)]);
    socket.bring(Uint8Array.of(9, 9).buffer);
    socket.bring(Uint8Array.of(3, 0, 0, 0, 1).buffer);
    expect(ears.heard).toEqual(["message 9,9", "rtt 3,0,0,0,1"]);
  });

  it.each([
    ["text", "hello"],
    ["a message above the limit", new ArrayBuffer((1 << 20) + 1)],
    ["an RTT packet above the limit", new Uint8Array(65).fill(3).buffer],
  ])("is closed for %s", async (_, data) => {
    const { socket, ears } = await opened("signaling");
    socket.bring(data);
    socket.bring(Uint8Array.of(9).buffer);
    expect(socket.closedWith).toBe(4000 + CloseCode.protocolError);
    expect(ears.heard).toEqual([]);
  });
});

describe("a WebSocket of media", () => {
  it("names the channel of each message", async () => {
    const { session, socket, ears } = await opened("media");
    session.send(Uint8Array.of(8, 1));
    session.sendDatagram(Uint8Array.of(2, 7));
    const group = await session.openGroup(HEADER);
    // A group of which no frame came opens nothing.
    expect(socket.channels).toEqual([0, 3]);
    await group.write(Uint8Array.of(1));
    await group.write(Uint8Array.of(2));
    expect(socket.channels).toEqual([0, 3, 1, 2, 2]);
    expect(parseStreamHeader(splitChannel(socket.sent[2] ?? new Uint8Array()).body)).toEqual(
      HEADER,
    );
    socket.bring(buffer(SocketChannel.control, Uint8Array.of(9)));
    socket.bring(buffer(SocketChannel.datagram, Uint8Array.of(2, 5)));
    expect(ears.heard).toEqual(["message 9", "datagram 2,5"]);
  });

  it.each([
    ["text", "hello"],
    ["an unknown channel", Uint8Array.of(9, 1).buffer],
    ["an empty message", new ArrayBuffer(0)],
    ["a datagram above the limit", buffer(3, new Uint8Array(1201))],
  ])("is closed for %s", async (_, data) => {
    const { session, socket } = await opened("media");
    socket.bring(data);
    expect(socket.closedWith).toBe(4000 + CloseCode.protocolError);
    await expect(session.openGroup(HEADER)).rejects.toThrow();
  });

  it("drops and counts malformed media, and goes on", async () => {
    const { socket, ears } = await opened("media");
    socket.bring(buffer(SocketChannel.group, new Uint8Array(32)));
    socket.bring(buffer(SocketChannel.frame, new Uint8Array(7)));
    socket.bring(buffer(SocketChannel.group, writeStreamHeader(HEADER)));
    socket.bring(buffer(SocketChannel.control, Uint8Array.of(9)));
    expect(ears.discarded).toEqual([
      "malformed stream",
      "malformed stream",
      "stream nobody asked for",
    ]);
    expect(ears.heard).toEqual(["message 9"]);
    expect(socket.closedWith).toBeUndefined();
  });

  it("tells how it ended", async () => {
    for (const [code, told] of [
      [4007, 7],
      [1001, 0],
      [1006, undefined],
    ] as const) {
      const { session, socket } = await opened("media");
      socket.end(code, "why");
      expect(await session.closed).toEqual({ code: told, message: "why" });
    }
  });

  it("gives up a late group whole, and goes on with the next", async () => {
    const { session, socket } = await opened("media");
    const link = {
      ready: true,
      datagramBytes: 1000,
      sendDatagram: () => undefined,
      openGroup: (header: StreamHeader) => session.openGroup(header),
    };
    const late = new GroupWriter(link, 1, HEADER);
    expect(late.push(Uint8Array.of(1))).toBe(true);
    await vi.advanceTimersByTimeAsync(20);
    expect(socket.channels).toEqual([1, 2]);
    // The way is full: nothing of it leaves, and sound only for as long as it is fresh.
    socket.bufferedAmount = 1 << 20;
    expect(late.push(Uint8Array.of(2))).toBe(true);
    expect(late.push(Uint8Array.of(3))).toBe(true);
    session.sendDatagram(Uint8Array.of(2, 0));
    await vi.advanceTimersByTimeAsync(400);
    expect(late.push(Uint8Array.of(4))).toBe(true);
    await vi.advanceTimersByTimeAsync(200);
    expect(late.push(Uint8Array.of(5))).toBe(false);
    late.abort();
    socket.bufferedAmount = 0;
    session.sendDatagram(Uint8Array.of(2, 1));
    const next = new GroupWriter(link, 2, { ...HEADER, group: 2 });
    expect(next.push(Uint8Array.of(6))).toBe(true);
    await vi.advanceTimersByTimeAsync(20);
    expect(socket.sent.slice(2).map((message) => [...message].slice(0, 3))).toEqual([
      [3, 2, 1],
      [1, 0x44, 0x41],
      [2, 6],
    ]);
  });
});

describe("dialling", () => {
  /** What WebTransport does in this test; undefined: the browser has none. */
  class NoTransport {
    ready = Promise.reject(new Error("no UDP"));
    closed = Promise.reject(new Error("no UDP"));
    close(): void {
      // It never was open.
    }
  }

  it("goes to the WebSocket at once where WebTransport fails or is not to be had", async () => {
    vi.stubGlobal("WebTransport", NoTransport);
    const plan = new CarrierChoice(true).plan(true, 0);
    if (plan === undefined) throw new Error("there is a way");
    const dialing = new Dialing(ENDPOINT, "media", plan, false);
    await vi.advanceTimersByTimeAsync(1);
    expect(FakeSocket.all.map((socket) => socket.url)).toEqual([ENDPOINT.websocketUrl]);
    FakeSocket.all[0]?.open();
    const { session, beaten } = await dialing.won;
    expect([session.carrier, beaten]).toEqual(["websocket", ["webtransport"]]);
    // And where it can't even be called.
    vi.stubGlobal("WebTransport", undefined);
    const again = new Dialing(ENDPOINT, "media", plan, false);
    expect(FakeSocket.all).toHaveLength(2);
    FakeSocket.all[1]?.open();
    expect((await again.won).session.carrier).toBe("websocket");
  });

  it("fails when neither can be opened, and closes what comes too late", async () => {
    vi.stubGlobal("WebTransport", NoTransport);
    const plan = new CarrierChoice(true).plan(true, 0);
    if (plan === undefined) throw new Error("there is a way");
    const dialing = new Dialing(ENDPOINT, "media", plan, false);
    await vi.advanceTimersByTimeAsync(1);
    FakeSocket.all[0]?.end(1006);
    await expect(dialing.won).rejects.toThrow("reached");
    const cancelled = new Dialing(ENDPOINT, "media", plan, false);
    await vi.advanceTimersByTimeAsync(1);
    cancelled.cancel();
    await expect(cancelled.won).rejects.toThrow("wanted");
    expect(FakeSocket.all[1]?.closedWith).toBe(4000);
  });
});
