import { create } from "@bufbuild/protobuf";
import { MediaServerInfoSchema } from "@darktower/protocol";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parseAccess } from "../src/http";
import { readMediaServer } from "../src/read";
import { webSocketUrl } from "../src/websocket-url";

describe("where a WebSocket is", () => {
  it.each([
    ["/ws", "https://meet.example", "wss://meet.example/ws"],
    ["/media/1", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/media/1"],
    ["/ws?a=b#c", "https://meet.example", "wss://meet.example/ws?a=b"],
    ["wss://media.example/media", "https://meet.example", "wss://media.example/media"],
    ["ws://127.0.0.1:9/media", "https://meet.example", "ws://127.0.0.1:9/media"],
    ["", "https://meet.example", null],
    ["//evil.example/ws", "https://meet.example", null],
    ["/\\evil.example/ws", "https://meet.example", null],
    ["ws", "https://meet.example", null],
    ["https://meet.example/ws", "https://meet.example", null],
    ["javascript:alert(1)", "https://meet.example", null],
    ["/ws", "", null],
    ["wss://", "https://meet.example", null],
  ])("%j on %j", (text, origin, url) => {
    expect(webSocketUrl(text, origin)).toBe(url);
  });

  it("is said by signaling as a path on the API's origin, or whole", () => {
    const info = (websocketUrl: string) =>
      readMediaServer(
        create(MediaServerInfoSchema, { mediaHandlerUrl: "https://h:1/mh/0", websocketUrl }),
        "https://meet.example",
      )?.endpoint.websocketUrl;
    expect(info("/media/0")).toBe("wss://meet.example/media/0");
    expect(info("wss://h/media")).toBe("wss://h/media");
    expect(info("")).toBeNull();
    expect(info("http://h")).toBeNull();
  });

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("is said by the API as a path or whole, and what is neither is none", () => {
    vi.stubGlobal("location", { href: "https://meet.example/m/x" });
    const answer = (websocket_url: unknown) => ({
      meeting_id: "m",
      meeting_code: "c",
      meeting_url: "https://meet.example/m/c",
      max_participants: 1,
      participant_count: 0,
      join_token: "t",
      expires_at: "2026-11-21T05:25:01Z",
      meeting_controller: {
        url: "https://meet.example:1/mc",
        websocket_url,
        certificate_hashes: [],
      },
      media_handlers: [],
    });
    const url = (websocket: unknown, apiUrl?: string) =>
      parseAccess(answer(websocket), apiUrl === undefined ? {} : { apiUrl }).controller
        .websocketUrl;
    expect(url("/ws")).toBe("wss://meet.example/ws");
    expect(url("/ws", "http://127.0.0.1:8/api/v1")).toBe("ws://127.0.0.1:8/ws");
    expect(url("/ws", "/api/v1")).toBe("wss://meet.example/ws");
    expect(url("wss://other.example/ws")).toBe("wss://other.example/ws");
    for (const none of [null, undefined, 5, "", "ftp://x"]) expect(url(none)).toBeNull();
    expect(parseAccess(answer(null)).origin).toBe("https://meet.example");
  });
});
