// A meeting without a network: sessions with the real MLS module, and a
// controller that orders and judges their messages by the rules of e2ee.proto.
// Time is virtual. Messages move in rounds, so that two that are sent in one
// round are in flight together; a test may change or drop what is delivered, and
// do as a hostile controller would.
import { create } from "@bufbuild/protobuf";
import {
  E2eeEntrySchema,
  EntryWay,
  GroupPositionSchema,
  MlsKind,
  MlsSchema,
  uuidFromBytes,
  uuidToBytes,
  type E2eeEntry,
  type Mls,
} from "@darktower/protocol";
import { GroupSession, type Device } from "../src/group-session";
import type { GroupEffect, Outcome, RawEpochKeys } from "../src/group-state";
import type { GroupMember, StatementCheck } from "../src/members";
import type { Alarm } from "../src/messages";
import type { Claims, GroupSetup, MlsLeafKey } from "../src/mls";
import { bytesToHex } from "../src/text";
import { Controller, engine } from "./wasm";

export const MEETING = "0190a1b2-c3d4-7000-8000-00000000abcd";
/** No test needs more; a loop without end does. */
const ROUNDS_MAX = 1000;

type Down =
  | { readonly type: "mls"; readonly mls: Mls }
  | { readonly type: "entry"; readonly entry: E2eeEntry }
  | { readonly type: "answer"; readonly request: number; readonly outcome: Outcome };

/** One participant: what the crypto worker would hold, and what it was told. */
export class Person {
  readonly id: string;
  readonly claims: Claims;
  readonly device: Device;
  readonly session: GroupSession;
  readonly inbox: Down[] = [];
  readonly outbox: { readonly request: number; readonly mls: Mls }[] = [];
  readonly sent: MlsKind[] = [];
  readonly keys: RawEpochKeys[] = [];
  readonly checks: StatementCheck[] = [];
  readonly log: GroupEffect["type"][] = [];
  /** Whose frames are opened, by leaf. */
  senders: ReadonlyMap<number, string> = new Map();
  members: readonly GroupMember[] = [];
  alarms: readonly Alarm[] = [];
  code = "";
  connected = false;
  readonly #device: CryptoKeyPair;

  private constructor(claims: Claims, device: Device, keys: CryptoKeyPair) {
    this.id = claims.participantId;
    this.claims = claims;
    this.device = device;
    this.session = new GroupSession(engine, claims, device);
    this.#device = keys;
  }

  static async create(number: number, name: string, statement = ""): Promise<Person> {
    const bytes = new Uint8Array(16);
    bytes[15] = number;
    const id = uuidFromBytes(bytes);
    const device = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", device.publicKey));
    const claims = { meetingId: MEETING, participantId: id, name };
    return new Person(claims, { publicKey, statement }, device);
  }

