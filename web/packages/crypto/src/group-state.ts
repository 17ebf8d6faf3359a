// What a session wants done, and where it stands (group-session.ts): types only.
import type { E2eeEntry, Mls } from "@darktower/protocol";
import type { GroupMember, StatementCheck } from "./members";
import type { Alarm } from "./messages";
import type { GroupSetup, MlsCandidate, MlsLeafKey, MlsMember } from "./mls";
import type { Suite } from "./sframe";

/** The keys of an epoch, not yet imported. To be wiped after use. */
export interface RawEpochKeys {
  readonly suite: Suite;
  /** Counts the groups of the meeting. */
  readonly group: number;
  readonly epoch: number;
  readonly leaf: number;
  /** Names this epoch and no other. */
  readonly id: string;
  readonly baseKey: Uint8Array<ArrayBuffer>;
  readonly senders: ReadonlyMap<number, string>;
  /** It began by adding somebody: watched encodings begin it with a key frame. */
  readonly added: boolean;
  readonly removed: boolean;
}

/** The controller's answer to a message. */
export type Outcome = "ack" | "conflict" | "refused";

export type GroupEffect =
  /** The device key has to sign; `handleSigned` with the same number. */
  | { readonly type: "sign"; readonly id: number; readonly bytes: Uint8Array<ArrayBuffer> }
  /** To the controller; its answer goes to `handleAnswer` with the same number. */
  | { readonly type: "send"; readonly request: number; readonly message: Mls }
  /** Seal with these from now on, and open with them too. */
  | { readonly type: "keys"; readonly keys: RawEpochKeys }
  /** Whose frames are opened in the epoch of this id. */
  | { readonly type: "senders"; readonly id: string; readonly senders: ReadonlyMap<number, string> }
  /** Out of the group: nothing may be sealed until there are keys again. */
  | { readonly type: "lost" }
  | { readonly type: "members"; readonly members: readonly GroupMember[] }
  | { readonly type: "code"; readonly code: string }
  /** All there are; empty when the last is over. */
  | { readonly type: "alarms"; readonly alarms: readonly Alarm[] }
  /** `handleVerdict` with the same check. */
  | { readonly type: "check"; readonly check: StatementCheck };

/** Where a group is to be, or is. */
export interface Place {
  readonly setup: GroupSetup;
  readonly group: number;
  readonly suite: Suite;
}

/** In the group. */
export interface Membership extends Place {
  readonly member: MlsMember;
  /** When to commit. */
  commitAt: number | undefined;
  /** Commits of ours that the epoch passed over. */
  retries: number;
  /** The request of a commit that is not answered. */
  inFlight: number | undefined;
  /** Asked for another while it is under way. */
  again: boolean;
  /** Nothing of ours can end this epoch: we lack a proposal, or were rolled back. */
  barredEpoch: number | undefined;
  /** We refused a commit; whoever decides does so until then. */
  verdictUntil: number | undefined;
  settleAt: number | undefined;
  /** Of the keys given out last. */
  keysId: string;
}

/** Where a session stands. */
export type State =
  /** For an entry; asks for one at `until`. */
  | { readonly name: "waiting"; readonly until: number | undefined }
  | {
      readonly name: "signing";
      readonly entry: E2eeEntry;
      readonly place: Place;
      readonly leafKey: MlsLeafKey;
      readonly id: number;
    }
  | {
      readonly name: "founding";
      readonly place: Place;
      readonly member: MlsMember;
      readonly request: number;
      readonly early: Mls[];
      readonly until: number;
    }
  | {
      readonly name: "entering";
      readonly place: Place;
      readonly member: MlsMember;
      readonly commit: Uint8Array;
      readonly request: number;
      readonly until: number;
      /** The others' leaves were read. */
      prepared: boolean;
    }
  | {
      readonly name: "candidate";
      readonly place: Place;
      readonly candidate: MlsCandidate;
      readonly request: number;
      readonly until: number;
    }
  | { readonly name: "member"; readonly at: Membership };
