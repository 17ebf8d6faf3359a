// End-to-end encryption of media: frames are sealed and opened with the keys that
// the crypto worker sends, and signaling's messages of the group are passed to it
// and back. What people are shown of it goes to the page. Keys stay in here.
import {
  Opener,
  Sealer,
  frameAad,
  type EpochKeys,
  type FromCrypto,
  type GroupView,
  type OpenError,
  type Suite,
  type ToCrypto,
} from "@darktower/crypto";
import {
  uuidToBytes,
  type E2eeEntry,
  type Extension,
  type FrameType,
  type Mls,
} from "@darktower/protocol";
import type { EncryptionState, EncryptionStats, Position, StreamId } from "@darktower/session";
import { Behind } from "../rules/behind";
import type { Opened } from "../rules/turn-queue";

/** Messages kept for a crypto worker that is not there yet. */
const UNSENT_MAX = 256;

/** What a frame says of itself that must arrive unchanged. */
export interface FrameFacts {
  readonly frameType: FrameType;
  readonly streamId: StreamId;
  readonly timestamp: bigint;
  readonly extension: Pick<Extension, "encoding" | "temporalLayer">;
  readonly discardable: boolean;
}

/** Why a frame could not be opened, and whether that is anybody's fault. */
export interface OpenFailure {
  readonly cause: string;
  /** It was meant for us and should have been opened. */
  readonly counts: boolean;
  /** Its epoch has not begun here. */
  readonly newer?: true;
}

export interface EncryptionEvents {
  /** What can be sealed and opened changed; `added`: somebody new holds the keys. */
  keys(added: boolean): void;
  send(id: number, mls: Mls): void;
  position(position: Position | undefined): void;
  shown(state: EncryptionState): void;
  unsupported(message: string): void;
}

const FRAME_TYPES: Readonly<Record<FrameType, 0 | 1 | 2>> = { audio: 0, key: 1, delta: 2 };

const FAILURES: Readonly<Record<OpenError, OpenFailure>> = {
  "newer-epoch": { cause: "frame whose key did not come", counts: true, newer: true },
  "older-than-join": { cause: "frame of before the join", counts: false },
  "unknown-epoch": { cause: "frame of a forgotten key", counts: true },
  // A second copy by another path is no fault.
  replayed: { cause: "frame seen before", counts: false },
  untrusted: { cause: "frame of somebody who is not trusted", counts: true },
  forged: { cause: "forged frame", counts: true },
  malformed: { cause: "malformed sealed frame", counts: true },
};
/** Keys or trust may be on their way. */
const WORTH_HOLDING: ReadonlySet<OpenError> = new Set(["newer-epoch", "untrusted"]);
const NO_KEYS: OpenFailure = { cause: "frame before the first key", counts: false };
// The last of who left, mostly: it was not even tried.
const NO_OWNER: OpenFailure = { cause: "frame of nobody's stream", counts: false };
const WRONG_OWNER: OpenFailure = { cause: "frame sealed by somebody else", counts: true };

export class Encryption {
  /** Frames are sealed and must be; it is never taken back. */
  required = false;
  readonly #events: EncryptionEvents;
  #port: MessagePort | undefined;
  #unsent: ToCrypto[] = [];
  #suite: Suite | undefined;
  #sealer: Sealer | undefined;
  #opener: Opener | undefined;
  /** The epoch in force. */
  #keys: EpochKeys | undefined;
  #view: GroupView | undefined;
  readonly #behind = new Behind();
  #sealed = 0;
  #opened = 0;
  #openedMs = 0;
  #failed = 0;

  constructor(events: EncryptionEvents) {
    this.#events = events;
  }

  /** Frames may be sent: they need no sealing, or there is a key to do it with. */
  get ready(): boolean {
    return !this.required || this.#keys !== undefined;
  }

