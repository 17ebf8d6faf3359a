// The long-lived key of this device. It is WebCrypto's and can't be read out, by
// us neither. Owned by the crypto worker.
import type { DeviceStore } from "./device-store";

const KEY_NAME = "signing";

/** An Ed25519 key that signs for this device. */
export class DeviceKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** False when it ends with the page. */
  readonly lasting: boolean;
  readonly #privateKey: CryptoKey;

  private constructor(publicKey: Uint8Array<ArrayBuffer>, privateKey: CryptoKey, lasting: boolean) {
    this.publicKey = publicKey;
    this.#privateKey = privateKey;
    this.lasting = lasting;
  }

  /** The device's key, made when there is none. */
  static async open(store: DeviceStore): Promise<DeviceKey> {
    let lasting = store.lasting;
    let pair = await stored(store);
    if (pair === undefined) {
      const made = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
      try {
        const kept = await store.putFirst(KEY_NAME, made);
        pair = isPair(kept) ? kept : made;
        lasting = lasting && isPair(kept);
      } catch {
        // Not to be stored: a key for this session alone.
        pair = made;
        lasting = false;
      }
    }
    const publicKey = await crypto.subtle.exportKey("raw", pair.publicKey);
    return new DeviceKey(new Uint8Array(publicKey), pair.privateKey, lasting);
  }

  /** 64 bytes. */
  async sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.#privateKey, bytes));
  }
}

async function stored(store: DeviceStore): Promise<CryptoKeyPair | undefined> {
  try {
    const found = await store.get(KEY_NAME);
    return isPair(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

function isPair(value: unknown): value is CryptoKeyPair {
  return (
    typeof value === "object" &&
    value !== null &&
    "privateKey" in value &&
    "publicKey" in value &&
    value.privateKey instanceof CryptoKey &&
    value.publicKey instanceof CryptoKey
  );
}
