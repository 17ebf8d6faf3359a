// SFrame (RFC 9605) on WebCrypto: sealing our frames and opening those of
// others with keys of the group's epochs. Driven by whoever carries media, in
// its worker. Clocks are passed in. Deliberately absent: where keys come from
// (group-session.ts), and holding frames whose epoch is still to come (hold.ts).
import { fitsKid, HEADER_BYTES_MAX, readHeader, readKid, writeHeader, writeKid } from "./kid";
import { ReplayWindow } from "./replay-window";

/** Cipher suites that a meeting may use (RFC 9605 section 4.5). */
export type Suite = 4 | 5;

export function isSuite(number: number): number is Suite {
  return number === 4 || number === 5;
}

interface SuiteFacts {
  readonly hash: "SHA-256" | "SHA-512";
  /** AEAD.Nk */
  readonly keyBytes: number;
}

const SUITES: Record<Suite, SuiteFacts> = {
  4: { hash: "SHA-256", keyBytes: 16 },
  5: { hash: "SHA-512", keyBytes: 32 },
};

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** A frame's payload is at most so long on the wire. */
const SEALED_BYTES_MAX = 4 << 20;
/** Epochs whose counters are remembered, should a commit be rolled back. */
const SEALING_EPOCHS_MAX = 4;
/** Epochs whose frames are opened. */
const OPENING_EPOCHS_MAX = 16;
/** How long an epoch is kept after the next began. */
const RETIRED_MS = 10_000;
/**
 * Keys (a stream and an encoding each) of one leaf in one epoch. Above it the
 * leaf's further streams are refused: a member can't make another's memory grow.
 */
const LEAF_KEYS_MAX = 256;
/** Keys under which nothing was opened yet; the oldest is forgotten first. */
const UNPROVED_KEYS_MAX = 64;
/** Counters are numbers here. A thousand frames a second take 285 000 years. */
const COUNTER_MAX = Number.MAX_SAFE_INTEGER - 1;

/** The keys of an epoch, as the crypto worker hands them out. */
export interface EpochKeys {
  /** Counts the groups of the meeting. */
  readonly group: number;
  /** The MLS epoch. */
  readonly epoch: number;
  /** Our leaf in it. */
  readonly leaf: number;
  /** Names this epoch and no other, also not another of the same number. */
  readonly id: string;
  /** Made by {@link importBaseKey}: its bytes can't be had back. */
  readonly baseKey: CryptoKey;
  /**
   * Whose frames are opened: the participants behind leaves whose credential is
   * good.
   */
  readonly senders: ReadonlyMap<number, string>;
}

export interface Opened {
  readonly ok: true;
  readonly plain: Uint8Array<ArrayBuffer>;
  /** The sender's number for the stream. */
  readonly stream: number;
  readonly encoding: number;
  readonly leaf: number;
  /** Who sealed it; whether the stream is theirs is for the caller to judge. */
  readonly participantId: string;
  readonly epoch: number;
  readonly counter: number;
}

export type OpenError =
  /** Sealed in an epoch that we don't have yet: worth holding for a moment. */
  | "newer-epoch"
  /** Sealed before we came: never to be opened, and no failure. */
  | "older-than-join"
  /** Sealed in an epoch that is over. */
  | "unknown-epoch"
  /** This counter was opened, or is too old to tell. */
  | "replayed"
  /** Not sealed with this key, or changed on the way. */
  | "forged"
  /** The sender's credential is not good. */
  | "untrusted"
  /** Not an SFrame of ours. */
  | "malformed";

export type OpenResult = Opened | { readonly ok: false; readonly error: OpenError };

/** Why a frame was not sealed. */
export class SealError extends Error {
  override readonly name = "SealError";
}

/** A base key as what keys are derived from. The bytes given can be wiped after. */
export async function importBaseKey(bytes: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveBits", "deriveKey"]);
}

/** Key and salt of one key id (RFC 9605 section 4.4.2). */
export interface FrameKey {
  readonly key: CryptoKey;
  readonly salt: Uint8Array<ArrayBuffer>;
}

