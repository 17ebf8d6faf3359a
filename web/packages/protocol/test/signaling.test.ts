// The shared signaling vectors: each message's bytes and its JSON form.
import { readFileSync } from "node:fs";
import { fromBinary, toBinary, toJson, type DescMessage, type JsonValue } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  ClientMessageSchema,
  FramingDecoder,
  MediaClientMessageSchema,
  MediaServerMessageSchema,
  ProtocolError,
  ServerMessageSchema,
  readMediaServerMessage,
  readServerMessage,
} from "../src";

interface Vectors {
  framing: { name: string; hex: string; payloads: string[] }[];
  refused: { name: string; hex: string; type: string }[];
  vectors: { name: string; type: string; hex: string; json: JsonValue }[];
}

const path = new URL("../../../../proto/vectors/signaling.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors;
const bytes = (hex: string) =>
  Uint8Array.from(hex.match(/../g) ?? [], (b) => Number.parseInt(b, 16));
const hex = (of: Uint8Array) => Array.from(of, (b) => b.toString(16).padStart(2, "0")).join("");

const SCHEMAS: Readonly<Record<string, DescMessage>> = {
  ClientMessage: ClientMessageSchema,
  ServerMessage: ServerMessageSchema,
  MediaClientMessage: MediaClientMessageSchema,
  MediaServerMessage: MediaServerMessageSchema,
};

describe("signaling vectors", () => {
  it.each(vectors.vectors)("$name", (vector) => {
    const schema = SCHEMAS[vector.type];
    if (schema === undefined) throw new Error(`no schema for ${vector.type}`);
    const message = fromBinary(schema, bytes(vector.hex));
    expect(toJson(schema, message)).toEqual(vector.json);
    expect(hex(toBinary(schema, message))).toBe(vector.hex);
    if (vector.type === "ServerMessage") expect(readServerMessage(bytes(vector.hex))).toBeDefined();
    if (vector.type === "MediaServerMessage") {
      expect(readMediaServerMessage(bytes(vector.hex))).toBeDefined();
    }
  });

  it.each(vectors.framing)("framing: $name", (vector) => {
    const decoder = new FramingDecoder();
    decoder.push(bytes(vector.hex));
    const seen: string[] = [];
    for (let next = decoder.next(); next !== undefined; next = decoder.next())
      seen.push(hex(next.bytes));
    expect(seen).toEqual(vector.payloads);
  });

  it.each(vectors.refused)("refused: $name", (vector) => {
    if (vector.type === "stream") {
      const decoder = new FramingDecoder();
      decoder.push(bytes(vector.hex));
      expect(() => decoder.next()).toThrow(ProtocolError);
      return;
    }
    // What a server refuses is the same for both directions, but for a body
    // that is not known, which a client passes over.
    let outcome: unknown;
    try {
      outcome = readServerMessage(bytes(vector.hex));
    } catch (error) {
      outcome = error;
    }
    if (vector.name === "no_body") expect(outcome).toBeUndefined();
    else expect(outcome).toBeInstanceOf(ProtocolError);
  });
});
