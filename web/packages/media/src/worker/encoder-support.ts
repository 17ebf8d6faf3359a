// What this browser's codecs can do, asked ahead of the join: which codecs there
// are in both directions, which encode temporal layers, and whether the encoder
// scales pictures to its own size, as WebCodecs wants it to and not every browser
// does. Where it does the worker need not: by a canvas a picture takes it ten
// milliseconds, and the first one many times that.
import type { FourCc } from "@darktower/protocol";

export type VideoCodec = Exclude<FourCc, "opus">;

/** As WebCodecs names them: levels for 720p, and 1080p of a screen. */
export const CODEC_STRINGS: Readonly<Record<VideoCodec, string>> = {
  vp08: "vp8",
  vp09: "vp09.00.40.08",
  av01: "av01.0.08M.08",
  avc1: "avc1.42E028",
};
/** As the join names them. */
const CODEC_NAMES: Readonly<Record<VideoCodec, string>> = {
  vp08: "VP8",
  vp09: "VP9",
  av01: "AV1",
  avc1: "H264",
};
const CODECS = Object.keys(CODEC_STRINGS) as VideoCodec[];

/** Two temporal layers: what is in the upper one may be left out. */
export const TEMPORAL_MODE = "L1T2";

const PICTURE = 64;
const ENCODED = 32;
/** Of a key frame of VP8: 14 bits each (RFC 6386 section 9.1). */
const SIZE_AT = 6;

let scales = false;
let asked = false;
const layered = new Set<VideoCodec>();

/** False until it is known. */
export function encoderScales(): boolean {
  return scales;
}

/** Whether it encodes temporal layers with this codec; false until it is known. */
export function encodesLayers(codec: VideoCodec): boolean {
  return layered.has(codec);
}

export function isVideoCodec(name: string): name is VideoCodec {
  return name in CODEC_STRINGS;
}

/** Names of the codecs that are both encoded and decoded here. */
export async function askCodecs(): Promise<string[]> {
  const found = await Promise.all(
    CODECS.map(async (codec) => {
      const [encodes, decodes, layers] = await Promise.all([
        supports(VideoEncoder, encoderConfig(codec)),
        supports(VideoDecoder, { codec: CODEC_STRINGS[codec] }),
        supports(VideoEncoder, { ...encoderConfig(codec), scalabilityMode: TEMPORAL_MODE }),
      ]);
      if (layers) layered.add(codec);
      return encodes && decodes ? [CODEC_NAMES[codec]] : [];
    }),
  );
  return found.flat();
}

function encoderConfig(codec: VideoCodec): VideoEncoderConfig {
  const config = { codec: CODEC_STRINGS[codec], width: 1280, height: 720 };
  return codec === "avc1" ? { ...config, avc: { format: "annexb" } } : config;
}

async function supports<Config>(
  codec: { isConfigSupported(config: Config): Promise<{ supported?: boolean }> },
  config: Config,
): Promise<boolean> {
  try {
    return (await codec.isConfigSupported(config)).supported === true;
  } catch {
    return false;
  }
}

/** Encodes one small picture for nobody, which also starts the codec. */
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
