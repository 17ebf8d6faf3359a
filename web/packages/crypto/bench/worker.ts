// Measures in a module worker, where the app does its work too.
import init from "../src/gen/darktower_crypto_wasm";
import { WasmEngine } from "../src/engine";
import { frameAad } from "../src/kid";
import type { MlsMember } from "../src/mls";
import { importBaseKey, Opener, Sealer } from "../src/sframe";
import initController, { Controller } from "../test/gen/darktower_crypto_wasm";
import type { Ask, FrameCosts, GroupCosts } from "./messages";

const BATCHES = 200;
/** The clock of a page that is not isolated ticks every 0.1 ms. */
const BATCH = 20;
/** Of each operation on a group of each size. */
const TIMES = 9;
const MEETING = "00000000-0000-4000-8000-000000000000";

async function frames(suite: 4 | 5, bytes: number): Promise<FrameCosts> {
  const baseKey = await importBaseKey(
    crypto.getRandomValues(new Uint8Array(suite === 4 ? 16 : 32)),
  );
  const senders = new Map([[3, "someone"]]);
  const keys = { group: 1, epoch: 7, leaf: 3, id: "7", baseKey, senders };
  const sealer = new Sealer(suite);
  sealer.setEpoch(keys);
  const opener = new Opener(suite);
  opener.addEpoch(keys, 0);
  const plain = crypto.getRandomValues(new Uint8Array(bytes));
  const aad = frameAad(2, new Uint8Array(16), 0, 0n, false);
  const seal: number[] = [];
  const open: number[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const sealed: Uint8Array<ArrayBuffer>[] = [];
    const began = performance.now();
    for (let i = 0; i < BATCH; i++) sealed.push(await sealer.seal(1, 0, aad, plain));
    const between = performance.now();
    for (const frame of sealed) {
      if (!(await opener.open(aad, frame, 0)).ok) throw new Error("a frame was not opened");
    }
    const ended = performance.now();
    seal.push((between - began) / BATCH);
    open.push((ended - between) / BATCH);
  }
  return { suite, seal, open };
}

class Crowd {
  readonly engine = new WasmEngine();
  readonly controller = new Controller();
  readonly #setup = {
    groupId: new Uint8Array(20),
    externalSender: this.controller.publicKey,
  };
  readonly #device = crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  #count = 0;
  size = 0;

  /** A leaf key with its credential. */
  async newcomer() {
    const device = await this.#device;
    const deviceKey = new Uint8Array(await crypto.subtle.exportKey("raw", device.publicKey));
    const leafKey = this.engine.newLeafKey();
    this.#count += 1;
    const claims = { meetingId: MEETING, participantId: `${this.#count}`, name: "Somebody" };
    const bytes = this.engine.bindingBytes(claims, leafKey);
    const signature = await crypto.subtle.sign("Ed25519", device.privateKey, bytes);
    const made = new Uint8Array(signature);
    return { leafKey, credential: this.engine.credential(claims, deviceKey, made, "") };
  }

  async found(): Promise<MlsMember> {
    const { leafKey, credential } = await this.newcomer();
    const { member, groupInfo } = this.engine.found(leafKey, credential, this.#setup);
    this.controller.found(this.#setup.groupId, groupInfo);
    this.size = 1;
    return member;
  }

  async enter() {
    const { leafKey, credential } = await this.newcomer();
    const groupInfo = this.controller.groupInfo();
    const began = performance.now();
    const { member, commit } = this.engine.enter(leafKey, credential, this.#setup, groupInfo);
    const ms = performance.now() - began;
    this.controller.apply(commit.commit, commit.groupInfo);
    member.handleCommit(commit.commit);
    this.size += 1;
    return { member, commit: commit.commit, ms };
  }

  async candidate() {
    const { leafKey, credential } = await this.newcomer();
    return this.engine.candidate(leafKey, credential);
  }

  join(candidate: { join: (welcome: Uint8Array, setup: never) => MlsMember }, welcome: Uint8Array) {
    return candidate.join(welcome, this.#setup as never);
  }
}

function timed<T>(into: number[], run: () => T): T {
  const began = performance.now();
  const result = run();
  into.push(performance.now() - began);
  return result;
}

/** `a` commits, `b` follows: both stand for everybody. */
async function groups(sizes: readonly number[]): Promise<GroupCosts[]> {
  await Promise.all([init(), initController()]);
  const crowd = new Crowd();
  const a = await crowd.found();
  const second = await crowd.enter();
  a.handleCommit(second.commit);
  const b = second.member;
  const costs: GroupCosts[] = [];
  for (const members of sizes) {
    while (crowd.size < members) {
      const { member, commit } = await crowd.enter();
      a.handleCommit(commit);
      b.handleCommit(commit);
      member.free();
    }
    costs.push(await operations(crowd, a, b));
  }
  return costs;
}

async function operations(crowd: Crowd, a: MlsMember, b: MlsMember): Promise<GroupCosts> {
  const enter: number[] = [];
  const add: number[] = [];
  const join: number[] = [];
  const remove: number[] = [];
  const process: number[] = [];
  const members = crowd.size;
  const commitTo = (costs: number[], proposal: Uint8Array) => {
    a.handleProposal(proposal);
    b.handleProposal(proposal);
    const commit = timed(costs, () => a.commit());
    crowd.controller.apply(commit.commit, commit.groupInfo);
    a.handleCommit(commit.commit);
    timed(process, () => b.handleCommit(commit.commit));
    return commit;
  };
  for (let time = 0; time < TIMES; time++) {
    const candidate = await crowd.candidate();
    const { welcome } = commitTo(add, crowd.controller.proposeAdd(candidate.keyPackage));
    if (welcome === undefined) throw new Error("who is added gets a Welcome");
    const added = timed(join, () => crowd.join(candidate, welcome));
    commitTo(remove, crowd.controller.proposeRemove(added.ownLeaf));
    added.free();

    const entered = await crowd.enter();
    enter.push(entered.ms);
    a.handleCommit(entered.commit);
    timed(process, () => b.handleCommit(entered.commit));
    commitTo([], crowd.controller.proposeRemove(entered.member.ownLeaf));
    entered.member.free();
    crowd.size -= 1;
  }
  return { members, enter, add, join, remove, process };
}

self.onmessage = (event: MessageEvent<Ask>) => {
  const ask = event.data;
  const done = ask.type === "frames" ? frames(ask.suite, ask.bytes) : groups(ask.sizes);
  done.then(
    (result) => self.postMessage({ result }),
    (error: unknown) => self.postMessage({ error: String(error) }),
  );
};
