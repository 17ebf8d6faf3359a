// Pictures of a track on their way to the worker, each handed over as it comes.
// Chromium has a stream of them; elsewhere a hidden video element is read.
//
// That stream could itself be handed to the worker, and must not: pictures that
// leave before the worker has taken over are copied, their originals stay open
// until the garbage collector comes by, and two of them are enough for Chromium
// to capture no more.
import type { ToWorker, VideoKind } from "./messages";

/** Where nothing is painted (a hidden page) no callback comes: look this often. */
const HIDDEN_INTERVAL_MS = 200;

interface TrackProcessor {
  readonly readable: ReadableStream<VideoFrame>;
}
type TrackProcessorConstructor = new (init: {
  track: MediaStreamTrack;
  maxBufferSize?: number;
}) => TrackProcessor;

type Post = (message: ToWorker, transfer?: Transferable[]) => void;

/** Begins to send the track's pictures; gives what ends it. */
export function startVideo(kind: VideoKind, track: MediaStreamTrack, post: Post): () => void {
  const Processor = trackProcessor();
  const stop =
    Processor === undefined
      ? readElement(kind, track, post)
      : readProcessor(Processor, kind, track, post);
  return () => {
    stop();
    post({ type: "video-stopped", kind });
  };
}

function readProcessor(
  Processor: TrackProcessorConstructor,
  kind: VideoKind,
  track: MediaStreamTrack,
  post: Post,
): () => void {
  // A clone, so that it can be ended here without ending the page's preview.
  const clone = track.clone();
  const reader = new Processor({ track: clone, maxBufferSize: 2 }).readable.getReader();
  let stopped = false;
  const read = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      if (stopped) value.close();
      else post({ type: "frame", kind, frame: value }, [value]);
    }
  };
  // Whoever watches the track tells when it ends by itself.
  read().catch(() => undefined);
  const stop = () => {
    globalThis.removeEventListener("pagehide", stop);
    stopped = true;
    clone.stop();
    reader.cancel().catch(() => undefined);
  };
  // What is open when the page goes counts against the page that comes.
  globalThis.addEventListener("pagehide", stop);
  return stop;
}

function trackProcessor(): TrackProcessorConstructor | undefined {
  const found: unknown = Reflect.get(globalThis, "MediaStreamTrackProcessor");
  return typeof found === "function" ? (found as TrackProcessorConstructor) : undefined;
}

function readElement(kind: VideoKind, track: MediaStreamTrack, post: Post): () => void {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  video.play().catch(() => undefined);
  let stopped = false;
  let lastTaken = 0;
  const grab = () => {
    if (stopped || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    lastTaken = performance.now();
    const frame = new VideoFrame(video, { timestamp: Math.round(lastTaken * 1000) });
    post({ type: "frame", kind, frame }, [frame]);
  };
  const next = () => {
    video.requestVideoFrameCallback(() => {
      grab();
      if (!stopped) next();
    });
  };
  next();
  const timer = setInterval(() => {
    if (performance.now() - lastTaken > HIDDEN_INTERVAL_MS) grab();
  }, HIDDEN_INTERVAL_MS);
  return () => {
    stopped = true;
    clearInterval(timer);
    video.srcObject = null;
  };
}
