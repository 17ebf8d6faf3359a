import { describe, expect, it, vi } from "vitest";
import {
  ApiError,
  AssignmentMap,
  Backoff,
  Liveness,
  createMeeting,
  getGuestAccess,
  participantId,
  streamId,
  type Assignment,
  type CreateOptions,
} from "../src";
import { parseAccess } from "../src/http";

const assignment = (slot: number, stream: string): Assignment => ({
  slot,
  streamId: streamId(stream),
  participantId: participantId("p"),
  userId: 1n,
  kind: "microphone",
  carrier: "datagram",
  codec: "opus",
});

describe("assignments", () => {
  it("keep the previous generation's map", () => {
    const map = new AssignmentMap<string>();
    map.apply(1, [assignment(1, "old")], 0);
    map.apply(2, [assignment(1, "new")], 0);
    expect(map.resolve(1, 1, "d", 0)).toMatchObject({ assignment: { streamId: "old" } });
    expect(map.resolve(2, 1, "d", 0)).toMatchObject({ assignment: { streamId: "new" } });
    map.apply(3, [], 0);
    expect(map.resolve(1, 1, "d", 0)).toEqual({ type: "unknown" });
  });

  it("hold datagrams of a newer generation for 200 ms and no longer", () => {
    const map = new AssignmentMap<string>();
    map.apply(255, [], 0);
    expect(map.resolve(0, 5, "early", 0)).toEqual({ type: "held" });
    expect(map.resolve(0, 5, "later", 100)).toEqual({ type: "held" });
    expect(map.apply(256, [assignment(5, "s")], 250)).toEqual(["later"]);
  });

  it("ignore an older map and hold a bounded number", () => {
    const map = new AssignmentMap<number>();
    map.apply(5, [assignment(1, "s")], 0);
    expect(map.apply(4, [], 0)).toEqual([]);
    expect(map.resolve(5, 1, 0, 0).type).toBe("assigned");
    for (let i = 0; i < 1000; i++) map.resolve(6, 1, i, 0);
    const ready = map.apply(6, [assignment(1, "s")], 0);
    expect(ready).toHaveLength(256);
    expect(ready.at(-1)).toBe(999);
  });
});

describe("liveness", () => {
  it("measures round trips and declares death after 2.5 s", () => {
    const live = new Liveness(0);
    const probe = live.poll(0);
    if (probe.type !== "send") throw new Error("a probe was expected");
    expect(live.poll(0)).toEqual({ type: "wait", until: 1000 });
    live.handleEcho(probe.packet, 40);
    expect(live.rttMs).toBe(40);
    live.handleEcho(probe.packet, 900);
    expect(live.rttMs).toBe(40);
    expect(live.poll(2539).type).toBe("send");
    expect(live.poll(2540).type).toBe("dead");
  });

  it("tells by how much answers come later than on an idle way", () => {
    const live = new Liveness(0);
    const probe = (now: number): Uint8Array => {
      const sent = live.poll(now);
      if (sent.type !== "send") throw new Error("a probe was expected");
      return sent.packet;
    };
    const first = probe(0);
    expect(live.delayMs(500)).toBe(0);
    live.handleEcho(first, 40);
    expect(live.delayMs(900)).toBe(0);
    const second = probe(1000);
    // The answer that is awaited says as much as the one that came.
    expect(live.delayMs(1030)).toBe(0);
    expect(live.delayMs(1440)).toBe(400);
    live.handleEcho(second, 1500);
    expect(live.delayMs(1600)).toBe(460);
    const lost = probe(2000);
    live.heard(2900);
    const third = probe(3000);
    live.handleEcho(third, 3040);
    // Answers come in order: what was not answered before it never is.
    expect(live.delayMs(3900)).toBe(0);
    live.handleEcho(lost, 3950);
    expect(live.rttMs).toBe(40);
  });

  it("ignores echoes of packets that it never sent", () => {
    const live = new Liveness(0);
    live.handleEcho(Uint8Array.of(3, 0, 0, 0, 9), 5);
    live.handleEcho(Uint8Array.of(3), 5);
    expect(live.rttMs).toBeNull();
  });
});

describe("backoff", () => {
  it("starts soon, doubles, stays below its cap, and is never nothing", () => {
    const backoff = new Backoff(() => 1);
    const waits = Array.from({ length: 8 }, () => backoff.next());
    expect(waits).toEqual([100, 250, 500, 1000, 2000, 4000, 5000, 5000]);
    const low = new Backoff(() => 0);
    low.next();
    expect(low.next()).toBe(125);
    backoff.reset();
    expect(backoff.next()).toBe(100);
  });
});

