// The wire of Dark Tower for TypeScript: protobuf messages and their framing,
// media headers, cutting frames and putting them together. Bytes and their
// meaning only: sockets, clocks and browsers are absent.
export * from "./bytes";
export * from "./continuity";
export * from "./envelope";
export * from "./error";
export * from "./fragment";
export * from "./framing";
export * from "./group";
export * from "./headers";
export * from "./reassemble";
export * from "./socket";
export * from "./uuid";
export * from "./gen/darktower/v1/signaling_pb";
export * from "./gen/darktower/v1/e2ee_pb";
export * from "./gen/darktower/v1/media_pb";
