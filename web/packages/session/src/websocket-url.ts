// Where the WebSocket of a session is: servers name it by a whole URL, or by a
// path on the origin by which the client reached the API.

/** Null when it is no address that a browser may dial, or there is none. */
export function webSocketUrl(text: string, origin: string): string | null {
  if (text === "") return null;
  const isPath = text.startsWith("/");
  let url: URL;
  try {
    url = new URL(text, isPath ? origin : undefined);
    // A "path" of another host would be one by which a server sends us anywhere.
    if (isPath && url.origin !== new URL(origin).origin) return null;
  } catch {
    return null;
  }
  if (isPath && url.protocol === "https:") url.protocol = "wss:";
  if (isPath && url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol !== "wss:" && url.protocol !== "ws:") return null;
  url.hash = "";
  return url.href;
}
