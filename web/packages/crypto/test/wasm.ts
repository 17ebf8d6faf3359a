// The real modules in Node: what the browser runs for members, and the one with
// the controller's side for the delivery service. Built by `scripts/wasm.sh tests`.
import { readFileSync } from "node:fs";
import { initSync } from "../src/gen/darktower_crypto_wasm";
import { WasmEngine } from "../src/engine";
import { Controller, initSync as initController } from "./gen/darktower_crypto_wasm";

function module(directory: string): WebAssembly.Module {
  const url = new URL(`${directory}/gen/darktower_crypto_wasm_bg.wasm`, import.meta.url);
  return new WebAssembly.Module(readFileSync(url));
}

initSync({ module: module("../src") });
initController({ module: module(".") });

export const engine = new WasmEngine();
export { Controller };
