// What the media worker and the crypto worker say to each other over the port
// that the page made between them, and what the page says to the crypto worker.
// Messages of MLS travel as their protobuf objects (plain data). Base keys of
// epochs travel from the crypto worker to the media worker and nowhere else.
import type { E2eeEntry, GroupPosition, Mls } from "@darktower/protocol";
import type { EpochKeys, Suite } from "./sframe";

/** An account that vouches for a device key, as its statement says. */
export interface Account {
  readonly issuer: string;
  readonly subject: string;
  readonly name: string;
}

/** Somebody who holds the keys. */
export interface KeyHolder {
  readonly leaf: number;
  readonly participantId: string;
  /** As the credential says, not the roster. */
  readonly name: string;
  readonly self: boolean;
  /** Null: a guest, or the statement is not checked yet: nobody vouches for them. */
  readonly account: Account | null;
  /**
   * SHA-256 of the device key, base64url: the same device has the same. Empty
   * when the credential can't be read.
   */
  readonly deviceThumbprint: string;
  /**
   * 45 digits in groups of five, for these two devices; empty for oneself, and
   * where there is no thumbprint.
   */
  readonly pairCode: string;
}

export type Alarm =
  /** In the group and not on the roster. */
  | { readonly kind: "stranger"; readonly name: string; readonly leaf: number }
  /** Two in the group say they are the same participant. */
  | { readonly kind: "double"; readonly name: string; readonly participantId: string }
  /** The credential is not what it should be; `name` is only what it claims. */
  | { readonly kind: "untrustworthy"; readonly name: string; readonly leaf: number }
  /** Removed from the meeting and after two seconds still in the group. */
  | { readonly kind: "stays"; readonly name: string; readonly leaf: number };

/** What people are shown; a whole truth each time. */
export interface GroupView {
  readonly position: { readonly group: number; readonly epoch: bigint };
  /** 30 digits in groups of five, the same for all members of the epoch. */
  readonly meetingCode: string;
  readonly holders: readonly KeyHolder[];
  readonly alarms: readonly Alarm[];
}

export type AnswerOutcome =
  | { readonly type: "ack" }
  /** Overtaken: an entry or the commit that won follows. */
  | { readonly type: "conflict"; readonly message: string }
  | { readonly type: "error"; readonly message: string }
  /** The session went away before an answer came. */
  | { readonly type: "lost" };

/** From the page, as the worker's own message. */
export interface StartCrypto {
  readonly type: "start";
  /** Towards the media worker. */
  readonly port: MessagePort;
  /** Where `/.well-known/jwks.json` of the accounts is: the API's origin. */
  readonly origin: string;
}

/** From the media worker. */
export type ToCrypto =
  /** Compile, fetch the device key: ahead of the join. */
  | { readonly type: "warm" }
  /**
   * What the auth controller says of this device, for the `seated` that come
   * after it; empty for a guest.
   */
  | { readonly type: "statement"; readonly statement: string }
  /** A JoinResponse: a new session is there, with the way into the group. */
  | {
      readonly type: "seated";
      readonly meetingId: string;
      readonly participantId: string;
      readonly name: string;
      readonly entry: E2eeEntry;
      /** Everybody on the roster, this participant included. */
      readonly participantIds: readonly string[];
    }
  | { readonly type: "entry"; readonly entry: E2eeEntry }
  | { readonly type: "mls"; readonly mls: Mls }
  /** To the `send` of this id. */
  | { readonly type: "answer"; readonly id: number; readonly outcome: AnswerOutcome }
  /** The session is gone: nothing is answered or pushed until the next `seated`. */
  | { readonly type: "session-lost" }
  | { readonly type: "roster"; readonly participantIds: readonly string[] }
  /** Others seal with keys of a step that never came. */
  | { readonly type: "behind" }
  /** New keys for everybody are wanted. */
  | { readonly type: "rotate" }
  /** The meeting is over: forget all keys. */
  | { readonly type: "end" };

/** To the media worker. */
export type FromCrypto =
  /**
   * Warm: joining will not wait for anything. The thumbprint is what a statement
   * about this device has to name.
   */
  | { readonly type: "ready"; readonly deviceThumbprint: string }
  /** No encryption in this browser, with the reason for a developer. */
  | { readonly type: "unsupported"; readonly message: string }
  | { readonly type: "send"; readonly id: number; readonly mls: Mls }
  /**
   * An epoch is in force: receive with it, and send with it from now on. An
   * earlier one again (the same `id`) when its successor was rolled back.
   */
  | {
      readonly type: "epoch";
      readonly suite: Suite;
      readonly keys: EpochKeys;
      /** Somebody new holds the keys: pictures should begin anew for them. */
      readonly added: boolean;
    }
  /** What became known of the members of the epoch `id`: a statement was checked. */
  | {
      readonly type: "senders";
      readonly id: string;
      readonly senders: ReadonlyMap<number, string>;
    }
  /**
   * To be offered when the seat is taken back; null: no group in memory, and
   * nothing may be sealed until there is one (`Sealer.clear`).
   */
  | { readonly type: "position"; readonly position: Pick<GroupPosition, "group" | "epoch"> | null }
  | { readonly type: "view"; readonly view: GroupView };
