// End-to-end encryption as signaling sees it: what a join offers, and requests of
// MLS with what became of them. Keys and the rules of the group are elsewhere.
import { create } from "@bufbuild/protobuf";
import { E2eeOfferSchema, ErrorCode, type E2eeOffer, type ErrorMessage } from "@darktower/protocol";
import type { AnswerOutcome } from "@darktower/crypto";

/** The only version there is. */
const OFFER_VERSION = 1;

export interface Position {
  readonly group: number;
  readonly epoch: bigint;
}

/** What this client can do of end-to-end encryption. */
export type EncryptionAbility =
  | { readonly able: false }
  /** `position`: the group in memory, when a seat is taken back. */
  | { readonly able: true; readonly position: Position | undefined };

/** Undefined: nothing is offered, and encrypted meetings refuse this client. */
export function offerOf(ability: EncryptionAbility, resuming: boolean): E2eeOffer | undefined {
  if (!ability.able) return undefined;
  const { position } = ability;
  return create(E2eeOfferSchema, {
    version: OFFER_VERSION,
    ...(resuming && position !== undefined ? { position } : {}),
  });
}

/** What a refusal of a request of MLS means. */
export function outcomeOfError(error: ErrorMessage): AnswerOutcome {
  const { message } = error;
  return error.code === ErrorCode.CONFLICT
    ? { type: "conflict", message }
    : { type: "error", message };
}
