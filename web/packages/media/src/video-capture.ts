// Pictures of a track on their way to the worker. Chromium hands over a stream
// of them once; elsewhere a hidden video element is read picture by picture.
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

const processors = new Set<TrackProcessor>();

type Post = (message: ToWorker, transfer?: Transferable[]) => void;

/** Begins to send the track's pictures; gives what ends it. */
export function startVideo(kind: VideoKind, track: MediaStreamTrack, post: Post): () => void {
  const Processor = trackProcessor();
  if (Processor !== undefined) {
    // A clone, so that it can be ended here without ending the page's preview.
    const clone = track.clone();
    const processor = new Processor({ track: clone, maxBufferSize: 2 });
    const { readable } = processor;
    post({ type: "video-source", kind, readable }, [readable]);
    // Nothing else holds the processor, and with it the pictures would end.
    processors.add(processor);
    return () => {
      processors.delete(processor);
      clone.stop();
      post({ type: "video-stopped", kind });
    };
  }
  const stop = readElement(kind, track, post);
  return () => {
    stop();
    post({ type: "video-stopped", kind });
  };
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
