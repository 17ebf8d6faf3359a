// One participant's part in the encryption of one meeting: the way into the
// group, commits when the controller asks for one, and what becomes of those
// that lose. Sans-IO: inputs are `handle*`, each with the time; the driver does
// what `effects` says and empties it. MLS itself is behind MlsEngine.
//
// Deliberately absent: connections (a driver that lost one says so and hands in
// the next entry), statements' keys, and every use of the epochs' keys.
import { create } from "@bufbuild/protobuf";
import {
  E2eeOfferSchema,
  EntryWay,
  GroupPositionSchema,
  MlsKind,
  MlsSchema,
  uuidToBytes,
  type E2eeEntry,
  type E2eeOffer,
  type GroupPosition,
  type Mls,
} from "@darktower/protocol";
import type { GroupEffect, Membership, Outcome, Place, State } from "./group-state";
import { Members, type StatementCheck } from "./members";
import {
  EngineBroken,
  type Claims,
  type MlsChange,
  type MlsEngine,
  type MlsLeafKey,
  type MlsMember,
} from "./mls";
import type { StatementVerdict } from "./statement";
import { isSuite, type Suite } from "./sframe";
import { bytesToHex, sameBytes } from "./text";

/** Standbys commit so much later, each rank again. */
const RANK_MS = 400;
const RANK_MAX = 2;
/** A commit that was overtaken by a proposal is made anew after so long. */
const RETRY_MS = 100;
const RETRIES_MAX = 5;
/** Without an entry for so long it is asked for. */
const ENTRY_MS = 5000;
/** Without a Welcome for so long the group is given up. */
const WELCOME_MS = 15_000;
/** After a commit that we can't take, the controller decides within this time. */
const VERDICT_MS = 3000;
/** A commit is not rolled back after so long: the state before it is wiped. */
const SETTLED_MS = 10_000;
/** Messages that wait for the answer to the founding. */
const EARLY_MAX = 64;
const GROUP_ID_BYTES = 20;
const KEY_BYTES = 32;

export interface Device {
  readonly publicKey: Uint8Array;
  /** JWS of the auth controller, empty for guests. */
  readonly statement: string;
}

export class GroupSession {
  /** What the driver has to do, oldest first; it takes them out. */
  readonly effects: GroupEffect[] = [];
  readonly #engine: MlsEngine;
  readonly #claims: Claims;
  readonly #device: Device;
  #state: State = { name: "waiting", until: undefined };
  #members: Members;
  #roster: ReadonlySet<string> | undefined;
  #alarms = "[]";
  #ids = 0;

  constructor(engine: MlsEngine, claims: Claims, device: Device) {
    this.#engine = engine;
    this.#claims = claims;
    this.#device = device;
    this.#members = this.#noMembers();
  }

  /** Whether there are keys. */
  get isMember(): boolean {
    return this.#state.name === "member";
  }

  /** For the next JoinRequest. */
  offer(): E2eeOffer {
    const position = this.#state.name === "member" ? here(this.#state.at) : undefined;
    return create(E2eeOfferSchema, { version: 1, ...(position && { position }) });
  }

