// Drives one participant's group: messages of the media worker go in, one after
// another, and what the session wants done is done. Owns the WebAssembly module
// and the device key. Base keys leave here as keys that can't be read out.
import { DeviceKey } from "../device-key";
import { openDeviceStore } from "../device-store";
import { WasmEngine } from "../engine";
import init from "../gen/darktower_crypto_wasm";
import { GroupSession } from "../group-session";
import type { GroupEffect, Outcome, RawEpochKeys } from "../group-state";
import type { GroupMember, StatementCheck } from "../members";
import type { Alarm, AnswerOutcome, FromCrypto, KeyHolder, ToCrypto } from "../messages";
import { importBaseKey } from "../sframe";
import { thumbprint, type StatementVerdict } from "../statement";
import { bytesToHex } from "../text";
import { Jwks } from "./jwks";
import { rehearsal } from "./rehearsal";

interface Tools {
  readonly engine: WasmEngine;
  readonly device: DeviceKey;
}

type Seated = Extract<ToCrypto, { type: "seated" }>;

interface Seat {
  /** Meeting, participant and name: another credential for another. */
  readonly of: string;
  readonly session: GroupSession;
  members: readonly GroupMember[];
  code: string;
  alarms: readonly Alarm[];
}

const OUTCOMES: Record<AnswerOutcome["type"], Outcome | undefined> = {
  ack: "ack",
  conflict: "conflict",
  error: "refused",
  // The session says so for all at once.
  lost: undefined,
};

export class Driver {
  readonly #port: MessagePort;
  readonly #jwks: Jwks;
  #tools: Promise<Tools> | undefined;
  #seat: Seat | undefined;
  #statement = "";
  #position = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The end of what is being done: inputs wait for it. */
  #tail: Promise<void> = Promise.resolve();
  #broken = false;
  #rehearsed = false;
  readonly #thumbprints = new Map<string, string>();

  constructor(port: MessagePort, origin: string) {
    this.#port = port;
    this.#jwks = new Jwks(origin);
  }

