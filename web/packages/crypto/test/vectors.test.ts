// The shared vectors: what Rust writes and reads, byte for byte.
import { describe, expect, it } from "vitest";
import { frameAad, readHeader, readKid, writeHeader, writeKid } from "../src/kid";
import {
  deriveFrameKey,
  importBaseKey,
  isSuite,
  openFrame,
  Opener,
  sealFrame,
  Sealer,
} from "../src/sframe";
import { bytesToHex } from "../src/text";
import { hex, vectors } from "./bytes";
import { engine } from "./wasm";

interface Rfc {
  header: { kid: string; ctr: string; hex: string }[];
  aes_gcm: {
    suite: number;
    kid: string;
    ctr: string;
    base_key: string;
    salt: string;
    metadata: string;
    pt: string;
    ct: string;
  }[];
}

interface Ours {
  kids: { kid: number; stream: number; encoding: number; leaf: number; epoch: number }[];
  aads: {
    aad: string;
    frame_type: number;
    stream: string;
    ext0: number;
    timestamp_us: string;
    discardable: boolean;
  }[];
  epochs: {
    suite: number;
    base_key: string;
    epoch: number;
    leaf: number;
    frames: {
      stream: number;
      encoding: number;
      counter: number;
      aad: string;
      plain: string;
      sealed: string;
    }[];
  }[];
  identities: {
    meeting_id: string;
    participant_id: string;
    name: string;
    leaf_key: string;
    device_key: string;
    binding: string;
    signature: string;
    statement: string;
    credential: string;
  }[];
  meeting_codes: { authenticator: string; code: string }[];
  pair_codes: { a: string; b: string; code: string }[];
}

const rfc = vectors("sframe.json") as Rfc;
const ours = vectors("e2ee.json") as Ours;

describe("RFC 9605", () => {
  it("headers are written and read as in appendix C.1", () => {
    expect(rfc.header.length).toBeGreaterThan(200);
    for (const { kid, ctr, hex: text } of rfc.header) {
      expect(bytesToHex(writeHeader(BigInt(kid), BigInt(ctr)))).toBe(text);
      const read = readHeader(hex(text));
      expect(read).toEqual({ kid: BigInt(kid), counter: BigInt(ctr), bytes: text.length / 2 });
    }
  });

  it("frames are sealed and opened as in appendix C.3", async () => {
    expect(rfc.aes_gcm.map((one) => one.suite).toSorted()).toEqual([4, 5]);
    for (const one of rfc.aes_gcm) {
      if (!isSuite(one.suite)) throw new Error("a suite that is not ours");
      const key = await deriveFrameKey(
        one.suite,
        await importBaseKey(hex(one.base_key)),
        BigInt(one.kid),
      );
      expect(bytesToHex(key.salt)).toBe(one.salt);
      const header = writeHeader(BigInt(one.kid), BigInt(one.ctr));
      const aad = hex(one.metadata);
      const sealed = await sealFrame(key, header, BigInt(one.ctr), aad, hex(one.pt));
      expect(bytesToHex(sealed)).toBe(one.ct);
      const ciphertext = sealed.slice(header.length);
      const plain = await openFrame(key, header, BigInt(one.ctr), aad, ciphertext);
      expect(bytesToHex(plain ?? new Uint8Array())).toBe(one.pt);
    }
  });
});

describe("our formats", () => {
  it("key ids have the parts that Rust gives them", () => {
    for (const { kid, ...parts } of ours.kids) {
      expect(writeKid(parts)).toBe(kid);
      expect(readKid(kid)).toEqual(parts);
    }
  });

  it("the additional data is what Rust authenticates", () => {
    for (const one of ours.aads) {
      const aad = frameAad(
        one.frame_type,
        hex(one.stream),
        one.ext0,
        BigInt(one.timestamp_us),
        one.discardable,
      );
      expect(bytesToHex(aad)).toBe(one.aad);
    }
  });

  it("frames of an epoch are sealed as Rust seals them, and opened", async () => {
    for (const one of ours.epochs) {
      if (!isSuite(one.suite)) throw new Error("a suite that is not ours");
      const keys = {
        group: 1,
        epoch: one.epoch,
        leaf: one.leaf,
        id: "epoch",
        baseKey: await importBaseKey(hex(one.base_key)),
        senders: new Map([[one.leaf, "someone"]]),
      };
      const sealer = new Sealer(one.suite);
      sealer.setEpoch(keys);
      const opener = new Opener(one.suite);
      opener.addEpoch(keys, 0);
      for (const { stream, encoding, aad, plain, sealed, counter } of one.frames) {
        const bytes = await sealer.seal(stream, encoding, hex(aad), hex(plain));
        expect(bytesToHex(bytes)).toBe(sealed);
        const opened = await opener.open(hex(aad), bytes, 0);
        expect(opened).toMatchObject({ ok: true, stream, encoding, counter, leaf: one.leaf });
        expect(bytesToHex(opened.ok ? opened.plain : new Uint8Array())).toBe(plain);
      }
    }
  });

  it("a credential binds a leaf key as Rust does it", () => {
    for (const one of ours.identities) {
      const claims = {
        meetingId: one.meeting_id,
        participantId: one.participant_id,
        name: one.name,
      };
      const leafKey = { publicKey: hex(one.leaf_key), free: () => undefined };
      expect(bytesToHex(engine.bindingBytes(claims, leafKey))).toBe(one.binding);
      const deviceKey = hex(one.device_key);
      const made = engine.credential(claims, deviceKey, hex(one.signature), one.statement);
      expect(bytesToHex(made)).toBe(one.credential);
      const read = engine.readCredential(made, leafKey.publicKey);
      expect(read).toEqual({ ...claims, deviceKey, statement: one.statement });
      const other = hex(one.leaf_key);
      other[0] = (other[0] ?? 0) ^ 1;
      expect(() => engine.readCredential(made, other)).toThrow("did not sign");
    }
  });

  it("people read the same codes as with the Rust client", () => {
    for (const { authenticator, code } of ours.meeting_codes) {
      expect(engine.meetingCode(hex(authenticator))).toBe(code);
    }
    for (const { a, b, code } of ours.pair_codes) {
      expect(engine.pairCode(hex(a), hex(b))).toBe(code);
      expect(engine.pairCode(hex(b), hex(a))).toBe(code);
    }
  });
});