  /** When {@link handleTimeout} is wanted at the latest. */
  due(nowMs: number): number | undefined {
    const times = [this.#members.due(nowMs)];
    const state = this.#state;
    if (state.name === "member") {
      times.push(state.at.commitAt, state.at.verdictUntil, state.at.settleAt);
    } else if (state.name !== "signing") {
      times.push(state.until);
    }
    const known = times.filter((time) => time !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  /** The way in: of a JoinResponse, or pushed. */
  handleEntry(entry: E2eeEntry, nowMs: number): void {
    if (entry.way === EntryWay.CATCH_UP) {
      this.#catchUp(entry, nowMs);
      return;
    }
    this.#leave();
    const place = this.#placeOf(entry);
    if (place === undefined || !isWayIn(entry.way)) {
      this.#state = { name: "waiting", until: nowMs + ENTRY_MS };
      return;
    }
    const leafKey = this.#engine.newLeafKey();
    const id = ++this.#ids;
    this.#state = { name: "signing", entry, place, leafKey, id };
    const bytes = this.#engine.bindingBytes(this.#claims, leafKey);
    this.effects.push({ type: "sign", id, bytes });
  }

  handleSigned(id: number, signature: Uint8Array, nowMs: number): void {
    const state = this.#state;
    if (state.name !== "signing" || state.id !== id) return;
    const { publicKey, statement } = this.#device;
    try {
      const credential = this.#engine.credential(this.#claims, publicKey, signature, statement);
      this.#goIn(state.entry, state.place, state.leafKey, credential, nowMs);
    } catch (error) {
      rethrowBroken(error);
      // A GroupInfo that can't be entered by: another one may be.
      this.#state = { name: "waiting", until: nowMs + ENTRY_MS };
    }
  }

  /** A message of the controller. */
  handleMls(mls: Mls, nowMs: number): void {
    const state = this.#state;
    if (mls.position === undefined) return;
    switch (state.name) {
      case "founding":
        if (state.early.length < EARLY_MAX) state.early.push(mls);
        return;
      case "entering": {
        const own = mls.kind === MlsKind.MLS_COMMIT && sameBytes(mls.data, state.commit);
        if (own) this.#confirm(state.place, state.member, state.commit, nowMs);
        return;
      }
      case "candidate":
        if (mls.kind === MlsKind.MLS_WELCOME) this.#welcome(state, mls, nowMs);
        return;
      case "member":
        if (mls.position.group === state.at.group) this.#take(state.at, mls, mls.position, nowMs);
        return;
      case "waiting":
        // For a key package that is gone.
        if (mls.kind === MlsKind.MLS_WELCOME) this.#strand(nowMs);
        return;
      case "signing":
    }
  }

  /** The controller's answer to a message of ours. */
  handleAnswer(request: number, outcome: Outcome, nowMs: number): void {
    const state = this.#state;
    switch (state.name) {
      case "founding":
      case "entering":
      case "candidate":
        if (state.request !== request) return;
        if (outcome === "ack") {
          if (state.name === "founding") this.#founded(state, nowMs);
          return;
        }
        // An entry follows.
        this.#leave();
        this.#state = { name: "waiting", until: nowMs + ENTRY_MS };
        return;
      case "member":
        if (state.at.inFlight !== request) return;
        state.at.inFlight = undefined;
        if (outcome !== "conflict" || state.at.retries >= RETRIES_MAX) return;
        // Overtaken: by a commit, which follows, or by a proposal.
        state.at.retries += 1;
        state.at.commitAt = state.at.again ? nowMs : nowMs + RETRY_MS;
        state.at.again = false;
        return;
      case "waiting":
      case "signing":
    }
  }

  /** The connection is gone: no answer comes any more, an entry will. */
  handleDisconnected(): void {
    if (this.#state.name === "member") {
      this.#state.at.commitAt = undefined;
      this.#state.at.inFlight = undefined;
      this.#state.at.verdictUntil = undefined;
      return;
    }
    this.#leave();
    this.#state = { name: "waiting", until: undefined };
  }

  /** Does ahead what is needed once we are in: while nothing else is to be done. */
  lookAhead(): void {
    const state = this.#state;
    if (state.name === "entering" && !state.prepared) {
      state.prepared = true;
      this.#members.prepare(state.member.members());
    }
  }

  /** Who the controller says is in the meeting. */
  handleRoster(participantIds: Iterable<string>, nowMs: number): void {
    this.#roster = new Set(participantIds);
    this.#members.setRoster(this.#roster, nowMs);
    this.#raise(nowMs);
  }

  handleVerdict(check: StatementCheck, verdict: StatementVerdict, nowMs: number): void {
    this.#members.setVerdict(check, verdict);
    if (this.#state.name === "member") {
      const { keysId } = this.#state.at;
      this.effects.push({ type: "senders", id: keysId, senders: this.#members.senders() });
      this.effects.push({ type: "members", members: this.#members.list() });
    }
    this.#raise(nowMs);
  }

  /** Others seal with keys of a step that never came: another way in is asked for. */
  handleBehind(nowMs: number): void {
    const state = this.#state;
    if (state.name === "member") this.#strandUnlessJudged(state.at, nowMs);
  }

  /** Somebody wants new keys for everybody. */
  rotate(): void {
    if (this.#state.name === "member") {
      this.#send({ kind: MlsKind.MLS_ROTATE, position: here(this.#state.at) });
    }
  }

  handleTimeout(nowMs: number): void {
    const state = this.#state;
    switch (state.name) {
      case "member":
        this.#memberTimeout(state.at, nowMs);
        break;
      case "signing":
        break;
      case "waiting":
      case "founding":
      case "entering":
      case "candidate":
        if (state.until !== undefined && nowMs >= state.until) this.#strand(nowMs);
    }
    this.#raise(nowMs);
  }

  /** Everything secret is freed. */
  close(): void {
    this.#leave();
    this.#state = { name: "waiting", until: undefined };
  }

  // The way in.

  #placeOf(entry: E2eeEntry): Place | undefined {
    const group = entry.position?.group ?? 0;
    const expected = new Uint8Array(GROUP_ID_BYTES);
    expected.set(uuidToBytes(this.#claims.meetingId));
    new DataView(expected.buffer).setUint32(16, group);
    const ours =
      isSuite(entry.sframeSuite) &&
      entry.externalSender.length === KEY_BYTES &&
      sameBytes(entry.groupId, expected);
    if (!ours) return undefined;
    const setup = { groupId: entry.groupId, externalSender: entry.externalSender };
    return { setup, group, suite: entry.sframeSuite as Suite };
  }

  #goIn(
    entry: E2eeEntry,
    place: Place,
    leafKey: MlsLeafKey,
    credential: Uint8Array,
    nowMs: number,
  ): void {
    const position = entry.position ?? create(GroupPositionSchema, { group: place.group });
    const until = nowMs + ENTRY_MS;
    if (entry.way === EntryWay.FOUND) {
      const { member, groupInfo } = this.#engine.found(leafKey, credential, place.setup);
      const request = this.#send({
        kind: MlsKind.MLS_FOUNDED,
        position: create(GroupPositionSchema, { group: place.group }),
        groupInfo,
      });
      this.#state = { name: "founding", place, member, request, early: [], until };
    } else if (entry.way === EntryWay.COMMIT) {
      const entered = this.#engine.enter(leafKey, credential, place.setup, entry.groupInfo);
      const { member, commit } = entered;
      const { commit: data, groupInfo } = commit;
      const request = this.#send({ kind: MlsKind.MLS_COMMIT, position, data, groupInfo });
      const sent = { place, member, commit: data, request, until };
      this.#state = { name: "entering", ...sent, prepared: false };
    } else {
      const candidate = this.#engine.candidate(leafKey, credential);
      const data = candidate.keyPackage;
      const request = this.#send({ kind: MlsKind.MLS_KEY_PACKAGE, position, data });
      const later = nowMs + WELCOME_MS;
      this.#state = { name: "candidate", place, candidate, request, until: later };
    }
  }

  #founded(state: State & { name: "founding" }, nowMs: number): void {
    const at = this.#arrive(state.place, state.member);
    this.#show(at, { added: [], removed: [], removedSelf: false }, nowMs);
    for (const mls of state.early) this.handleMls(mls, nowMs);
  }

  #confirm(place: Place, member: MlsMember, commit: Uint8Array, nowMs: number): void {
    try {
      const change = member.handleCommit(commit);
      const at = this.#arrive(place, member);
      this.#applied(at);
      this.#show(at, change, nowMs);
    } catch (error) {
      rethrowBroken(error);
      this.#strand(nowMs);
    }
  }

  #welcome(state: State & { name: "candidate" }, mls: Mls, nowMs: number): void {
    try {
      const member = state.candidate.join(mls.data, state.place.setup);
      const at = this.#arrive(state.place, member);
      this.#applied(at);
      this.#show(at, { added: [member.ownLeaf], removed: [], removedSelf: false }, nowMs);
    } catch (error) {
      rethrowBroken(error);
      this.#strand(nowMs);
    }
  }

  #arrive(place: Place, member: MlsMember): Membership {
    const at: Membership = {
      ...place,
      member,
      commitAt: undefined,
      retries: 0,
      inFlight: undefined,
      again: false,
      barredEpoch: undefined,
      verdictUntil: undefined,
      settleAt: undefined,
      keysId: "",
    };
    this.#state = { name: "member", at };
    return at;
  }

  #catchUp(entry: E2eeEntry, nowMs: number): void {
    const state = this.#state;
    if (state.name !== "member" || entry.position?.group !== state.at.group) {
      this.#strand(nowMs);
      return;
    }
    for (const mls of entry.missed) this.handleMls(mls, nowMs);
    // Short of where the group stands: not all that was missed is kept.
    const now: State = this.#state;
    const behind = now.name === "member" && BigInt(now.at.member.epoch) < entry.position.epoch;
    if (behind && now.at.verdictUntil === undefined) this.#strand(nowMs);
  }