  start(): void {
    this.#port.onmessage = (event: MessageEvent<ToCrypto>) => {
      this.#enqueue(() => this.#take(event.data));
    };
  }

  #enqueue(run: () => Promise<void>): void {
    this.#tail = this.#tail.then(async () => {
      if (this.#broken) return;
      try {
        await run();
      } catch (error) {
        // Refusals are dealt with below: this is the module, or WebCrypto.
        this.#broken = true;
        clearTimeout(this.#timer);
        this.#post({ type: "unsupported", message: String(error) });
      }
    });
  }

  async #take(message: ToCrypto): Promise<void> {
    switch (message.type) {
      case "warm": {
        const { device } = await this.#ready();
        const deviceThumbprint = await thumbprint(device.publicKey);
        this.#post({ type: "ready", deviceThumbprint });
        await this.#rehearse();
        return;
      }
      case "statement":
        this.#statement = message.statement;
        return;
      case "seated":
        await this.#seated(message);
        return;
      case "end":
        this.#end();
        return;
      default:
    }
    await this.#tell((session, nowMs) => {
      switch (message.type) {
        case "entry":
          session.handleEntry(message.entry, nowMs);
          return;
        case "mls":
          session.handleMls(message.mls, nowMs);
          return;
        case "answer": {
          const outcome = OUTCOMES[message.outcome.type];
          if (outcome !== undefined) session.handleAnswer(message.id, outcome, nowMs);
          return;
        }
        case "session-lost":
          session.handleDisconnected();
          return;
        case "roster":
          session.handleRoster(message.participantIds, nowMs);
          return;
        case "behind":
          session.handleBehind(nowMs);
          return;
        case "rotate":
          session.rotate();
      }
    });
  }

  /** Once, and only while there is nothing else to do: each step lets messages pass. */
  async #rehearse(): Promise<void> {
    if (this.#rehearsed) return;
    this.#rehearsed = true;
    const { engine, device } = await this.#ready();
    const steps = rehearsal(engine, device);
    const next = async (): Promise<void> => {
      const over = this.#seat !== undefined || (await steps.next()).done === true;
      if (over) await steps.return();
      else setTimeout(() => this.#enqueue(next));
    };
    await next();
  }

  async #seated(seated: Seated): Promise<void> {
    const { engine, device } = await this.#ready();
    const { meetingId, participantId, name } = seated;
    const of = JSON.stringify([meetingId, participantId, name]);
    if (this.#seat?.of !== of) {
      this.#end();
      const statement = this.#statement;
      const claims = { meetingId, participantId, name };
      const session = new GroupSession(engine, claims, { publicKey: device.publicKey, statement });
      this.#seat = { of, session, members: [], code: "", alarms: [] };
    }
    await this.#tell((session, nowMs) => {
      session.handleRoster(seated.participantIds, nowMs);
      session.handleEntry(seated.entry, nowMs);
    });
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#seat?.session.close();
    this.#seat = undefined;
    this.#tellPosition();
  }

  /** Does something with the session, and what comes of it. */
  async #tell(run: (session: GroupSession, nowMs: number) => void): Promise<void> {
    const seat = this.#seat;
    if (seat === undefined) return;
    run(seat.session, performance.now());
    let shown = false;
    for (;;) {
      const effect = seat.session.effects.shift();
      if (effect === undefined) break;
      shown = (await this.#do(seat, effect)) || shown;
    }
    this.#tellPosition();
    if (shown) await this.#show(seat);
    clearTimeout(this.#timer);
    const nowMs = performance.now();
    const due = seat.session.due(nowMs);
    if (due !== undefined) {
      const timeout = () => this.#enqueue(() => this.#tell((s, now) => s.handleTimeout(now)));
      this.#timer = setTimeout(timeout, Math.max(0, due - nowMs));
    }
    seat.session.lookAhead();
  }

  /** True when people are to be shown something new. */
  async #do(seat: Seat, effect: GroupEffect): Promise<boolean> {
    switch (effect.type) {
      case "sign": {
        const { device } = await this.#ready();
        const signature = await device.sign(effect.bytes);
        seat.session.handleSigned(effect.id, signature, performance.now());
        return false;
      }
      case "send":
        this.#post({ type: "send", id: effect.request, mls: effect.message });
        return false;
      case "keys":
        await this.#giveOut(effect.keys);
        return true;
      case "senders":
        this.#post({ type: "senders", id: effect.id, senders: effect.senders });
        return true;
      case "lost":
        // The position says it.
        return true;
      case "members":
        seat.members = effect.members;
        return true;
      case "code":
        seat.code = effect.code;
        return true;
      case "alarms":
        seat.alarms = effect.alarms;
        return true;
      case "check":
        this.#check(seat, effect.check);
        return false;
    }
  }

  async #giveOut(raw: RawEpochKeys): Promise<void> {
    const { suite, group, epoch, leaf, id, senders, added } = raw;
    const baseKey = await importBaseKey(raw.baseKey);
    raw.baseKey.fill(0);
    const keys = { group, epoch, leaf, id, baseKey, senders };
    this.#post({ type: "epoch", suite, keys, added });
  }

  /** Beside everything else: the answer may be long in coming. */
  #check(seat: Seat, check: StatementCheck): void {
    void this.#jwks.check(check).then((verdict: StatementVerdict | undefined) => {
      if (verdict === undefined) return;
      this.#enqueue(() =>
        this.#tell((session, nowMs) => {
          if (session === seat.session) session.handleVerdict(check, verdict, nowMs);
        }),
      );
    });
  }

  /** Said when it changes, before anything that belongs to it is sent. */
  #tellPosition(): void {
    const position = this.#seat?.session.offer().position;
    const text = position === undefined ? "" : `${position.group} ${position.epoch}`;
    if (text === this.#position) return;
    this.#position = text;
    this.#post({ type: "position", position: position ?? null });
  }

  async #show(seat: Seat): Promise<void> {
    const position = seat.session.offer().position;
    if (position === undefined) return;
    const { engine, device } = await this.#ready();
    const holders: KeyHolder[] = [];
    for (const member of seat.members) {
      const { leaf, participantId, name, self, deviceKey, standing } = member;
      holders.push({
        leaf,
        participantId,
        name,
        self,
        account: standing.kind === "account" ? standing.account : null,
        deviceThumbprint: deviceKey === undefined ? "" : await this.#thumbprint(deviceKey),
        pairCode:
          deviceKey === undefined || self ? "" : engine.pairCode(device.publicKey, deviceKey),
      });
    }
    const known = new Set(seat.members.map(({ deviceKey }) => deviceKey && bytesToHex(deviceKey)));
    for (const key of this.#thumbprints.keys()) if (!known.has(key)) this.#thumbprints.delete(key);
    const { code, alarms } = seat;
    this.#post({ type: "view", view: { position, meetingCode: code, holders, alarms } });
  }

  async #thumbprint(deviceKey: Uint8Array<ArrayBuffer>): Promise<string> {
    const key = bytesToHex(deviceKey);
    let known = this.#thumbprints.get(key);
    if (known === undefined) {
      known = await thumbprint(deviceKey);
      this.#thumbprints.set(key, known);
    }
    return known;
  }

  #ready(): Promise<Tools> {
    this.#tools ??= Promise.all([
      init(),
      openDeviceStore().then((store) => DeviceKey.open(store)),
    ]).then(([, device]) => ({ engine: new WasmEngine(), device }));
    return this.#tools;
  }

  #post(message: FromCrypto): void {
    this.#port.postMessage(message);
  }
}
