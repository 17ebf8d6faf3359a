// A seat's two handlers over pretended WebSockets: which is dialled, asked and
// waited for, and that neither notices what happens to the other.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  MediaClientMessageSchema,
  MediaServerMessageSchema,
  SocketChannel,
  RTT_TAG,
  splitChannel,
  writeOnChannel,
} from "@darktower/protocol";
import { handlerId, streamId, type HandlerId, type MediaServer } from "@darktower/session";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CarrierChoice } from "../src/rules/carrier-choice";
import { Handlers } from "../src/worker/handlers";
import { FakeSocket } from "./fake-socket";

const [HOME, SPARE, OTHER] = ["home", "spare", "other"].map(handlerId) as [
  HandlerId,
  HandlerId,
  HandlerId,
];
const CAMERA = streamId("550e8400-e29b-41d4-a716-446655440000");

class HandlerSocket extends FakeSocket {
  static readonly dialled: HandlerSocket[] = [];

  constructor(url: string) {
    super(url);
    HandlerSocket.dialled.push(this);
  }

  die(): void {
    this.end(1006);
  }

  say(body: Parameters<typeof create<typeof MediaServerMessageSchema>>[1]): void {
    const message = toBinary(MediaServerMessageSchema, create(MediaServerMessageSchema, body));
    this.bring(writeOnChannel(SocketChannel.control, message).buffer);
  }

  welcome(): void {
    this.say({ version: 1, body: { case: "welcome", value: { maxDatagramBytes: 1100 } } });
  }

  /** What was said to the handler, RTT packets left out. */
  get said(): string[] {
    const messages = this.sent.map((message) => splitChannel(message).body);
    return messages.flatMap((body) => {
      if (body[0] === RTT_TAG) return [];
      const { body: said } = fromBinary(MediaClientMessageSchema, body);
      if (said.case === "hello") return [`hello ${said.value.connectionToken}`];
      return said.case === undefined ? [] : [said.case];
    });
  }
}

const server = (id: HandlerId, token = "1"): MediaServer => ({
  endpoint: {
    handlerId: id,
    url: `https://127.0.0.1:1/${id}`,
    websocketUrl: `ws://127.0.0.1:2/${id}`,
    certificateHashes: [],
  },
  token: `${id}-${token}`,
});

/** Handlers, and what is told of them. */
function seat(): { handlers: Handlers; told: string[] } {
  const told: string[] = [];
  const nothing = (): undefined => undefined;
  const handlers: Handlers = new Handlers(new CarrierChoice(false), {
    ready: ({ id }) => told.push(`ready ${id}`),
    lost: (link) => {
      handlers.lost(link);
      told.push(`lost ${link.id}`);
    },
    needToken: (id) => told.push(`token ${id}`),
    group: nothing,
    datagram: nothing,
    keyframe: nothing,
    arrival: (link, arrival) => {
      handlers.arrived(link, arrival);
    },
    discard: nothing,
  });
  return { handlers, told };
}

const socketOf = (id: HandlerId): HandlerSocket =>
  HandlerSocket.dialled.findLast(({ url }) => url.endsWith(id)) ??
  expect.fail(`${id} was not dialled`);

async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(1);
}

async function connected(id: HandlerId): Promise<HandlerSocket> {
  const socket = socketOf(id);
  socket.open();
  await settle();
  socket.welcome();
  await settle();
  return socket;
}

