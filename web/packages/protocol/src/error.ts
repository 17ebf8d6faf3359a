// The one error that parsers of this package throw: whatever a peer sends, the
// caller has to catch nothing else.

/** Bytes of a peer break the rules of the wire. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}
