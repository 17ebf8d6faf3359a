// Statements of the auth controller about devices, and the device's own key.
import { beforeAll, describe, expect, it } from "vitest";
import { DeviceKey } from "../src/device-key";
import { MemoryStore, openDeviceStore } from "../src/device-store";
import { thumbprint, verifyStatement } from "../src/statement";
import { bytesToBase64Url } from "../src/text";
import { utf8 } from "./bytes";

const NOW_MS = 1_800_000_000_000;
const NOW = NOW_MS / 1000;
const DEVICE = new Uint8Array(32).fill(7);

let issuerKey: CryptoKeyPair;
let jwks: string;

beforeAll(async () => {
  issuerKey = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const { x } = await crypto.subtle.exportKey("jwk", issuerKey.publicKey);
  const other = bytesToBase64Url(new Uint8Array(32).fill(1));
  jwks = JSON.stringify({
    keys: [
      { kty: "RSA", kid: "one", n: "…" },
      { kty: "OKP", crv: "Ed25519", kid: "zero", x: other },
      { kty: "OKP", crv: "Ed25519", kid: "one", x },
    ],
  });
});

async function statement(
  changes: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const encode = (part: Record<string, unknown>) => bytesToBase64Url(utf8(JSON.stringify(part)));
  const head = encode({ alg: "EdDSA", typ: "dt-device+jwt", kid: "one", ...header });
  const claims = { iss: "https://dt", sub: "7", name: "Bob", iat: NOW, exp: NOW + 60 };
  const body = encode({ ...claims, thumbprint: await thumbprint(DEVICE), ...changes });
  const signed = utf8(`${head}.${body}`);
  const signature = await crypto.subtle.sign("Ed25519", issuerKey.privateKey, signed);
  return `${head}.${body}.${bytesToBase64Url(new Uint8Array(signature))}`;
}

function verdict(jws: string, keys = jwks, device = DEVICE) {
  return verifyStatement(jws, keys, device, NOW_MS);
}

describe("verifyStatement", () => {
  it("a good statement names the account", async () => {
    expect(await verdict(await statement())).toEqual({
      verdict: "good",
      account: { issuer: "https://dt", subject: "7", name: "Bob" },
    });
  });

  it("one of another device, of another kind, expired or not yet made is bad", async () => {
    const cases = [
      statement({ exp: NOW - 600 }),
      statement({ iat: NOW + 600 }),
      statement({ exp: undefined }),
      statement({ thumbprint: "other" }),
      statement({ sub: "" }),
      statement({ sub: 7 }),
      statement({ name: null }),
      statement({}, { typ: "JWT" }),
      statement({}, { alg: "none" }),
      statement({}, { crit: ["b64"] }),
    ];
    for (const jws of await Promise.all(cases)) {
      expect((await verdict(jws)).verdict).toBe("bad");
    }
    const other = new Uint8Array(32).fill(8);
    expect((await verdict(await statement(), jwks, other)).verdict).toBe("bad");
  });

  it("a changed byte makes it bad", async () => {
    const jws = await statement();
    for (const at of [5, jws.indexOf(".") + 5, jws.length - 5]) {
      const changed = jws.slice(0, at) + (jws[at] === "A" ? "B" : "A") + jws.slice(at + 1);
      expect((await verdict(changed)).verdict).not.toBe("good");
    }
  });

  it("text that is no JWS is bad, and keys that can't be read are no keys", async () => {
    for (const jws of ["", "a.b", "a.b.c.d", "!.!.!", "e30.e30.e30", "x".repeat(5000)]) {
      expect((await verdict(jws)).verdict).toBe("bad");
    }
    for (const keys of ["", "[]", "{}", '{"keys":7}', '{"keys":[null,{"kid":"one"}]}']) {
      expect(await verdict(await statement(), keys)).toEqual({ verdict: "unknown-key" });
    }
  });

  it("one signed by a key that is not there asks for newer keys", async () => {
    expect(await verdict(await statement({}, { kid: "two" }))).toEqual({ verdict: "unknown-key" });
    expect((await verdict(await statement({}, { kid: "zero" }))).verdict).toBe("bad");
  });
});

describe("DeviceKey", () => {
  it("is made once and signs from then on", async () => {
    const store = new MemoryStore();
    const [first, second] = await Promise.all([DeviceKey.open(store), DeviceKey.open(store)]);
    expect(second.publicKey).toEqual(first.publicKey);
    const bytes = utf8("binding");
    const key = await crypto.subtle.importKey("raw", first.publicKey, "Ed25519", false, ["verify"]);
    const signature = await second.sign(bytes);
    expect(await crypto.subtle.verify("Ed25519", key, signature, bytes)).toBe(true);
  });

  it("can't be read out of the store", async () => {
    const store = new MemoryStore();
    await DeviceKey.open(store);
    const pair = (await store.get("signing")) as CryptoKeyPair;
    expect(pair.privateKey.extractable).toBe(false);
  });

  it("where nothing can be stored there is one for this session", async () => {
    const store = await openDeviceStore();
    expect(store.lasting).toBe(false);
    const refuse = () => Promise.reject(new Error("the disk is full"));
    const key = await DeviceKey.open({ lasting: true, get: refuse, putFirst: refuse });
    expect(key.lasting).toBe(false);
    expect(key.publicKey).toHaveLength(32);
  });
});
