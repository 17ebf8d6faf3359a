// The HTTP API as a page uses it. Answers are parsed from `unknown`; what is
// missing or of another type is an error here and nowhere later.
import type { Endpoint, HandlerEndpoint, MeetingAccess } from "./api";
import { handlerId, meetingCode } from "./ids";
import { webSocketUrl } from "./websocket-url";

/** The API answered with an error, or could not be reached (status 0). */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** As in the error form of the API: `MEETING_NOT_FOUND`, `RATE_LIMITED`, …; `UNREACHABLE` and `BAD_ANSWER` are made here. */
  readonly code: string;
  /** The HTTP status, 0 when there was no answer. */
  readonly status: number;
  /** Seconds to wait, with `RATE_LIMITED`. */
  readonly retryAfterS?: number;
  /** What the server adds to the code: a meeting not found may have "ended" or "expired". */
  readonly reason?: string;

  constructor(
    code: string,
    status: number,
    message: string,
    more: { readonly retryAfterS?: number; readonly reason?: string } = {},
  ) {
    super(message);
    this.code = code;
    this.status = status;
    if (more.retryAfterS !== undefined) this.retryAfterS = more.retryAfterS;
    if (more.reason !== undefined) this.reason = more.reason;
  }
}

export interface ApiOptions {
  /** Ends in `/api/v1`; by default that of the page's own origin. */
  readonly apiUrl?: string;
  readonly signal?: AbortSignal;
}

/** Of a new meeting; what is left out is as the server has it by default. */
export interface MeetingSettings {
  /** End-to-end, as by default; it can't be changed later. */
  readonly encrypted?: boolean;
  /** Of end-to-end encryption: 128-bit keys unless said otherwise. */
  readonly cipher?: "aes-128-gcm" | "aes-256-gcm";
}

export interface CreateOptions extends ApiOptions {
  readonly displayName?: string;
  readonly settings?: MeetingSettings;
}

/** A new meeting; the answer holds the host's join token and host token. */
export async function createMeeting(options: CreateOptions = {}): Promise<MeetingAccess> {
  const { encrypted, cipher } = options.settings ?? {};
  // Fields that are undefined don't travel.
  const settings =
    encrypted === undefined && cipher === undefined
      ? undefined
      : { enable_e2e_encryption: encrypted, sframe_cipher: cipher };
  const body = { display_name: options.displayName, settings };
  const access = parseAccess(await call("POST", "/meetings", options, { body }), options);
  if (encrypted === true && !access.encrypted) {
    throw new ApiError("BAD_ANSWER", 201, "the server made a meeting without encryption");
  }
  return access;
}

/** What a guest needs to join the meeting of this code. */
export async function getGuestAccess(
  code: string,
  options: ApiOptions = {},
): Promise<MeetingAccess> {
  const path = `/meetings/${encodeURIComponent(code)}/guest-token`;
  return parseAccess(await call("POST", path, options, { body: {} }), options);
}

/** A fresh join token with the role of the host. */
export async function getHostAccess(
  code: string,
  hostToken: string,
  options: ApiOptions = {},
): Promise<MeetingAccess> {
  const path = `/meetings/${encodeURIComponent(code)}`;
  return {
    ...parseAccess(await call("GET", path, options, { token: hostToken }), options),
    hostToken,
  };
}

