// SFrame and the types of the crypto worker's messages. No wasm: that is loaded
// by the worker alone.
export * from "./kid";
export * from "./messages";
export * from "./sframe";