const ANSWER = {
  meeting_id: "991f2eac-5959-4d1c-9131-a26601937b10",
  meeting_code: "kjee5-s2ap3-vtk2g",
  meeting_url: "http://127.0.0.1/m/kjee5-s2ap3-vtk2g",
  display_name: "",
  max_participants: 100,
  participant_count: 0,
  join_token: "a.b.c",
  expires_at: "2026-11-21T05:25:01Z",
  meeting_controller: {
    url: "https://127.0.0.1:1/mc",
    websocket_url: null,
    certificate_hashes: ["AQI="],
  },
  media_handlers: [
    {
      handler_id: "h",
      url: "https://127.0.0.1:1/mh/0",
      websocket_url: null,
      certificate_hashes: [],
    },
  ],
};

describe("the HTTP API", () => {
  it("gives access to a meeting", () => {
    const access = parseAccess(ANSWER);
    expect(access.encrypted).toBe(false);
    const settings = { enable_e2e_encryption: true };
    expect(parseAccess({ ...ANSWER, settings }).encrypted).toBe(true);
    expect(access.controller.certificateHashes).toEqual([Uint8Array.of(1, 2)]);
    expect(access.handlers[0]?.handlerId).toBe("h");
    expect(access.expiresAt.toISOString()).toBe("2026-11-21T05:25:01.000Z");
    expect(access.hostToken).toBeUndefined();
  });

  it.each(Object.keys(ANSWER).filter((key) => key !== "display_name"))(
    "does without no %s",
    (key) => {
      const lacking: Record<string, unknown> = { ...ANSWER };
      lacking[key] = undefined;
      expect(() => parseAccess(lacking)).toThrow(ApiError);
    },
  );

  it.each([null, 5, "x", [], { meeting_controller: 1 }])("refuses %j as an answer", (answer) => {
    expect(() => parseAccess(answer)).toThrow(ApiError);
  });

  describe("asked for a new meeting", () => {
    const asked = async (options: CreateOptions, answer: object = ANSWER): Promise<unknown> => {
      const fetched = vi.fn((_url: string, _init: RequestInit) =>
        Promise.resolve(new Response(JSON.stringify(answer), { status: 201 })),
      );
      vi.stubGlobal("fetch", fetched);
      try {
        await createMeeting(options);
      } finally {
        vi.unstubAllGlobals();
      }
      const body = fetched.mock.calls[0]?.[1].body;
      return typeof body === "string" ? JSON.parse(body) : undefined;
    };

    it("leaves to the server what is not said", async () => {
      expect(await asked({})).toEqual({});
      expect(await asked({ displayName: "Tea", settings: {} })).toEqual({ display_name: "Tea" });
    });

    it("says whether and how it is to be encrypted", async () => {
      const plain = { settings: { encrypted: false } };
      expect(await asked(plain)).toEqual({ settings: { enable_e2e_encryption: false } });
      const settings = { enable_e2e_encryption: true };
      const answer = { ...ANSWER, settings };
      const strong = { settings: { encrypted: true, cipher: "aes-256-gcm" } } as const;
      expect(await asked(strong, answer)).toEqual({
        settings: { ...settings, sframe_cipher: "aes-256-gcm" },
      });
    });

    it("takes no meeting without encryption where one with it was asked for", async () => {
      const wanted = asked({ settings: { encrypted: true } });
      await expect(wanted).rejects.toMatchObject({ code: "BAD_ANSWER" });
    });
  });

  it("tells the error's code, and how long to wait", async () => {
    const body = JSON.stringify({
      error: { code: "RATE_LIMITED", message: "slow down", details: {} },
    });
    vi.stubGlobal("fetch", () =>
      Promise.resolve(new Response(body, { status: 429, headers: { "retry-after": "7" } })),
    );
    await expect(getGuestAccess("x")).rejects.toMatchObject({
      code: "RATE_LIMITED",
      status: 429,
      retryAfterS: 7,
      message: "slow down",
    });
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("no network")));
    await expect(createMeeting()).rejects.toMatchObject({ code: "UNREACHABLE", status: 0 });
    vi.stubGlobal("fetch", () => Promise.resolve(new Response("<html>", { status: 502 })));
    await expect(createMeeting()).rejects.toMatchObject({ code: "BAD_ANSWER", status: 502 });
    vi.unstubAllGlobals();
  });
});
