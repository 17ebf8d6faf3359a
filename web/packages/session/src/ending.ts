// What an end of a session or a refusal means: try again, or over.
import { ErrorCode } from "@darktower/protocol";
import type { EndReason, JoinFailure } from "./api";

/** The application's close codes of sessions. */
export const CloseCode = {
  graceful: 0,
  protocolError: 1,
  authenticationFailed: 2,
  quotaExceeded: 3,
  internalError: 4,
  replaced: 5,
  removed: 6,
  meetingEnded: 7,
  shuttingDown: 8,
} as const;

export type Verdict =
  | { readonly type: "retry"; readonly afterMs: number }
  | { readonly type: "over"; readonly reason: EndReason; readonly failure: JoinFailure };

const RETRY: Verdict = { type: "retry", afterMs: 0 };

/** `code` is undefined when the session broke rather than was closed. */
export function verdictOfClose(code: number | undefined): Verdict {
  switch (code) {
    case CloseCode.protocolError:
      return over("failed", "failed");
    case CloseCode.authenticationFailed:
      return over("failed", "unauthorized");
    case CloseCode.replaced:
      return over("replaced", "failed");
    case CloseCode.removed:
      return over("removed", "unauthorized");
    case CloseCode.meetingEnded:
      return over("meeting-ended", "ended");
    default:
      return RETRY;
  }
}

/** The server refused a seat. */
export function verdictOfRefusal(code: ErrorCode, retryAfterMs: number): Verdict {
  switch (code) {
    case ErrorCode.UNAUTHORIZED:
      return over("lost", "unauthorized");
    case ErrorCode.FORBIDDEN:
      return over("removed", "unauthorized");
    case ErrorCode.NOT_FOUND:
      return over("meeting-ended", "not-found");
    case ErrorCode.CAPACITY_EXCEEDED:
      return over("lost", "full");
    case ErrorCode.INVALID_REQUEST:
    case ErrorCode.CONFLICT:
    case ErrorCode.STREAM_ERROR:
      return over("failed", "failed");
    case ErrorCode.RATE_LIMITED:
    case ErrorCode.MIGRATING:
    case ErrorCode.INTERNAL_ERROR:
    case ErrorCode.UNKNOWN:
      return { type: "retry", afterMs: retryAfterMs };
    default:
      // A code of a later version.
      return RETRY;
  }
}

function over(reason: EndReason, failure: JoinFailure): Verdict {
  return { type: "over", reason, failure };
}
