// What the rules of a group need of MLS: one method, one step of RFC 9420. The
// WebAssembly module does it (engine.ts). Whatever throws left the group where
// it stood, but for EngineBroken.

/** The module stopped in the middle of something: nothing it holds is of use. */
export class EngineBroken extends Error {
  override readonly name = "EngineBroken";
}

/** What a member says of itself. */
export interface Claims {
  readonly meetingId: string;
  readonly participantId: string;
  readonly name: string;
}

/** A credential whose device signature is good. */
export interface LeafIdentity extends Claims {
  readonly deviceKey: Uint8Array<ArrayBuffer>;
  /** JWS of the auth controller, unchecked; empty for guests. */
  readonly statement: string;
}

/** One leaf, its credential unchecked. */
export interface LeafView {
  readonly leaf: number;
  readonly signatureKey: Uint8Array;
  readonly identity: Uint8Array;
}

/** What the controller says of a group before anybody is in it. */
export interface GroupSetup {
  readonly groupId: Uint8Array;
  /** Ed25519 public key of the controller. */
  readonly externalSender: Uint8Array;
}

/** All bytes are MLSMessage. */
export interface MlsCommit {
  readonly commit: Uint8Array;
  readonly groupInfo: Uint8Array;
  readonly welcome: Uint8Array | undefined;
}

export interface MlsChange {
  readonly added: readonly number[];
  readonly removed: readonly number[];
  readonly removedSelf: boolean;
}

export interface MlsKeys {
  readonly baseKey: Uint8Array<ArrayBuffer>;
  readonly authenticator: Uint8Array;
}

/** A leaf's signature key, used up by what is made with it. */
export interface MlsLeafKey {
  readonly publicKey: Uint8Array;
  free(): void;
}

/** A key package that waits for its Welcome. */
export interface MlsCandidate {
  readonly keyPackage: Uint8Array;
  /** Used up by it, whatever the outcome. */
  join(welcome: Uint8Array, setup: GroupSetup): MlsMember;
  free(): void;
}

/** One member's group. */
export interface MlsMember {
  readonly epoch: number;
  readonly ownLeaf: number;
  handleProposal(data: Uint8Array): void;
  commit(): MlsCommit;
  handleCommit(data: Uint8Array): MlsChange;
  rollBack(): void;
  /** The state before the last commit is wiped. */
  settle(): void;
  keys(suite: number): MlsKeys;
  members(): LeafView[];
  free(): void;
}

export interface MlsEngine {
  newLeafKey(): MlsLeafKey;
  /** What the device key signs. */
  bindingBytes(claims: Claims, leafKey: MlsLeafKey): Uint8Array<ArrayBuffer>;
  credential(
    claims: Claims,
    deviceKey: Uint8Array,
    signature: Uint8Array,
    statement: string,
  ): Uint8Array;
  /** Throws where the device did not sign the leaf. */
  readCredential(identity: Uint8Array, signatureKey: Uint8Array): LeafIdentity;
  found(
    leafKey: MlsLeafKey,
    credential: Uint8Array,
    setup: GroupSetup,
  ): { readonly member: MlsMember; readonly groupInfo: Uint8Array };
  enter(
    leafKey: MlsLeafKey,
    credential: Uint8Array,
    setup: GroupSetup,
    groupInfo: Uint8Array,
  ): { readonly member: MlsMember; readonly commit: MlsCommit };
  candidate(leafKey: MlsLeafKey, credential: Uint8Array): MlsCandidate;
  meetingCode(authenticator: Uint8Array): string;
  pairCode(a: Uint8Array, b: Uint8Array): string;
}
