// Who is in the group: what the leaves say, whether it is to be believed, and
// what a person has to be warned of. The group decides, not the roster, which is
// the controller's word. Driven by group-session.ts; time is passed in.
import { EngineBroken, type Claims, type LeafIdentity, type LeafView } from "./mls";
import type { Account, Alarm } from "./messages";
import type { StatementVerdict } from "./statement";
import { bytesToHex, sameBytes } from "./text";

/** How long leaves and roster may differ: they don't change in one message. */
export const MISMATCH_MS = 2000;

/** Why a leaf is not to be trusted. Its frames are not opened. */
export type MemberProblem =
  /** Not signed by the device that it names, or not to be read at all. */
  | "bad-credential"
  /** Made for another meeting. */
  | "other-meeting"
  /** Two leaves claim one participant; neither counts. */
  | "doubled"
  /** What it shows of the auth controller is not the auth controller's. */
  | "bad-statement";

/** How far it is proved who a member is. */
export type Standing =
  /** Somebody who calls themselves so. */
  | { readonly kind: "guest" }
  /** Shows a statement that is not checked yet, or can't be. */
  | { readonly kind: "unchecked" }
  /** The auth controller says that the device is this account's. */
  | { readonly kind: "account"; readonly account: Account };

export interface GroupMember {
  readonly leaf: number;
  readonly self: boolean;
  /** Empty when the credential can't be read. */
  readonly participantId: string;
  readonly name: string;
  readonly deviceKey: Uint8Array<ArrayBuffer> | undefined;
  readonly standing: Standing;
  readonly problem: MemberProblem | undefined;
}

/** A statement to be checked by the auth controller's keys. */
export interface StatementCheck {
  readonly statement: string;
  readonly deviceKey: Uint8Array<ArrayBuffer>;
}

interface Leaf {
  readonly view: LeafView;
  readonly identity: LeafIdentity | undefined;
  /** Since when no participant on the roster stands behind it. */
  strangeSinceMs: number | undefined;
}

export class Members {
  readonly #claims: Claims;
  readonly #read: (view: LeafView) => LeafIdentity;
  #leaves = new Map<number, Leaf>();
  readonly #prepared = new Map<number, Leaf>();
  #ownLeaf = -1;
  #roster: ReadonlySet<string> | undefined;
  /** Participants of this group's leaves that were on the roster. */
  readonly #seen = new Set<string>();
  readonly #verdicts = new Map<string, StatementVerdict | undefined>();

  constructor(claims: Claims, read: (view: LeafView) => LeafIdentity) {
    this.#claims = claims;
    this.#read = read;
  }

  /**
   * Reads leaves that there will most likely be, so that {@link setLeaves} need not:
   * a signature is checked for each.
   */
  prepare(views: readonly LeafView[]): void {
    for (const view of views) this.#prepared.set(view.leaf, this.#leaf(view, this.#leaves));
  }

