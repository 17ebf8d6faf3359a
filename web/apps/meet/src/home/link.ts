// Reads what a person pastes into the join field: a link to a meeting, here or
// on another server, or its code. Pure; the server has the last word on whether
// the meeting exists.

/** Crockford's base 32 in lower case, as meeting codes are written. */
const CODE_DIGITS = /^[0-9a-hjkmnp-tv-z]{15}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MEETING_PATH = /^\/m\/([^/]+)\/?$/;

/** Where an invitation leads. */
export type Invitation =
  /** A meeting of this server, by code or id. */
  | { readonly kind: "here"; readonly key: string }
  /** A meeting of another server: the whole address, always http(s). */
  | { readonly kind: "elsewhere"; readonly url: string };

/** A meeting code in the form `abcde-fghjk-mnpqr`, or `null` if `text` is none. */
export function readCode(text: string): string | null {
  const digits = text
    .toLowerCase()
    .replace(/[\s\u2010-\u2015-]/g, "")
    // What people write for digits that look alike.
    .replace(/o/g, "0")
    .replace(/[il]/g, "1");
  if (!CODE_DIGITS.test(digits)) return null;
  return `${digits.slice(0, 5)}-${digits.slice(5, 10)}-${digits.slice(10)}`;
}

/** A meeting's code or UUID, or `null`. */
export function readKey(text: string): string | null {
  const trimmed = text.trim().toLowerCase();
  return UUID.test(trimmed) ? trimmed : readCode(trimmed);
}

/**
 * What a pasted text invites to, or `null` when it is neither link nor code.
 * `origin` is this page's own.
 */
export function readInvitation(text: string, origin: string): Invitation | null {
  const trimmed = text.trim();
  const key = readKey(trimmed);
  if (key !== null) return { kind: "here", key };
  const url = readUrl(trimmed, origin);
  if (url === null) return null;
  const path = MEETING_PATH.exec(url.pathname)?.[1];
  if (path === undefined) return null;
  const linked = readKey(safeDecode(path));
  if (linked === null) return null;
  return url.origin === origin
    ? { kind: "here", key: linked }
    : { kind: "elsewhere", url: url.href };
}

/** The key in this page's own path, or `null` when the path is not a meeting's. */
export function keyOfPath(pathname: string): string | null {
  const path = MEETING_PATH.exec(pathname)?.[1];
  return path === undefined ? null : safeDecode(path);
}

function readUrl(text: string, origin: string): URL | null {
  // Another scheme than http(s); a host with a port (`host:8443/m/…`) is none.
  if (/^[a-z][a-z0-9+.-]*:(?!\d)/i.test(text) && !/^https?:\/\//i.test(text)) return null;
  // "meet.example.org/m/…" without a scheme is how links are often copied.
  const whole = /^https?:\/\//i.test(text)
    ? text
    : text.startsWith("/")
      ? origin + text
      : `https://${text}`;
  try {
    return new URL(whole);
  } catch {
    return null;
  }
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
