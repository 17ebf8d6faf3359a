// Why somebody is not in the meeting (any more), and what one thing they can do
// about it. Pure: maps the SDK's and the API's errors to the app's endings.
import { ApiError, JoinError, type EndReason, type JoinFailure } from "@darktower/session";

export type Ending =
  | EndReason
  | JoinFailure
  /** The page came over plain http from another machine: browsers then hand out nothing. */
  | "insecure";

/** The one action that an ending offers first. */
export type Remedy = "rejoin" | "try-again" | "new-meeting" | "copy-link" | "use-here" | "home";

export function remedyOf(ending: Ending): Remedy {
  switch (ending) {
    case "left":
    case "lost":
      return "rejoin";
    case "full":
    case "unauthorized":
    case "unreachable":
    case "rate-limited":
    case "failed":
    case "not-encrypted":
      return "try-again";
    case "ended":
    case "meeting-ended":
      return "new-meeting";
    case "replaced":
      return "use-here";
    case "unsupported":
    case "encryption-unsupported":
    case "insecure":
      return "copy-link";
    case "removed":
    case "not-found":
      return "home";
  }
}

/** The ending that a failed request or join comes to. */
export function endingOf(error: unknown): Ending {
  if (error instanceof JoinError) return error.reason;
  if (!(error instanceof ApiError)) return "failed";
  switch (error.code) {
    case "MEETING_NOT_FOUND":
      // An expired link leads to what can't be joined any more, as an ended one does.
      return error.reason === "ended" || error.reason === "expired" ? "ended" : "not-found";
    case "NOT_FOUND":
    case "INVALID_REQUEST":
      return "not-found";
    case "CAPACITY_EXCEEDED":
      return "full";
    case "CONFLICT":
      return "ended";
    case "UNAUTHORIZED":
    case "FORBIDDEN":
      return "unauthorized";
    case "RATE_LIMITED":
      return "rate-limited";
    case "UNREACHABLE":
    case "UNAVAILABLE":
      return "unreachable";
    default:
      // A proxy in front of a server that is down answers in its own words.
      return error.status >= 502 && error.status <= 504 ? "unreachable" : "failed";
  }
}