export async function deriveFrameKey(
  suite: Suite,
  baseKey: CryptoKey,
  kid: bigint,
): Promise<FrameKey> {
  const { hash, keyBytes } = SUITES[suite];
  const params = (label: string) => ({
    name: "HKDF",
    hash,
    salt: new Uint8Array(0),
    info: labelled(label, kid, suite),
  });
  const [key, salt] = await Promise.all([
    crypto.subtle.deriveKey(
      params("SFrame 1.0 Secret key "),
      baseKey,
      { name: "AES-GCM", length: keyBytes * 8 },
      false,
      ["encrypt", "decrypt"],
    ),
    crypto.subtle.deriveBits(params("SFrame 1.0 Secret salt "), baseKey, NONCE_BYTES * 8),
  ]);
  return { key, salt: new Uint8Array(salt) };
}

function labelled(label: string, kid: bigint, suite: Suite): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(label.length + 10);
  new TextEncoder().encodeInto(label, bytes);
  const view = new DataView(bytes.buffer, label.length);
  view.setBigUint64(0, kid);
  view.setUint16(8, suite);
  return bytes;
}

function nonce(salt: Uint8Array, counter: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(salt);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(4, view.getBigUint64(4) ^ counter);
  return bytes;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}

/** Seals one frame: the header and the ciphertext with its tag. */
export async function sealFrame(
  frameKey: FrameKey,
  header: Uint8Array,
  counter: bigint,
  aad: Uint8Array,
  plain: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const ciphertext = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv: nonce(frameKey.salt, counter), additionalData: joined(header, aad) },
    frameKey.key,
    plain,
  );
  return joined(header, new Uint8Array(ciphertext));
}

/** Opens what stands after the header. Undefined when it was not sealed so. */
export async function openFrame(
  frameKey: FrameKey,
  header: Uint8Array,
  counter: bigint,
  aad: Uint8Array,
  ciphertext: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const plain = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: nonce(frameKey.salt, counter), additionalData: joined(header, aad) },
      frameKey.key,
      ciphertext,
    );
    return new Uint8Array(plain);
  } catch {
    // WebCrypto says no more than that it did not work.
    return undefined;
  }
}

interface SealingStream {
  readonly kid: bigint;
  readonly key: Promise<FrameKey>;
  counter: number;
}

interface SealingEpoch {
  readonly keys: EpochKeys;
  readonly streams: Map<number, SealingStream>;
}

/**
 * One sender's side. Counters belong to (leaf, epoch, stream, encoding), start
 * at 0 and live as long as the epoch, whatever becomes of stream objects. Keys
 * and counters are never stored.
 */
export class Sealer {
  readonly #suite: Suite;
  /** The one that is sealed in stands first. */
  #epochs: SealingEpoch[] = [];
  /** The end of the last frame of each stream, so that they come out in order. */
  readonly #tails = new Map<number, Promise<unknown>>();

  constructor(suite: Suite) {
    this.#suite = suite;
  }

  /** The epoch that is sealed in. */
  get epoch(): number | undefined {
    return this.#epochs[0]?.keys.epoch;
  }

  /**
   * Seals in this epoch from now on. Coming back to one (its commit was rolled
   * back) goes on with its counters.
   */
  setEpoch(keys: EpochKeys): void {
    const known = this.#epochs.find((epoch) => epoch.keys.id === keys.id);
    const epoch = known ?? { keys, streams: new Map<number, SealingStream>() };
    const others = this.#epochs.filter((other) => other !== epoch);
    this.#epochs = [epoch, ...others.slice(0, SEALING_EPOCHS_MAX - 1)];
  }

  /** Nothing is sealed any more until the next epoch. */
  clear(): void {
    this.#epochs = [];
  }

  /**
   * Seals a frame; the promises of one stream settle in the order of the calls.
   * A stream number must not be given to another stream within an epoch.
   */
  seal(
    stream: number,
    encoding: number,
    aad: Uint8Array,
    plain: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    let sealed: Promise<Uint8Array<ArrayBuffer>>;
    try {
      sealed = this.#seal(stream, encoding, aad, plain);
    } catch (error) {
      sealed = Promise.reject(error instanceof Error ? error : new SealError(String(error)));
    }
    const before = this.#tails.get(stream);
    if (before !== undefined) {
      const alone = sealed;
      // A frame that is ready early is not lost to one before it that fails.
      sealed = before.then(() => alone);
    }
    this.#tails.set(stream, settled(sealed));
    return sealed;
  }

