// What the auth controller says of a device: a JWS that names the account behind
// a device key, checked against the controller's public keys (JWKS). Driven by
// the crypto worker, which fetches the keys. The meeting controller has no part
// in it, so that it can't swap people.
import type { Account } from "./messages";
import { base64UrlToBytes, bytesToBase64Url } from "./text";

const TYPE = "dt-device+jwt";
/** A credential of 4 KiB carries it, among others. */
const STATEMENT_CHARS_MAX = 4096;
const JWKS_CHARS_MAX = 64 * 1024;
const NAME_CHARS_MAX = 256;
/** How far the clocks of this device and the server may be apart. */
const CLOCK_SKEW_SECONDS = 300;

export type StatementVerdict =
  | { readonly verdict: "good"; readonly account: Account }
  /** Signed by a key that is not among these: ask for them anew. */
  | { readonly verdict: "unknown-key" }
  | { readonly verdict: "bad"; readonly reason: string };

/** SHA-256 of a device key, base64url: how statements name it. */
export async function thumbprint(deviceKey: Uint8Array<ArrayBuffer>): Promise<string> {
  return bytesToBase64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", deviceKey)));
}

/**
 * @param jws the statement of a credential
 * @param jwks the text of `/.well-known/jwks.json`
 * @param deviceKey the device key of the same credential
 */
export async function verifyStatement(
  jws: string,
  jwks: string,
  deviceKey: Uint8Array<ArrayBuffer>,
  nowMs: number,
): Promise<StatementVerdict> {
  if (jws.length > STATEMENT_CHARS_MAX) return bad("too long");
  const [head, body, tail, ...more] = jws.split(".");
  if (head === undefined || body === undefined || tail === undefined || more.length > 0) {
    return bad("not a JWS");
  }
  const header = readJson(head);
  const claims = readJson(body);
  const signature = base64UrlToBytes(tail);
  if (header === undefined || claims === undefined || signature === undefined) {
    return bad("not a JWS");
  }
  if (header["alg"] !== "EdDSA" || header["typ"] !== TYPE || "crit" in header) {
    return bad("not a statement of a device");
  }
  const keys = readKeys(jwks).filter((key) => key.kid === header["kid"]);
  if (keys.length === 0) return { verdict: "unknown-key" };
  const signed = new TextEncoder().encode(`${head}.${body}`);
  if (!(await anySigned(keys, signature, signed))) return bad("the signature is not good");

  const { iss, sub, name, exp, iat, thumbprint: named } = claims;
  const nowSeconds = nowMs / 1000;
  if (typeof exp !== "number" || exp + CLOCK_SKEW_SECONDS < nowSeconds) return bad("expired");
  if (typeof iat !== "number" || iat - CLOCK_SKEW_SECONDS > nowSeconds) {
    return bad("of the future");
  }
  if (named !== (await thumbprint(deviceKey))) return bad("of another device");
  if (typeof iss !== "string" || typeof sub !== "string" || sub === "") return bad("no account");
  if (typeof name !== "string" || name.length > NAME_CHARS_MAX) return bad("no name");
  return { verdict: "good", account: { issuer: iss, subject: sub, name } };
}

function bad(reason: string): StatementVerdict {
  return { verdict: "bad", reason };
}

function readJson(part: string): Record<string, unknown> | undefined {
  const bytes = base64UrlToBytes(part);
  if (bytes === undefined) return undefined;
  return parseObject(new TextDecoder().decode(bytes));
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

interface Ed25519Jwk {
  readonly kid: unknown;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function readKeys(jwks: string): Ed25519Jwk[] {
  if (jwks.length > JWKS_CHARS_MAX) return [];
  const list = parseObject(jwks)?.["keys"];
  if (!Array.isArray(list)) return [];
  const keys: Ed25519Jwk[] = [];
  for (const key of list as unknown[]) {
    if (!isObject(key) || key["kty"] !== "OKP" || key["crv"] !== "Ed25519") continue;
    const bytes = typeof key["x"] === "string" ? base64UrlToBytes(key["x"]) : undefined;
    if (bytes?.length === 32) keys.push({ kid: key["kid"], bytes });
  }
  return keys;
}

async function anySigned(
  keys: readonly Ed25519Jwk[],
  signature: Uint8Array<ArrayBuffer>,
  signed: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  for (const { bytes } of keys) {
    try {
      const key = await crypto.subtle.importKey("raw", bytes, "Ed25519", false, ["verify"]);
      if (await crypto.subtle.verify("Ed25519", key, signature, signed)) return true;
    } catch {
      // Not a point of the curve: no key.
    }
  }
  return false;
}
