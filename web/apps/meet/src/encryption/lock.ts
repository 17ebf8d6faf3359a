// What the lock says. Pure: it follows from what the SDK tells, and from nothing
// that the server merely claims.
import type { EncryptionState } from "@darktower/media";

export type LockState = "end-to-end" | "alarm" | "waiting" | "transport";

/** `flagged`: how many known people come with a key that is not known. */
export function lockOf(state: EncryptionState, flagged: number): LockState {
  if (state.kind !== "end-to-end") return state.kind;
  return state.view.alarms.length > 0 || flagged > 0 ? "alarm" : "end-to-end";
}