  /** What this device signs for a leaf. */
  async credential(leafKey: MlsLeafKey): Promise<Uint8Array> {
    const bytes = engine.bindingBytes(this.claims, leafKey);
    const signature = await crypto.subtle.sign("Ed25519", this.#device.privateKey, bytes);
    const { publicKey, statement } = this.device;
    return engine.credential(this.claims, publicKey, new Uint8Array(signature), statement);
  }

  get key(): string {
    const keys = this.keys.at(-1);
    return keys === undefined ? "none" : `${keys.id} ${bytesToHex(keys.baseKey)}`;
  }

  get epoch(): number | undefined {
    return this.keys.at(-1)?.epoch;
  }

  get names(): string[] {
    return this.members.map((member) => member.name).toSorted();
  }

  /** Does what the session wants; true when there was something. */
  async drain(nowMs: number): Promise<boolean> {
    let some = false;
    for (;;) {
      const effect = this.session.effects.shift();
      if (effect === undefined) {
        this.session.lookAhead();
        return some;
      }
      some = true;
      this.log.push(effect.type);
      switch (effect.type) {
        case "sign": {
          const made = await crypto.subtle.sign("Ed25519", this.#device.privateKey, effect.bytes);
          this.session.handleSigned(effect.id, new Uint8Array(made), nowMs);
          break;
        }
        case "send":
          this.sent.push(effect.message.kind);
          this.outbox.push({ request: effect.request, mls: effect.message });
          break;
        case "keys":
          this.keys.push(effect.keys);
          this.senders = effect.keys.senders;
          break;
        case "members":
          this.members = effect.members;
          break;
        case "alarms":
          this.alarms = effect.alarms;
          break;
        case "code":
          this.code = effect.code;
          break;
        case "check":
          this.checks.push(effect.check);
          break;
        case "senders":
          if (effect.id === this.keys.at(-1)?.id) this.senders = effect.senders;
          break;
        case "lost":
      }
    }
  }
}

/** The controller and everybody's connections to it. */
export class Meeting {
  nowMs = 1000;
  readonly people: Person[] = [];
  /** Changes or drops what is delivered to somebody. */
  tamper: (to: Person, mls: Mls) => Mls | undefined = (_, mls) => mls;
  /** Changes the way in that somebody is shown. */
  mislead: (to: Person, entry: E2eeEntry) => E2eeEntry = (_, entry) => entry;
  /** Answers a message in the honest controller's place, if it does. */
  hostile: (from: Person, mls: Mls) => Outcome | undefined = () => undefined;
  /** The last one that a commit brought, whoever it was for. */
  welcome: Uint8Array<ArrayBuffer> = new Uint8Array();
  /** Why commits were refused. */
  readonly refused: string[] = [];
  readonly #controller = new Controller();
  #count = 0;
  #group = 0;
  #founded = false;
  /** In the group, in the order in which they came. */
  #inside: Person[] = [];
  #candidates: Person[] = [];
  /** Of this group, for those who catch up. */
  #history: Mls[] = [];

  get epoch(): number {
    return Number(this.#controller.epoch());
  }

  get setup(): GroupSetup {
    return { groupId: this.#groupId(), externalSender: this.#controller.publicKey };
  }

  groupInfo(): Uint8Array<ArrayBuffer> {
    return this.#controller.groupInfo() as Uint8Array<ArrayBuffer>;
  }

  async add(name: string, statement = ""): Promise<Person> {
    this.#count += 1;
    const person = await Person.create(this.#count, name, statement);
    this.people.push(person);
    this.connect(person);
    return person;
  }

  /** Names join one after the other. */
  async join(...names: string[]): Promise<Person[]> {
    const people: Person[] = [];
    for (const name of names) {
      people.push(await this.add(name));
      await this.settle();
    }
    return people;
  }

  connect(person: Person): void {
    person.connected = true;
    const { position } = person.session.offer();
    const goesOn = position !== undefined && this.#inside.includes(person);
    const entry = goesOn && position.group === this.#group ? undefined : this.#entry(person);
    this.#show(person, entry ?? this.#missed(position?.epoch ?? 0n));
    this.#tellRoster();
  }

  disconnect(person: Person): void {
    person.connected = false;
    person.inbox.length = 0;
    person.outbox.length = 0;
    person.session.handleDisconnected();
  }

  /** Out of the meeting, and so to be removed from the group. */
  remove(person: Person, offRoster = true): void {
    this.disconnect(person);
    if (offRoster) this.people.splice(this.people.indexOf(person), 1);
    this.#tellRoster();
    this.#proposeRemoval(person);
  }

  /** Has somebody added whom no participant stands behind. */
  addLeaf(keyPackage: Uint8Array): void {
    this.#proposal(this.#controller.proposeAdd(keyPackage));
    this.#want();
  }

  /** Has the leaf removed that claims to be this participant. */
  removeLeaf(participantId: string): void {
    const leaf = this.#controller.leafOf(participantId);
    if (leaf === undefined) throw new Error("nobody has such a leaf");
    this.#proposal(this.#controller.proposeRemove(leaf));
    this.#want();
  }

  /** Asks these to commit, all at once. */
  wantAtOnce(...people: Person[]): void {
    for (const person of people) this.#push(person, this.#mls(MlsKind.MLS_COMMIT_WANTED));
  }

  /** The last commit is void. */
  rollBack(): void {
    if (!this.#controller.rollBack()) throw new Error("nothing to roll back");
    this.#history.push(this.#mls(MlsKind.MLS_ROLLED_BACK));
    for (const person of this.#inside) this.#push(person, this.#mls(MlsKind.MLS_ROLLED_BACK));
  }

  /** Whoever it is needs another way in. */
  push(person: Person): void {
    this.#show(person, this.#entry(person));
  }

  /** Until nobody has anything to say. */
  async settle(): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let some = false;
      for (const person of this.people) some = (await person.drain(this.nowMs)) || some;
      for (const person of this.people) {
        for (const { request, mls } of person.outbox.splice(0)) {
          some = true;
          if (person.connected) this.#handle(person, request, mls);
        }
      }
      for (const person of this.people) {
        for (const down of person.inbox.splice(0)) {
          some = true;
          this.#deliver(person, down);
        }
      }
      if (!some) return;
    }
    throw new Error("the meeting does not come to rest");
  }

  /** Lets time pass, stopping where a session wants it. */
  async advance(ms: number): Promise<void> {
    const until = this.nowMs + ms;
    for (;;) {
      await this.settle();
      const dues = this.people.map((person) => person.session.due(this.nowMs) ?? Infinity);
      const next = Math.min(until, ...dues);
      this.nowMs = Math.max(this.nowMs, next);
      for (const person of this.people) person.session.handleTimeout(this.nowMs);
      await this.settle();
      if (next >= until) return;
    }
  }

  #deliver(person: Person, down: Down): void {
    const { session } = person;
    switch (down.type) {
      case "mls":
        session.handleMls(down.mls, this.nowMs);
        return;
      case "entry":
        session.handleEntry(down.entry, this.nowMs);
        return;
      case "answer":
        session.handleAnswer(down.request, down.outcome, this.nowMs);
    }
  }

  #handle(person: Person, request: number, mls: Mls): void {
    const outcome = this.hostile(person, mls) ?? this.#judge(person, mls);
    person.inbox.push({ type: "answer", request, outcome });
    if (outcome === "conflict" && !this.#inside.includes(person)) this.push(person);
  }

  #judge(person: Person, mls: Mls): Outcome {
    switch (mls.kind) {
      case MlsKind.MLS_FOUNDED:
        if (this.#founded) return "conflict";
        this.#controller.found(this.#groupId(), mls.groupInfo);
        this.#founded = true;
        this.#inside = [person];
        this.#history = [];
        return "ack";
      case MlsKind.MLS_KEY_PACKAGE: {
        const old = this.#controller.leafOf(person.id);
        if (old !== undefined) this.#proposal(this.#controller.proposeRemove(old));
        this.#inside = this.#inside.filter((other) => other !== person);
        this.#proposal(this.#controller.proposeAdd(mls.data));
        this.#candidates.push(person);
        this.#want();
        return "ack";
      }
      case MlsKind.MLS_COMMIT:
        return this.#commit(person, mls);
      case MlsKind.MLS_APPLIED:
      case MlsKind.MLS_FAILED:
        // What becomes of it is for the test to say.
        return "ack";
      case MlsKind.MLS_STRANDED:
        this.push(person);
        return "ack";
      case MlsKind.MLS_ROTATE:
        this.#want();
        return "ack";
      default:
        return "refused";
    }
  }

  #commit(person: Person, mls: Mls): Outcome {
    const position = create(GroupPositionSchema, { group: this.#group, epoch: BigInt(this.epoch) });
    if (mls.position?.group !== position.group || mls.position.epoch !== position.epoch) {
      this.refused.push("stale");
      return "conflict";
    }
    try {
      this.#controller.apply(mls.data, mls.groupInfo);
    } catch (error) {
      this.refused.push(String(error));
      return "conflict";
    }
    const commit = create(MlsSchema, { kind: MlsKind.MLS_COMMIT, position, data: mls.data });
    this.#history.push(commit);
    this.welcome = mls.welcome as Uint8Array<ArrayBuffer>;
    if (!this.#inside.includes(person)) this.#inside.push(person);
    for (const member of this.#inside) this.#push(member, commit);
    for (const candidate of this.#candidates.splice(0)) {
      const kind = MlsKind.MLS_WELCOME;
      this.#push(candidate, create(MlsSchema, { kind, position, data: mls.welcome }));
      this.#inside.push(candidate);
    }
    return "ack";
  }

  #proposeRemoval(person: Person): void {
    const leaf = this.#controller.leafOf(person.id);
    this.#inside = this.#inside.filter((other) => other !== person);
    if (leaf === undefined) return;
    this.#proposal(this.#controller.proposeRemove(leaf));
    this.#want();
  }

  #proposal(data: Uint8Array): void {
    const proposal = this.#mls(MlsKind.MLS_PROPOSAL, data);
    this.#history.push(proposal);
    for (const member of this.#inside) this.#push(member, proposal);
  }

  #want(): void {
    const able = this.#inside.filter((person) => person.connected).slice(0, 3);
    for (const [rank, person] of able.entries()) {
      this.#push(person, { ...this.#mls(MlsKind.MLS_COMMIT_WANTED), rank });
    }
  }

  #push(person: Person, mls: Mls): void {
    const changed = person.connected ? this.tamper(person, mls) : undefined;
    if (changed !== undefined) person.inbox.push({ type: "mls", mls: changed });
  }

  #show(person: Person, entry: E2eeEntry): void {
    person.inbox.push({ type: "entry", entry: this.mislead(person, entry) });
  }

  #mls(kind: MlsKind, data: Uint8Array = new Uint8Array()): Mls {
    const position = { group: this.#group, epoch: BigInt(this.epoch) };
    return create(MlsSchema, { kind, data, position });
  }

  #entry(person: Person): E2eeEntry {
    if (!this.#inside.some((other) => other.connected && other !== person)) {
      // Nobody is left who could let anybody in.
      const lone = this.#inside.includes(person) && this.#inside.length === 1;
      if (this.#founded || this.#group === 0 || lone) {
        this.#group += 1;
        this.#founded = false;
        this.#inside = [];
      }
    }
    const position = {
      group: this.#group,
      epoch: this.#founded ? BigInt(this.epoch) : 0n,
    };
    const common = {
      position,
      groupId: this.#groupId(),
      externalSender: this.#controller.publicKey,
      sframeSuite: 4,
    };
    if (!this.#founded) return create(E2eeEntrySchema, { ...common, way: EntryWay.FOUND });
    const old = this.#controller.leafOf(person.id) !== undefined;
    if (old || this.#controller.openProposals() > 0) {
      return create(E2eeEntrySchema, { ...common, way: EntryWay.BE_ADDED });
    }
    const groupInfo = this.#controller.groupInfo();
    return create(E2eeEntrySchema, { ...common, way: EntryWay.COMMIT, groupInfo });
  }

  #missed(since: bigint): E2eeEntry {
    return create(E2eeEntrySchema, {
      way: EntryWay.CATCH_UP,
      position: { group: this.#group, epoch: BigInt(this.epoch) },
      missed: this.#history.filter((mls) => (mls.position?.epoch ?? 0n) >= since),
    });
  }

  #groupId(): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(20);
    id.set(uuidToBytes(MEETING));
    new DataView(id.buffer).setUint32(16, this.#group);
    return id;
  }

  #tellRoster(): void {
    const ids = this.people.map((person) => person.id);
    for (const person of this.people) {
      if (person.connected) person.session.handleRoster(ids, this.nowMs);
    }
  }
}
