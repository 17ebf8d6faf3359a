// Bytes of the vectors, which stand there as hexadecimal text.
import { readFileSync } from "node:fs";

export function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
}

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** A file of `proto/vectors`. */
export function vectors(name: string): unknown {
  const url = new URL(`../../../../proto/vectors/${name}`, import.meta.url);
  return JSON.parse(readFileSync(url, "utf8"));
}