  #seal(
    number: number,
    encoding: number,
    aad: Uint8Array,
    plain: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const epoch = this.#epochs[0];
    if (epoch === undefined) throw new SealError("there is no epoch to seal in");
    if (plain.length > SEALED_BYTES_MAX - HEADER_BYTES_MAX - TAG_BYTES) {
      throw new SealError("the frame is longer than the wire takes");
    }
    const stream = this.#stream(epoch, number, encoding);
    // Counted before it is used: no failure gives a counter out twice.
    const counter = stream.counter;
    if (counter > COUNTER_MAX) throw new SealError("the counter came to its end");
    stream.counter = counter + 1;
    const header = writeHeader(stream.kid, BigInt(counter));
    return stream.key.then((key) => sealFrame(key, header, BigInt(counter), aad, plain));
  }

  #stream(epoch: SealingEpoch, number: number, encoding: number): SealingStream {
    const { leaf, epoch: whole, baseKey } = epoch.keys;
    if (!fitsKid(number, encoding, leaf)) {
      throw new SealError("stream, encoding or leaf do not fit into a key id");
    }
    const kid = writeKid({ stream: number, encoding, leaf, epoch: whole % 256 });
    let stream = epoch.streams.get(kid);
    if (stream === undefined) {
      const key = deriveFrameKey(this.#suite, baseKey, BigInt(kid));
      // Whoever waits for it hears of it.
      key.catch(() => undefined);
      stream = { kid: BigInt(kid), key, counter: 0 };
      epoch.streams.set(kid, stream);
    }
    return stream;
  }
}

function settled(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    () => undefined,
  );
}

/** A key of a sender. */
interface Source {
  readonly key: Promise<FrameKey>;
  readonly window: ReplayWindow;
}

interface OpeningEpoch {
  readonly keys: EpochKeys;
  senders: ReadonlyMap<number, string>;
  /** By key id, where something was opened. */
  readonly proved: Map<number, Source>;
  /** Where nothing was; a forger can fill only this. */
  readonly unproved: Map<number, Source>;
  readonly leafKeys: Map<number, number>;
  retiredAtMs: number | undefined;
}

/** One receiver's side. */
export class Opener {
  readonly #suite: Suite;
  /** Newest last; of one number there may be two when a commit was rolled back. */
  #epochs: OpeningEpoch[] = [];
  #first = Number.POSITIVE_INFINITY;

  constructor(suite: Suite) {
    this.#suite = suite;
  }

  /** The epoch that holds now. */
  get epoch(): number | undefined {
    return this.#epochs.at(-1)?.keys.epoch;
  }