async function call(
  method: "GET" | "POST",
  path: string,
  options: ApiOptions,
  request: { body?: object; token?: string },
): Promise<unknown> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (request.body !== undefined) headers["content-type"] = "application/json";
  if (request.token !== undefined) headers["authorization"] = `Bearer ${request.token}`;
  let response: Response;
  try {
    response = await fetch(`${options.apiUrl ?? "/api/v1"}${path}`, {
      method,
      headers,
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new ApiError("UNREACHABLE", 0, "the server cannot be reached");
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (!response.ok) throw errorOf(response, answer);
  return answer;
}

function errorOf(response: Response, answer: unknown): ApiError {
  const retry = Number(response.headers.get("retry-after") ?? Number.NaN);
  const error = isRecord(answer) && isRecord(answer["error"]) ? answer["error"] : {};
  const code = typeof error["code"] === "string" ? error["code"] : "BAD_ANSWER";
  const message =
    typeof error["message"] === "string"
      ? error["message"]
      : `the server answered with status ${response.status}`;
  const details = isRecord(error["details"]) ? error["details"] : {};
  return new ApiError(code, response.status, message, {
    ...(Number.isFinite(retry) ? { retryAfterS: retry } : {}),
    ...(typeof details["reason"] === "string" ? { reason: details["reason"] } : {}),
  });
}

/** @throws {ApiError} `BAD_ANSWER` when something that a join needs is missing */
export function parseAccess(answer: unknown, options: ApiOptions = {}): MeetingAccess {
  const origin = originOf(options);
  const fields = new Fields(answer);
  const controller = fields.record("meeting_controller");
  const handlers = fields.list("media_handlers").map((one): HandlerEndpoint => {
    const handler = new Fields(one);
    return { ...endpoint(handler, origin), handlerId: handlerId(handler.text("handler_id")) };
  });
  const hostToken = fields.optionalText("host_token");
  return {
    meetingId: fields.text("meeting_id"),
    code: meetingCode(fields.text("meeting_code")),
    url: fields.text("meeting_url"),
    displayName: fields.optionalText("display_name") ?? "",
    joinToken: fields.text("join_token"),
    expiresAt: fields.date("expires_at"),
    ...(hostToken === undefined ? {} : { hostToken }),
    maxParticipants: fields.count("max_participants"),
    participantCount: fields.count("participant_count"),
    encrypted: fields.optionalRecord("settings")?.flag("enable_e2e_encryption") ?? false,
    origin,
    controller: endpoint(controller, origin),
    handlers,
  };
}

/** Of the API as the page reaches it. */
function originOf(options: ApiOptions): string {
  // Outside of a page there is no location, and an address must be whole.
  const page = (globalThis as { location?: { href: string } }).location?.href;
  try {
    return new URL(options.apiUrl ?? "/", page).origin;
  } catch {
    return "";
  }
}

function endpoint(fields: Fields, origin: string): Endpoint {
  return {
    url: fields.text("url"),
    websocketUrl: webSocketUrl(fields.optionalText("websocket_url") ?? "", origin),
    certificateHashes: fields.list("certificate_hashes").map((hash) => {
      if (typeof hash !== "string") throw bad("certificate_hashes");
      return bytesOfBase64(hash);
    }),
  };
}

function bytesOfBase64(text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw bad("certificate_hashes");
  }
}

/** Reads named fields of an object that came from outside. */
class Fields {
  readonly #record: Record<string, unknown>;

  constructor(value: unknown) {
    if (!isRecord(value)) throw new ApiError("BAD_ANSWER", 200, "the answer is not an object");
    this.#record = value;
  }

  text(name: string): string {
    const value = this.#record[name];
    if (typeof value !== "string" || value === "") throw bad(name);
    return value;
  }

  optionalText(name: string): string | undefined {
    const value = this.#record[name];
    return typeof value === "string" ? value : undefined;
  }

  count(name: string): number {
    const value = this.#record[name];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw bad(name);
    return value;
  }

  date(name: string): Date {
    const date = new Date(this.text(name));
    if (Number.isNaN(date.getTime())) throw bad(name);
    return date;
  }

  list(name: string): readonly unknown[] {
    const value = this.#record[name];
    if (!Array.isArray(value)) throw bad(name);
    return value;
  }

  record(name: string): Fields {
    return new Fields(this.#record[name]);
  }

  optionalRecord(name: string): Fields | undefined {
    return isRecord(this.#record[name]) ? this.record(name) : undefined;
  }

  /** False when it is not there. */
  flag(name: string): boolean {
    return this.#record[name] === true;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(field: string): ApiError {
  return new ApiError("BAD_ANSWER", 200, `the server's answer lacks a valid "${field}"`);
}
