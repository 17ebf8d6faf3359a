// Whether this browser's video encoder scales pictures to its own size, as
// WebCodecs wants it to and not every browser does. Where it does the worker need
// not: by a canvas a picture takes it ten milliseconds, and the first one many
// times that. Asked ahead of the join, which also starts the codec.

const PICTURE = 64;
const ENCODED = 32;
/** Of a key frame of VP8: 14 bits each (RFC 6386 section 9.1). */
const SIZE_AT = 6;

let scales = false;
let asked = false;

/** False until it is known. */
export function encoderScales(): boolean {
  return scales;
}

/** Encodes one small picture for nobody. */
export async function askEncoder(): Promise<void> {
  if (asked) return;
  asked = true;
  const encoder = new VideoEncoder({
    output: (chunk) => {
      const bytes = new Uint8Array(chunk.byteLength);
      chunk.copyTo(bytes);
      const view = new DataView(bytes.buffer);
      const size = (at: number): number => view.getUint16(at, true) & 0x3fff;
      scales = size(SIZE_AT) === ENCODED && size(SIZE_AT + 2) === ENCODED;
    },
    // Then the worker scales.
    error: () => undefined,
  });
  try {
    const frame = new VideoFrame(new Uint8Array((PICTURE * PICTURE * 3) / 2), {
      format: "I420",
      codedWidth: PICTURE,
      codedHeight: PICTURE,
      timestamp: 0,
    });
    try {
      encoder.configure({ codec: "vp8", width: ENCODED, height: ENCODED, latencyMode: "realtime" });
      encoder.encode(frame, { keyFrame: true });
      await encoder.flush();
    } finally {
      frame.close();
    }
  } catch {
    // An encoder that fails is found out by the first picture that is sent.
  }
  if (encoder.state !== "closed") encoder.close();
}
