// Capture, codecs, jitter buffer and canvas in a real browser, without a server:
// what the worker sends comes back to its own sinks.
import { Sound } from "../src/sound";
import { startVideo } from "../src/video-capture";

const worker = new Worker(new URL("./worker/loopback.ts", import.meta.url), { type: "module" });
worker.onerror = (event) => {
  console.error("worker:", event.message);
};
const post = (message: unknown, transfer: Transferable[] = []) => {
  worker.postMessage(message, transfer);
};

async function start(): Promise<void> {
  const media = await navigator.mediaDevices.getUserMedia({
    video: { width: 320, height: 180, frameRate: 15 },
    audio: true,
  });
  const canvas = document.querySelector("canvas");
  const offscreen = canvas?.transferControlToOffscreen();
  if (offscreen === undefined) throw new Error("no canvas");
  post({ type: "canvas", canvas: offscreen }, [offscreen]);
  const sound = new Sound(post);
  sound.resume();
  sound.setMicrophone(media.getAudioTracks()[0] ?? null);
  const video = media.getVideoTracks()[0];
  if (video !== undefined) startVideo("camera", video, post);
}

function stats(): Promise<unknown> {
  return new Promise((resolve) => {
    worker.onmessage = (event: MessageEvent<unknown>) => {
      resolve(event.data);
    };
    post({ type: "stats" });
  });
}

function carrier(name: string): void {
  post({ type: "carrier", carrier: name });
}

Object.assign(globalThis, { loopback: { start, stats, carrier } });
