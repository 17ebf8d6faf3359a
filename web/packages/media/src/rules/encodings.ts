// Which sizes of a picture are encoded, and how fast each may be. Encodings are
// numbered from the smallest; each has half the sides of the next. Pure.
import { encodedSize, type Size } from "./scale";

export interface EncodingPlan extends Size {
  /** Bits per second. */
  readonly bitrate: number;
}

export interface SourceQuality {
  /** Pixels of the largest encoding at most. */
  readonly pixelsMax: number;
  /** For a picture of 1280 × 720. */
  readonly bitrate: number;
  readonly encodingsMax: number;
}

const REFERENCE_PIXELS = 1280 * 720;
/** Below this a picture of talking heads is none. */
const BITRATE_MIN = 60_000;
/** The next smaller encoding of a smaller picture than this is worth nothing. */
const HALVED_PIXELS_MIN = 320 * 180;
/** Small pictures need a little more bits a pixel. */
const BITRATE_EXPONENT = 0.95;

/** Pixels of a camera's largest encoding on a device with so many cores. */
export function cameraPixelsMax(cores: number): number {
  // Encoding 720p in software takes a good part of one, decoding others the rest.
  if (cores <= 2) return 640 * 360;
  return cores <= 4 ? 960 * 540 : REFERENCE_PIXELS;
}

/** How many encodings a picture of this size is announced with. */
export function encodingCount(captured: Size, quality: SourceQuality): number {
  const full = encodedSize(captured, quality.pixelsMax);
  let count = 1;
  let pixels = full.width * full.height;
  while (count < quality.encodingsMax && pixels >= HALVED_PIXELS_MIN) {
    count += 1;
    pixels /= 4;
  }
  return count;
}

/**
 * The encodings of a picture of this size, smallest first. Their number stays
 * while a stream is published, whatever is captured.
 */
export function planEncodings(
  captured: Size,
  quality: SourceQuality,
  count: number,
): EncodingPlan[] {
  const full = encodedSize(captured, quality.pixelsMax);
  return Array.from({ length: count }, (_, encoding) => {
    const scale = 2 ** (count - 1 - encoding);
    const size = encodedSize(
      { width: full.width / scale, height: full.height / scale },
      quality.pixelsMax,
    );
    return { ...size, bitrate: bitrateOf(size, quality) };
  });
}

function bitrateOf({ width, height }: Size, { bitrate }: SourceQuality): number {
  const share = Math.min(1, (width * height) / REFERENCE_PIXELS);
  return Math.max(BITRATE_MIN, Math.round(bitrate * share ** BITRATE_EXPONENT));
}