beforeEach(() => {
  vi.useFakeTimers();
  HandlerSocket.dialled.length = 0;
  vi.stubGlobal("WebSocket", HandlerSocket);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("two handlers", () => {
  it("are dialled at once, the home first, and the home waits for nobody", async () => {
    const { handlers, told } = seat();
    handlers.warm([server(HOME).endpoint, server(SPARE).endpoint, server(OTHER).endpoint]);
    expect(HandlerSocket.dialled.map(({ url }) => url.split("/").at(-1))).toEqual([HOME, SPARE]);
    handlers.seat([server(HOME), server(SPARE)]);
    await connected(HOME);
    expect(told).toEqual([`ready ${HOME}`]);
    expect(handlers.home?.ready).toBe(true);
    expect(socketOf(HOME).said).toEqual([`hello ${HOME}-1`]);
    await connected(SPARE);
    expect(told).toEqual([`ready ${HOME}`, `ready ${SPARE}`]);
    expect(HandlerSocket.dialled).toHaveLength(2);
  });

  it("come back each by itself, with a token of its own", async () => {
    const { handlers, told } = seat();
    handlers.seat([server(HOME), server(SPARE)]);
    await connected(HOME);
    await connected(SPARE);
    told.length = 0;
    socketOf(HOME).die();
    await vi.advanceTimersByTimeAsync(2000);
    expect(told).toContain(`lost ${HOME}`);
    expect(told.filter((one) => one === `token ${HOME}`).length).toBeGreaterThan(0);
    expect(told.join()).not.toContain(SPARE);
    handlers.renew(server(HOME, "2"));
    await connected(HOME);
    expect(told.at(-1)).toBe(`ready ${HOME}`);
    expect(socketOf(HOME).said[0]).toBe(`hello ${HOME}-2`);
    expect(HandlerSocket.dialled.filter(({ url }) => url.endsWith(SPARE))).toHaveLength(1);
  });

  it("that a seat does not have are left, and a token for them is of no use", async () => {
    const { handlers } = seat();
    handlers.warm([server(OTHER).endpoint, server(SPARE).endpoint]);
    handlers.seat([server(HOME), server(SPARE)]);
    await settle();
    expect(handlers.all.map(({ id }) => id)).toEqual([HOME, SPARE]);
    socketOf(OTHER).open();
    await settle();
    expect(socketOf(OTHER).closedWith).toBeDefined();
    handlers.renew(server(OTHER));
    expect(handlers.all).toHaveLength(2);
  });

  it("are assigned and removed while the meeting goes on", async () => {
    const { handlers, told } = seat();
    handlers.seat([server(HOME)]);
    await connected(HOME);
    handlers.assign(server(SPARE));
    await connected(SPARE);
    expect(handlers.home?.id).toBe(HOME);
    handlers.remove(HOME);
    await settle();
    expect(handlers.home?.id).toBe(SPARE);
    expect(socketOf(HOME).closedWith).toBeDefined();
    const dialled = HandlerSocket.dialled.length;
    await vi.advanceTimersByTimeAsync(2000);
    expect(HandlerSocket.dialled).toHaveLength(dialled);
    expect(told.filter((one) => one.startsWith("token"))).toEqual([]);
  });
});

describe("the home", () => {
  it("is another one when pictures are wanted elsewhere, and all sessions go on", async () => {
    const { handlers } = seat();
    handlers.seat([server(HOME), server(SPARE)]);
    await connected(HOME);
    await connected(SPARE);
    handlers.setHome(SPARE);
    handlers.setHome(OTHER);
    expect(handlers.all.map(({ id, ready }) => [id, ready])).toEqual([
      [SPARE, true],
      [HOME, true],
    ]);
  });
});

describe("a key frame", () => {
  it("is asked of the handler that the picture comes from, else of the home", async () => {
    const { handlers } = seat();
    handlers.seat([server(HOME), server(SPARE)]);
    const home = await connected(HOME);
    const spare = await connected(SPARE);
    const asked = (): number[] =>
      [home, spare].map(({ said }) => said.filter((one) => one === "requestKeyframe").length);
    handlers.requestKeyframe(CAMERA, 0);
    expect(asked()).toEqual([1, 0]);
    handlers.came(SPARE, CAMERA);
    handlers.requestKeyframe(CAMERA, 0);
    expect(asked()).toEqual([1, 1]);
    spare.die();
    await settle();
    handlers.requestKeyframe(CAMERA, 0);
    expect(asked()).toEqual([2, 1]);
  });
});

describe("how sound arrives", () => {
  it("is forgotten of a handler whose session is gone", async () => {
    const { handlers } = seat();
    handlers.seat([server(HOME), server(SPARE)]);
    await connected(HOME);
    const spare = await connected(SPARE);
    const value = { lostPpm: 30_000, repeatAudio: true };
    spare.say({ version: 1, body: { case: "senderReport", value } });
    expect([...handlers.arrivals.values()]).toMatchObject([value]);
    spare.die();
    await settle();
    expect(handlers.arrivals.size).toBe(0);
  });
});