  /**
   * The epoch that holds from now on; those before it are kept for 10 s. Coming
   * back to one (its commit was rolled back) keeps what was seen in it. Another
   * group begins anew.
   */
  addEpoch(keys: EpochKeys, nowMs: number): void {
    if (this.#epochs.some((epoch) => epoch.keys.group !== keys.group)) {
      this.#epochs = [];
      this.#first = Number.POSITIVE_INFINITY;
    }
    for (const epoch of this.#epochs) epoch.retiredAtMs ??= nowMs;
    const known = this.#epochs.find((epoch) => epoch.keys.id === keys.id);
    const epoch = known ?? {
      keys,
      senders: keys.senders,
      proved: new Map<number, Source>(),
      unproved: new Map<number, Source>(),
      leafKeys: new Map<number, number>(),
      retiredAtMs: undefined,
    };
    epoch.retiredAtMs = undefined;
    epoch.senders = keys.senders;
    this.#epochs = this.#epochs.filter((other) => other !== epoch);
    this.#epochs.push(epoch);
    this.expire(nowMs);
    if (this.#epochs.length > OPENING_EPOCHS_MAX) this.#epochs.shift();
    this.#first = Math.min(this.#first, keys.epoch);
  }

  /** What became known of the present epoch's members. */
  setSenders(id: string, senders: ReadonlyMap<number, string>): void {
    const epoch = this.#epochs.find((one) => one.keys.id === id);
    if (epoch !== undefined) epoch.senders = senders;
  }

  /** Opens a frame. Settles in any order; never rejects. */
  async open(aad: Uint8Array, sealed: Uint8Array<ArrayBuffer>, nowMs: number): Promise<OpenResult> {
    this.expire(nowMs);
    if (sealed.length > SEALED_BYTES_MAX) return refused("malformed");
    const header = readHeader(sealed);
    if (header === undefined || sealed.length < header.bytes + TAG_BYTES) {
      return refused("malformed");
    }
    if (header.kid > 0xffff_ffffn || header.counter > BigInt(COUNTER_MAX)) {
      return refused("malformed");
    }
    const number = Number(header.kid);
    const kid = readKid(number);
    let why = this.#withoutEpoch(kid.epoch);
    for (const epoch of this.#epochs.toReversed()) {
      if (epoch.keys.epoch % 256 !== kid.epoch) continue;
      const participantId = epoch.senders.get(kid.leaf);
      if (participantId === undefined) {
        why = "untrusted";
        continue;
      }
      const source = this.#source(epoch, number, kid.leaf);
      const counter = Number(header.counter);
      if (source === undefined) return refused("malformed");
      if (source.window.has(counter)) {
        why = "replayed";
        continue;
      }
      const plain = await openFrame(
        await source.key,
        sealed.subarray(0, header.bytes),
        header.counter,
        aad,
        sealed.subarray(header.bytes),
      );
      if (plain === undefined) {
        why = "forged";
        continue;
      }
      const error = prove(epoch, number, kid.leaf, source, counter);
      if (error !== undefined) return refused(error);
      const { stream, encoding, leaf } = kid;
      const whole = epoch.keys.epoch;
      return { ok: true, plain, stream, encoding, leaf, participantId, epoch: whole, counter };
    }
    return refused(why);
  }

  /** Forgets epochs that are over for 10 s, with their keys. */
  expire(nowMs: number): void {
    const over = (epoch: OpeningEpoch) =>
      epoch.retiredAtMs !== undefined && nowMs - epoch.retiredAtMs >= RETIRED_MS;
    if (this.#epochs.some(over)) this.#epochs = this.#epochs.filter((epoch) => !over(epoch));
  }

  /** Undefined when the leaf has more streams than it may. */
  #source(epoch: OpeningEpoch, number: number, leaf: number): Source | undefined {
    const known = epoch.proved.get(number) ?? epoch.unproved.get(number);
    if (known !== undefined) return known;
    if ((epoch.leafKeys.get(leaf) ?? 0) >= LEAF_KEYS_MAX) return undefined;
    const key = deriveFrameKey(this.#suite, epoch.keys.baseKey, BigInt(number));
    const source = { key, window: new ReplayWindow() };
    const oldest = epoch.unproved.keys().next();
    if (epoch.unproved.size >= UNPROVED_KEYS_MAX && oldest.done !== true) {
      epoch.unproved.delete(oldest.value);
    }
    epoch.unproved.set(number, source);
    return source;
  }

  /**
   * What to say of a frame whose epoch is not here: the low 8 bits are read as
   * the nearest epoch to the present one.
   */
  #withoutEpoch(low: number): OpenError {
    const current = this.epoch;
    if (current === undefined) return "older-than-join";
    const ahead = (low - (current % 256) + 256) % 256;
    if (ahead >= 1 && ahead < 128) return "newer-epoch";
    const epoch = current - ((256 - ahead) % 256);
    return epoch >= this.#first ? "unknown-epoch" : "older-than-join";
  }
}

/**
 * Keeps the key under which something was opened, and the counter. Another frame
 * of the same bytes may have been opened meanwhile.
 */
function prove(
  epoch: OpeningEpoch,
  number: number,
  leaf: number,
  source: Source,
  counter: number,
): OpenError | undefined {
  // One that was pushed out while it was at work has a window of its own, which
  // knows nothing of the others.
  const known = epoch.proved.get(number);
  const { window } = known ?? source;
  if (window.has(counter)) return "replayed";
  if (known === undefined) {
    const keys = epoch.leafKeys.get(leaf) ?? 0;
    if (keys >= LEAF_KEYS_MAX) return "malformed";
    epoch.leafKeys.set(leaf, keys + 1);
    epoch.proved.set(number, source);
    epoch.unproved.delete(number);
  }
  window.mark(counter);
  return undefined;
}

function refused(error: OpenError): OpenResult {
  return { ok: false, error };
}