  /** The leaves of the epoch; gives the statements that are new. */
  setLeaves(views: readonly LeafView[], ownLeaf: number, nowMs: number): StatementCheck[] {
    this.#ownLeaf = ownLeaf;
    const before = new Map([...this.#leaves, ...this.#prepared]);
    this.#prepared.clear();
    this.#leaves = new Map(views.map((view) => [view.leaf, this.#leaf(view, before)]));
    const checks: StatementCheck[] = [];
    const shown = new Set<string>();
    for (const { identity } of this.#leaves.values()) {
      if (identity === undefined || identity.statement === "") continue;
      const key = verdictKey(identity);
      shown.add(key);
      if (this.#verdicts.has(key)) continue;
      this.#verdicts.set(key, undefined);
      checks.push({ statement: identity.statement, deviceKey: identity.deviceKey });
    }
    for (const key of this.#verdicts.keys()) if (!shown.has(key)) this.#verdicts.delete(key);
    this.#compare(nowMs);
    return checks;
  }

  setRoster(participantIds: Iterable<string>, nowMs: number): void {
    this.#roster = new Set(participantIds);
    this.#compare(nowMs);
  }

  setVerdict(check: StatementCheck, verdict: StatementVerdict): void {
    const key = verdictKey(check);
    if (this.#verdicts.has(key)) this.#verdicts.set(key, verdict);
  }

  list(): GroupMember[] {
    const claimed = new Map<string, number>();
    for (const { identity } of this.#leaves.values()) {
      const id = identity?.participantId ?? "";
      claimed.set(id, (claimed.get(id) ?? 0) + 1);
    }
    return [...this.#leaves.values()].map(({ view, identity }) => ({
      leaf: view.leaf,
      self: view.leaf === this.#ownLeaf,
      participantId: identity?.participantId ?? "",
      name: identity?.name ?? "",
      deviceKey: identity?.deviceKey,
      standing: this.#standing(identity),
      problem: this.#problem(identity, claimed),
    }));
  }

  /** The participants whose frames are opened, by leaf. */
  senders(): Map<number, string> {
    const good = this.list().filter((member) => member.problem === undefined);
    return new Map(good.map((member) => [member.leaf, member.participantId]));
  }

  alarms(nowMs: number): Alarm[] {
    const alarms: Alarm[] = [];
    const doubled = new Map<string, Alarm>();
    for (const { leaf, participantId, name, problem, self } of this.list()) {
      if (problem === "doubled") {
        doubled.set(participantId, { kind: "double", name, participantId });
      } else if (problem !== undefined && !self) {
        alarms.push({ kind: "untrustworthy", name, leaf });
      }
      const since = this.#leaves.get(leaf)?.strangeSinceMs;
      if (since === undefined || nowMs - since < MISMATCH_MS) continue;
      const kind = this.#seen.has(participantId) ? "stays" : "stranger";
      alarms.push({ kind, name, leaf });
    }
    return [...alarms, ...doubled.values()];
  }

  /** When {@link alarms} may change by itself after `nowMs`. */
  due(nowMs: number): number | undefined {
    let due: number | undefined;
    for (const { strangeSinceMs } of this.#leaves.values()) {
      if (strangeSinceMs === undefined) continue;
      const at = strangeSinceMs + MISMATCH_MS;
      if (at > nowMs && (due === undefined || at < due)) due = at;
    }
    return due;
  }

  #leaf(view: LeafView, before: ReadonlyMap<number, Leaf>): Leaf {
    const known = before.get(view.leaf);
    const same =
      known !== undefined &&
      sameBytes(known.view.signatureKey, view.signatureKey) &&
      sameBytes(known.view.identity, view.identity);
    if (same) return known;
    let identity: LeafIdentity | undefined;
    try {
      identity = this.#read(view);
    } catch (error) {
      if (error instanceof EngineBroken) throw error;
      identity = undefined;
    }
    return { view, identity, strangeSinceMs: undefined };
  }

  #compare(nowMs: number): void {
    const roster = this.#roster;
    if (roster === undefined) return;
    for (const [number, leaf] of this.#leaves) {
      const id = leaf.identity?.participantId;
      if (number === this.#ownLeaf || (id !== undefined && roster.has(id))) {
        leaf.strangeSinceMs = undefined;
        if (id !== undefined) this.#seen.add(id);
      } else {
        leaf.strangeSinceMs ??= nowMs;
      }
    }
    // Bounded by the group: who has no leaf needs no memory.
    const ids = new Set([...this.#leaves.values()].map(({ identity }) => identity?.participantId));
    for (const id of this.#seen) if (!ids.has(id)) this.#seen.delete(id);
  }

  #standing(identity: LeafIdentity | undefined): Standing {
    if (identity === undefined || identity.statement === "") return { kind: "guest" };
    const verdict = this.#verdicts.get(verdictKey(identity));
    if (verdict?.verdict === "good") return { kind: "account", account: verdict.account };
    return { kind: "unchecked" };
  }

  #problem(
    identity: LeafIdentity | undefined,
    claimed: ReadonlyMap<string, number>,
  ): MemberProblem | undefined {
    if (identity === undefined) return "bad-credential";
    if (identity.meetingId !== this.#claims.meetingId) return "other-meeting";
    if ((claimed.get(identity.participantId) ?? 0) > 1) return "doubled";
    const bad = this.#verdicts.get(verdictKey(identity))?.verdict === "bad";
    return bad ? "bad-statement" : undefined;
  }
}

function verdictKey(check: StatementCheck): string {
  return `${bytesToHex(check.deviceKey)} ${check.statement}`;
}
