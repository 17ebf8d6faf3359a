// How loud a microphone is, about 20 times a second, for a meter. The caller
// draws; nothing here is reactive. Works on a clone, so that the track's other
// users and its mute state are left alone.

/** Quieter than this (dBFS) is an empty bar, louder than the top a full one. */
const FLOOR_DB = -60;
const TOP_DB = -12;
const INTERVAL_MS = 50;

/** 0 to 1 for the largest sample of a moment. */
export function barOf(peak: number): number {
  if (peak <= 0) return 0;
  const db = 20 * Math.log10(peak);
  return Math.min(1, Math.max(0, (db - FLOOR_DB) / (TOP_DB - FLOOR_DB)));
}

/** Chromium's; not in the type library yet. */
declare const MediaStreamTrackProcessor: new (init: { track: MediaStreamTrack }) => {
  readonly readable: ReadableStream<AudioData>;
};

/**
 * Calls `onLevel` (0 to 1) until the returned function is called. Levels fall
 * slowly and rise at once, as on any meter.
 */
export function watchLevel(track: MediaStreamTrack, onLevel: (level: number) => void): () => void {
  const clone = track.clone();
  clone.enabled = true;
  let shown = 0;
  const show = (peak: number): void => {
    shown = Math.max(barOf(peak), shown * 0.8);
    onLevel(shown < 0.01 ? 0 : shown);
  };
  const stop =
    "MediaStreamTrackProcessor" in globalThis ? readFrames(clone, show) : readGraph(clone, show);
  return () => {
    stop();
    clone.stop();
    onLevel(0);
  };
}

/**
 * Chromium: an AudioContext stays silent before the first key or click, which a
 * person arriving by a link has not made; the track's own samples do not.
 */
function readFrames(track: MediaStreamTrack, show: (peak: number) => void): () => void {
  const processor = new MediaStreamTrackProcessor({ track });
  const reader = processor.readable.getReader();
  let samples = new Float32Array(0);
  let peak = 0;
  const read = async (): Promise<void> => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      if (samples.length < value.numberOfFrames) samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      peak = Math.max(peak, peakOf(samples.subarray(0, value.numberOfFrames)));
      value.close();
    }
  };
  // A reader that fails leaves an empty meter; the device's own state says why.
  read().catch(() => undefined);
  const timer = setInterval(() => {
    show(peak);
    peak = 0;
  }, INTERVAL_MS);
  return () => {
    clearInterval(timer);
    reader.cancel().catch(() => undefined);
  };
}

/** Firefox, which lets a page that records play and measure at once. */
function readGraph(track: MediaStreamTrack, show: (peak: number) => void): () => void {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 2048 });
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    show(peakOf(samples));
  }, INTERVAL_MS);
  return () => {
    clearInterval(timer);
    context.close().catch(() => undefined);
  };
}

function peakOf(samples: Float32Array): number {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return peak;
}
