// Meetings for web pages: HTTP API, the types of the SDK, and the rules of a
// signaling session. The worker of @darktower/media drives the rules.
export * from "./api";
export * from "./assignments";
export * from "./backoff";
export { CloseCode } from "./ending";
export type { EncryptionAbility, Position } from "./encryption";
export * from "./http";
export * from "./ids";
export { placesFrom, VIDEO_SLOTS_MAX } from "./layout";
export * from "./liveness";
export type { ParticipantRecord, StreamRecord } from "./roster";
export type { Publication, PublishedLayer } from "./publication";
export type { EncodingOrder, MediaServer } from "./read";
export type { SeatPhase } from "./seat";
export * from "./signaling";