  // In the group.

  #take(at: Membership, mls: Mls, position: GroupPosition, nowMs: number): void {
    const epoch = Number(position.epoch);
    const own = at.member.epoch;
    switch (mls.kind) {
      case MlsKind.MLS_PROPOSAL:
        if (epoch > own) this.#strandUnlessJudged(at, nowMs);
        else if (epoch === own) this.#proposal(at, mls.data);
        return;
      case MlsKind.MLS_COMMIT:
        if (epoch > own) this.#strandUnlessJudged(at, nowMs);
        else if (epoch === own) this.#commitCame(at, mls.data, nowMs);
        return;
      case MlsKind.MLS_COMMIT_WANTED:
        if (epoch === own && at.barredEpoch !== own) {
          at.commitAt = nowMs + RANK_MS * Math.min(mls.rank, RANK_MAX);
          at.retries = 0;
        }
        return;
      case MlsKind.MLS_ROLLED_BACK:
        this.#rolledBack(at, epoch, nowMs);
        return;
      default:
      // Nothing else is the server's to say to a member.
    }
  }

  #proposal(at: Membership, data: Uint8Array): void {
    try {
      at.member.handleProposal(data);
    } catch (error) {
      rethrowBroken(error);
      // A commit of ours would lack it.
      at.barredEpoch = at.member.epoch;
      at.commitAt = undefined;
    }
  }

  #commitCame(at: Membership, data: Uint8Array, nowMs: number): void {
    const epoch = at.member.epoch;
    let change: MlsChange;
    try {
      change = at.member.handleCommit(data);
    } catch (error) {
      rethrowBroken(error);
      at.commitAt = undefined;
      at.verdictUntil = nowMs + VERDICT_MS;
      this.#send({ kind: MlsKind.MLS_FAILED, position: positionOf(at, epoch) });
      return;
    }
    at.commitAt = undefined;
    at.inFlight = undefined;
    at.again = false;
    at.retries = 0;
    at.verdictUntil = undefined;
    if (change.removedSelf) {
      this.#leave();
      this.#state = { name: "waiting", until: nowMs + ENTRY_MS };
      return;
    }
    at.settleAt = nowMs + SETTLED_MS;
    this.#applied(at);
    this.#show(at, change, nowMs);
  }

  #rolledBack(at: Membership, epoch: number, nowMs: number): void {
    const own = at.member.epoch;
    if (own === epoch) {
      // The one that we refused.
      at.verdictUntil = undefined;
      return;
    }
    if (own !== epoch + 1) {
      if (own > epoch) this.#strand(nowMs);
      return;
    }
    try {
      at.member.rollBack();
    } catch (error) {
      rethrowBroken(error);
      // The commit that brought us in: an entry follows.
      this.#leave();
      this.#state = { name: "waiting", until: nowMs + ENTRY_MS };
      return;
    }
    at.commitAt = undefined;
    at.inFlight = undefined;
    at.again = false;
    at.settleAt = undefined;
    this.#show(at, { added: [], removed: [], removedSelf: false }, nowMs);
  }

  #memberTimeout(at: Membership, nowMs: number): void {
    if (at.settleAt !== undefined && nowMs >= at.settleAt) {
      at.settleAt = undefined;
      at.member.settle();
    }
    if (at.verdictUntil !== undefined && nowMs >= at.verdictUntil) {
      this.#strand(nowMs);
    } else if (at.commitAt !== undefined && nowMs >= at.commitAt) {
      at.commitAt = undefined;
      // Of two commits in flight the first could win, and only the second be
      // known as ours. Its answer brings us back here.
      if (at.inFlight === undefined) this.#commit(at);
      else at.again = true;
    }
  }

  #commit(at: Membership): void {
    const position = here(at);
    try {
      const { commit: data, groupInfo, welcome } = at.member.commit();
      at.inFlight = this.#send({
        kind: MlsKind.MLS_COMMIT,
        position,
        data,
        groupInfo,
        ...(welcome && { welcome }),
      });
    } catch (error) {
      rethrowBroken(error);
      // Our own leaf is to be removed, for one. A standby commits.
    }
  }

  /** Far behind: whether because of a commit that is still being judged or not. */
  #strandUnlessJudged(at: Membership, nowMs: number): void {
    if (at.verdictUntil === undefined) this.#strand(nowMs);
  }

  /** The group is given up, and another way in asked for. */
  #strand(nowMs: number): void {
    const state = this.#state;
    const position = state.name === "member" ? here(state.at) : undefined;
    this.#leave();
    this.#send({ kind: MlsKind.MLS_STRANDED, ...(position && { position }) });
    this.#state = { name: "waiting", until: nowMs + ENTRY_MS };
  }

  /** Frees what the state holds; the caller sets the next one. */
  #leave(): void {
    const state = this.#state;
    switch (state.name) {
      case "signing":
        state.leafKey.free();
        return;
      case "founding":
      case "entering":
        state.member.free();
        return;
      case "candidate":
        state.candidate.free();
        return;
      case "member":
        state.at.member.free();
        this.#members = this.#noMembers();
        this.effects.push({ type: "lost" });
        this.effects.push({ type: "members", members: [] });
        return;
      case "waiting":
    }
  }

  #noMembers(): Members {
    const members = new Members(this.#claims, (view) =>
      this.#engine.readCredential(view.identity, view.signatureKey),
    );
    if (this.#roster !== undefined) members.setRoster(this.#roster, 0);
    return members;
  }

  #applied(at: Membership): void {
    this.#send({ kind: MlsKind.MLS_APPLIED, position: here(at) });
  }

  /** Gives out the keys and the members of the epoch. */
  #show(at: Membership, change: MlsChange, nowMs: number): void {
    const checks = this.#members.setLeaves(at.member.members(), at.member.ownLeaf, nowMs);
    const { baseKey, authenticator } = at.member.keys(at.suite);
    at.keysId = bytesToHex(authenticator);
    this.effects.push({
      type: "keys",
      keys: {
        suite: at.suite,
        group: at.group,
        epoch: at.member.epoch,
        leaf: at.member.ownLeaf,
        id: at.keysId,
        baseKey,
        senders: this.#members.senders(),
        added: change.added.length > 0,
        removed: change.removed.length > 0,
      },
    });
    this.effects.push({ type: "members", members: this.#members.list() });
    this.effects.push({ type: "code", code: this.#engine.meetingCode(authenticator) });
    for (const check of checks) this.effects.push({ type: "check", check });
    this.#raise(nowMs);
  }

  /** Says which alarms there are, when that changed. */
  #raise(nowMs: number): void {
    const alarms = this.#members.alarms(nowMs);
    const text = JSON.stringify(alarms);
    if (text === this.#alarms) return;
    this.#alarms = text;
    this.effects.push({ type: "alarms", alarms });
  }

  #send(fields: Partial<Omit<Mls, "$typeName" | "$unknown">>): number {
    const request = ++this.#ids;
    this.effects.push({ type: "send", request, message: create(MlsSchema, fields) });
    return request;
  }
}

function isWayIn(way: EntryWay): boolean {
  return way === EntryWay.FOUND || way === EntryWay.COMMIT || way === EntryWay.BE_ADDED;
}

function positionOf(at: Membership, epoch: number): GroupPosition {
  return create(GroupPositionSchema, { group: at.group, epoch: BigInt(epoch) });
}

function here(at: Membership): GroupPosition {
  return positionOf(at, at.member.epoch);
}

function rethrowBroken(error: unknown): void {
  if (error instanceof EngineBroken) throw error;
}
