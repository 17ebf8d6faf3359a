// MLS by the WebAssembly module of wasm/. The module has to be loaded first
// (`init` of the bindings, or `initSync` with its bytes).
import * as wasm from "./gen/darktower_crypto_wasm";
import {
  EngineBroken,
  type Claims,
  type GroupSetup,
  type LeafIdentity,
  type LeafView,
  type MlsCandidate,
  type MlsChange,
  type MlsCommit,
  type MlsEngine,
  type MlsKeys,
  type MlsLeafKey,
  type MlsMember,
} from "./mls";

/** A trap of the module is told from a refusal. */
function guarded<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) {
      throw new EngineBroken("the WebAssembly module stopped", { cause: error });
    }
    throw error;
  }
}

/** Bytes of the module are copies in memory of their own. */
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

/** Reads what an object of the module has, then frees it. */
function taken<T extends { free(): void }, R>(object: T, read: (object: T) => R): R {
  try {
    return read(object);
  } finally {
    object.free();
  }
}

class LeafKey implements MlsLeafKey {
  readonly publicKey: Uint8Array;
  #key: wasm.LeafKey | undefined;

  constructor() {
    this.#key = wasm.LeafKey.generate();
    this.publicKey = this.#key.publicKey;
  }

  take(): wasm.LeafKey {
    const key = this.#key;
    if (key === undefined) throw new Error("the leaf key is used up");
    this.#key = undefined;
    return key;
  }

  free(): void {
    this.#key?.free();
    this.#key = undefined;
  }
}

class Candidate implements MlsCandidate {
  readonly keyPackage: Uint8Array;
  #candidate: wasm.Candidate | undefined;

  constructor(candidate: wasm.Candidate) {
    this.#candidate = candidate;
    this.keyPackage = candidate.keyPackage;
  }

  join(welcome: Uint8Array, setup: GroupSetup): MlsMember {
    const candidate = this.#candidate;
    if (candidate === undefined) throw new Error("the key package is used up");
    this.#candidate = undefined;
    return guarded(() => new Member(candidate.join(welcome, setup.groupId, setup.externalSender)));
  }

  free(): void {
    this.#candidate?.free();
    this.#candidate = undefined;
  }
}

class Member implements MlsMember {
  readonly #member: wasm.Member;

  constructor(member: wasm.Member) {
    this.#member = member;
  }

  get epoch(): number {
    return Number(this.#member.epoch);
  }

  get ownLeaf(): number {
    return this.#member.ownLeaf;
  }

  handleProposal(data: Uint8Array): void {
    guarded(() => this.#member.handleProposal(data));
  }

  commit(): MlsCommit {
    return guarded(() => taken(this.#member.commit(), readCommit));
  }

  handleCommit(data: Uint8Array): MlsChange {
    return guarded(() =>
      taken(this.#member.handleCommit(data), (change) => ({
        added: [...change.added],
        removed: [...change.removed],
        removedSelf: change.removedSelf,
      })),
    );
  }

  rollBack(): void {
    guarded(() => this.#member.rollBack());
  }

  settle(): void {
    this.#member.settle();
  }

  keys(suite: number): MlsKeys {
    return guarded(() =>
      taken(this.#member.keys(suite), (keys) => ({
        baseKey: own(keys.baseKey),
        authenticator: keys.authenticator,
      })),
    );
  }

  members(): LeafView[] {
    return guarded(() =>
      this.#member
        .members()
        .map((view) =>
          taken(view, ({ leaf, signatureKey, identity }) => ({ leaf, signatureKey, identity })),
        ),
    );
  }

  free(): void {
    this.#member.free();
  }
}

function readCommit({ commit, groupInfo, welcome }: wasm.Commit): MlsCommit {
  return { commit, groupInfo, welcome };
}

/** What a member that was just made has to send. */
function opening(member: wasm.Member): MlsCommit {
  const made = member.takeOpening();
  if (made === undefined) throw new Error("the member has nothing to send");
  return taken(made, readCommit);
}

function spent(leafKey: MlsLeafKey): wasm.LeafKey {
  if (!(leafKey instanceof LeafKey)) throw new Error("a leaf key of another engine");
  return leafKey.take();
}

export class WasmEngine implements MlsEngine {
  newLeafKey(): MlsLeafKey {
    return guarded(() => new LeafKey());
  }

  bindingBytes(claims: Claims, leafKey: MlsLeafKey): Uint8Array<ArrayBuffer> {
    const { meetingId, participantId, name } = claims;
    return guarded(() => own(wasm.bindingBytes(meetingId, participantId, name, leafKey.publicKey)));
  }

  credential(
    claims: Claims,
    deviceKey: Uint8Array,
    signature: Uint8Array,
    statement: string,
  ): Uint8Array {
    const { meetingId, participantId, name } = claims;
    return guarded(() =>
      wasm.credential(meetingId, participantId, name, deviceKey, signature, statement),
    );
  }

  readCredential(identity: Uint8Array, signatureKey: Uint8Array): LeafIdentity {
    return guarded(() =>
      taken(wasm.readCredential(identity, signatureKey), (read) => ({
        meetingId: read.meetingId,
        participantId: read.participantId,
        name: read.name,
        deviceKey: own(read.deviceKey),
        statement: read.statement,
      })),
    );
  }

  found(
    leafKey: MlsLeafKey,
    credential: Uint8Array,
    setup: GroupSetup,
  ): { readonly member: MlsMember; readonly groupInfo: Uint8Array } {
    return guarded(() => {
      const { groupId, externalSender } = setup;
      const member = wasm.Member.found(spent(leafKey), credential, groupId, externalSender);
      return { member: new Member(member), groupInfo: opening(member).groupInfo };
    });
  }

  enter(
    leafKey: MlsLeafKey,
    credential: Uint8Array,
    setup: GroupSetup,
    groupInfo: Uint8Array,
  ): { readonly member: MlsMember; readonly commit: MlsCommit } {
    return guarded(() => {
      const { groupId, externalSender } = setup;
      const key = spent(leafKey);
      const member = wasm.Member.enter(key, credential, groupId, externalSender, groupInfo);
      return { member: new Member(member), commit: opening(member) };
    });
  }

  candidate(leafKey: MlsLeafKey, credential: Uint8Array): MlsCandidate {
    return guarded(() => new Candidate(new wasm.Candidate(spent(leafKey), credential)));
  }

  meetingCode(authenticator: Uint8Array): string {
    return guarded(() => wasm.meetingCode(authenticator));
  }

  pairCode(a: Uint8Array, b: Uint8Array): string {
    return guarded(() => wasm.pairCode(a, b));
  }
}