  /** The way to the crypto worker, once there is one. */
  connect(port: MessagePort): void {
    this.#port = port;
    port.onmessage = (event: MessageEvent<FromCrypto>) => {
      this.#take(event.data);
    };
    for (const message of this.#unsent.splice(0)) port.postMessage(message);
  }

  /** Told to the crypto worker, or kept until there is one. */
  tell(message: ToCrypto): void {
    if (this.#port !== undefined) this.#port.postMessage(message);
    else if (this.#unsent.length < UNSENT_MAX) this.#unsent.push(message);
  }

  /** A session of an encrypted meeting began. */
  seated(seat: Omit<Extract<ToCrypto, { type: "seated" }>, "type" | "entry">, entry: E2eeEntry) {
    this.required = true;
    this.#behind.setAway(false);
    this.tell({ type: "seated", ...seat, entry });
    this.#show();
  }

  /** Signaling is gone, and will be back. */
  sessionLost(): void {
    this.#behind.setAway(true);
    this.tell({ type: "session-lost" });
  }

  close(): void {
    this.tell({ type: "end" });
    this.#keys = undefined;
    this.#sealer = undefined;
    this.#opener = undefined;
  }

  // ---- frames ---------------------------------------------------------------

  /**
   * Seals a payload with the epoch in force at this moment.
   * @throws when there is no key: it must not be sent then
   */
  async seal(
    streamNumber: number,
    facts: FrameFacts,
    payload: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#sealer === undefined || this.#keys === undefined) throw new Error("no key yet");
    this.#sealed += 1;
    return this.#sealer.seal(streamNumber, facts.extension.encoding, aadOf(facts), payload);
  }

  /**
   * Opens a payload. `owner` is the participant whose stream it is, undefined
   * while that is not known, `streamNumber` the one that was announced for it.
   */
  async open(
    facts: FrameFacts,
    payload: Uint8Array,
    owner: { readonly participantId: string; readonly streamNumber: number } | undefined,
  ): Promise<Opened<OpenFailure>> {
    const opener = this.#opener;
    if (opener === undefined) return { type: "later", failure: NO_KEYS };
    // Asked first: a frame can be opened only once.
    if (owner === undefined) return { type: "later", failure: NO_OWNER };
    const began = performance.now();
    // What arrives is in no shared memory; the wire's types do not say so.
    const sealed = payload as Uint8Array<ArrayBuffer>;
    const opened = await opener.open(aadOf(facts), sealed, began);
    if (!opened.ok) {
      const failure = FAILURES[opened.error];
      return { type: WORTH_HOLDING.has(opened.error) ? "later" : "failed", failure };
    }
    const rightful =
      opened.participantId === owner.participantId &&
      opened.stream === owner.streamNumber &&
      opened.encoding === facts.extension.encoding;
    if (!rightful) return { type: "failed", failure: WRONG_OWNER };
    this.#behind.opened();
    this.#opened += 1;
    this.#openedMs += performance.now() - began;
    return { type: "plain", plain: opened.plain };
  }

  /** A frame came to nothing for good. */
  countFailure({ newer }: Pick<OpenFailure, "newer">): void {
    this.#failed += 1;
    if (newer && this.#behind.inVain(performance.now())) this.tell({ type: "behind" });
  }

  stats(): EncryptionStats | null {
    if (!this.required) return null;
    const keys = this.#keys;
    return {
      suite: this.#suite ?? 4,
      group: keys?.group ?? 0,
      epoch: keys?.epoch ?? 0,
      leaf: keys?.leaf ?? null,
      sealed: this.#sealed,
      opened: this.#opened,
      decryptFailures: this.#failed,
      openMs: this.#opened === 0 ? 0 : this.#openedMs / this.#opened,
    };
  }

  // ---- the crypto worker ----------------------------------------------------

  #take(message: FromCrypto): void {
    switch (message.type) {
      case "ready":
        return;
      case "unsupported":
        this.#events.unsupported(message.message);
        return;
      case "send":
        this.#events.send(message.id, message.mls);
        return;
      case "position":
        this.#events.position(message.position ?? undefined);
        if (message.position === null) this.#lose();
        return;
      case "epoch":
        this.#begin(message.suite, message.keys, message.added);
        return;
      case "senders":
        this.#opener?.setSenders(message.id, message.senders);
        this.#events.keys(false);
        return;
      case "view":
        this.#view = message.view;
        this.#show();
    }
  }

  #begin(suite: Suite, keys: EpochKeys, added: boolean): void {
    if (this.#sealer === undefined || this.#opener === undefined) {
      this.#suite = suite;
      this.#sealer = new Sealer(suite);
      this.#opener = new Opener(suite);
    }
    this.#keys = keys;
    this.#opener.addEpoch(keys, performance.now());
    this.#sealer.setEpoch(keys);
    this.#show();
    this.#events.keys(added);
  }

  /** Out of the group: nothing can be sealed until there is an epoch again. */
  #lose(): void {
    if (this.#keys === undefined) return;
    this.#keys = undefined;
    this.#sealer?.clear();
    this.#show();
    this.#events.keys(false);
  }

  #show(): void {
    const [suite, view] = [this.#suite, this.#view];
    if (!this.required) return;
    if (suite === undefined || view === undefined || this.#keys === undefined) {
      this.#events.shown({ kind: "waiting" });
    } else {
      this.#events.shown({ kind: "end-to-end", suite, view });
    }
  }
}

function aadOf(facts: FrameFacts): Uint8Array<ArrayBuffer> {
  const { encoding, temporalLayer } = facts.extension;
  return frameAad(
    FRAME_TYPES[facts.frameType],
    uuidToBytes(facts.streamId),
    (encoding << 4) | temporalLayer,
    facts.timestamp,
    facts.discardable,
  );
}
