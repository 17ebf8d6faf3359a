// Whether this browser can hold a meeting at all: what the SDK can't do without.

export function browserSupported(): boolean {
  return (
    "WebTransport" in globalThis &&
    "VideoDecoder" in globalThis &&
    "AudioDecoder" in globalThis &&
    "AudioWorkletNode" in globalThis &&
    "OffscreenCanvas" in globalThis &&
    "transferControlToOffscreen" in HTMLCanvasElement.prototype
  );
}
