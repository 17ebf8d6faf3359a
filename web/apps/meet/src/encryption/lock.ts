// What the lock says, and what is proved of a person. Pure: it follows from what
// the SDK tells, and from nothing that the server merely claims.
import type { EncryptionState, KeyHolder } from "@darktower/media";
import { texts } from "../texts";

export type LockState = "end-to-end" | "alarm" | "waiting" | "transport";

/** `flagged`: how many known people come with a key that is not known. */
export function lockOf(state: EncryptionState, flagged: number): LockState {
  if (state.kind !== "end-to-end") return state.kind;
  return state.view.alarms.length > 0 || flagged > 0 ? "alarm" : "end-to-end";
}

/** In words, how far it is proved who somebody is. */
export function standingOf({ account, deviceThumbprint }: KeyHolder): string {
  const t = texts.encryption;
  if (account !== null) return t.verified(account.name);
  return deviceThumbprint === "" ? t.unproved : t.guest;
}

/** Who holds the keys as whom; who is not the only one to claim a seat is nobody. */
export function byParticipant(holders: readonly KeyHolder[]): ReadonlyMap<string, KeyHolder> {
  const found = new Map<string, KeyHolder>();
  const doubled = new Set<string>();
  for (const holder of holders) {
    if (found.has(holder.participantId)) doubled.add(holder.participantId);
    found.set(holder.participantId, holder);
  }
  for (const id of doubled) found.delete(id);
  return found;
}
