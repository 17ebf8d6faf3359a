// What the audio worklets and the worker say to each other.
import type { PlayoutStats } from "./rules/playout-buffer";

/** From the capture worklet: 20 ms of mono sound at 48 kHz. */
export type FromCapture = Float32Array<ArrayBuffer>;

export type ToPlayout =
  | { readonly type: "pcm"; readonly source: number; readonly samples: Float32Array<ArrayBuffer> }
  /** So many samples were lost before those that come next. */
  | { readonly type: "gap"; readonly source: number; readonly samples: number }
  | { readonly type: "remove"; readonly source: number };

export interface FromPlayout {
  readonly sources: readonly (PlayoutStats & { readonly source: number })[];
}

/** Samples of a block of sound: 20 ms at 48 kHz. */
export const AUDIO_BLOCK = 960;
export const AUDIO_RATE = 48_000;
