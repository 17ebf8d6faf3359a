// Whose device is known: an account's devices over many meetings, a guest's for
// as long as this page is open. A device that is new for somebody who is known
// is flagged until the person says that they compared the codes.
import type { KeyHolder } from "@darktower/media";
import type { Store } from "../app/storage";

const STORE_KEY = "darktower.known-devices";
/** Accounts remembered; who was not met for longest goes first. */
const ACCOUNTS_MAX = 500;
/** Devices of one account; the oldest go. */
const DEVICES_MAX = 8;
/** A SHA-256 in base64url is 43 letters; nothing longer is taken from storage. */
const THUMBPRINT_LENGTH_MAX = 64;

type Accounts = ReadonlyMap<string, readonly string[]>;

/** Who somebody is, to oneself. */
function keyOf(holder: KeyHolder): string {
  return holder.account === null
    ? `guest ${holder.participantId}`
    : `account ${holder.account.issuer} ${holder.account.subject}`;
}

export class KnownDevices {
  readonly #store: Store;
  #accounts: Accounts;
  readonly #guests = new Map<string, readonly string[]>();

  constructor(store: Store) {
    this.#store = store;
    this.#accounts = parse(store.getItem(STORE_KEY));
  }

  /** Whose device is another than one knew; who was not known is from now on. */
  meet(holders: readonly KeyHolder[]): ReadonlySet<string> {
    const flagged = new Set<string>();
    for (const holder of holders) {
      // Who can't even name a device is told about elsewhere.
      if (holder.self || holder.deviceThumbprint === "") continue;
      const known = this.#devicesOf(holder);
      if (known === undefined) this.accept(holder);
      else if (!known.includes(holder.deviceThumbprint)) flagged.add(holder.participantId);
    }
    return flagged;
  }

  /** The person made sure that this device is theirs. */
  accept(holder: KeyHolder): void {
    const before = this.#devicesOf(holder) ?? [];
    if (before.includes(holder.deviceThumbprint)) return;
    const devices = [...before, holder.deviceThumbprint].slice(-DEVICES_MAX);
    if (holder.account === null) {
      this.#guests.set(keyOf(holder), devices);
      return;
    }
    const accounts = new Map(this.#accounts);
    accounts.delete(keyOf(holder));
    accounts.set(keyOf(holder), devices);
    this.#accounts = new Map([...accounts].slice(-ACCOUNTS_MAX));
    this.#store.setItem(STORE_KEY, JSON.stringify([...this.#accounts]));
  }

  #devicesOf(holder: KeyHolder): readonly string[] | undefined {
    return (holder.account === null ? this.#guests : this.#accounts).get(keyOf(holder));
  }
}

/** What is stored may be anything: what does not fit is left out. */
function parse(stored: string | null): Accounts {
  const accounts = new Map<string, readonly string[]>();
  if (stored === null) return accounts;
  try {
    const value: unknown = JSON.parse(stored);
    if (!Array.isArray(value)) return accounts;
    for (const entry of value.slice(-ACCOUNTS_MAX) as unknown[]) {
      const [account, devices] = Array.isArray(entry) ? (entry as unknown[]) : [];
      if (typeof account !== "string" || !Array.isArray(devices)) continue;
      const fitting = (devices as unknown[]).filter(
        (one): one is string => typeof one === "string" && one.length <= THUMBPRINT_LENGTH_MAX,
      );
      if (fitting.length > 0) accounts.set(account, fitting.slice(-DEVICES_MAX));
    }
  } catch {
    // As if nobody had been met.
  }
  return accounts;
}
