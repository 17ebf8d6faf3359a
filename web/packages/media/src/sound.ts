// The page's part of sound: one audio context with the worklets of capture and
// playout, whose ports go to the worker. No sample passes through the page.
import { AUDIO_RATE } from "./audio-messages";
import type { ToWorker } from "./messages";
import workletUrl from "./worklet/audio.ts?worker&url";

type Post = (message: ToWorker, transfer?: Transferable[]) => void;

/** Not in every browser (nor in every type library) yet. */
interface SinkSelecting {
  setSinkId(deviceId: string): Promise<void>;
}

export class Sound {
  readonly #post: Post;
  #context: AudioContext | undefined;
  #ready: Promise<AudioWorkletNode> | undefined;
  #source: MediaStreamAudioSourceNode | undefined;
  #microphone: MediaStreamTrack | null = null;
  #wanted = false;
  readonly #onBlocked: (blocked: boolean) => void;
  readonly #onGesture = () => {
    this.#context?.resume().catch(() => undefined);
  };

  /** `onBlocked` tells when sound is wanted and the browser waits for a gesture. */
  constructor(post: Post, onBlocked: (blocked: boolean) => void = () => undefined) {
    this.#post = post;
    this.#onBlocked = onBlocked;
  }

  /** "running" once sound is heard; browsers wait for a gesture. */
  get state(): string {
    return this.#context?.state ?? "none";
  }

  /** Loads the worklets; sound begins with {@link resume}. */
  prepare(): void {
    if (this.#ready !== undefined) return;
    const context = new AudioContext({ sampleRate: AUDIO_RATE, latencyHint: "interactive" });
    this.#context = context;
    context.onstatechange = () => {
      this.#watchGesture();
    };
    this.#ready = this.#load(context);
    this.#ready.catch(() => undefined);
  }

  /** Best in a user's gesture; else sound begins with the next one. */
  resume(): void {
    this.prepare();
    this.#wanted = true;
    this.#context?.resume().catch(() => undefined);
    this.#watchGesture();
  }

  setMicrophone(track: MediaStreamTrack | null): void {
    this.prepare();
    this.#microphone = track;
    void this.#connect();
  }

  /** False where the browser cannot choose. */
  async setSpeaker(deviceId: string): Promise<boolean> {
    this.prepare();
    const context: unknown = this.#context;
    if (!selectsSink(context)) return false;
    await context.setSinkId(deviceId);
    return true;
  }

  close(): void {
    this.#microphone = null;
    this.#wanted = false;
    this.#watchGesture();
    this.#source?.disconnect();
    this.#context?.close().catch(() => undefined);
  }

  /** A page that was reloaded into its seat has had no gesture yet. */
  #watchGesture(): void {
    const blocked = this.#wanted && this.#context?.state === "suspended";
    for (const type of ["pointerdown", "keydown"] as const) {
      if (blocked) globalThis.addEventListener(type, this.#onGesture);
      else globalThis.removeEventListener(type, this.#onGesture);
    }
    this.#onBlocked(blocked);
  }

  async #load(context: AudioContext): Promise<AudioWorkletNode> {
    await context.audioWorklet.addModule(workletUrl);
    const capture = new AudioWorkletNode(context, "darktower-capture", {
      numberOfInputs: 1,
      numberOfOutputs: 1,
    });
    // Its output is silence; connected, because a node that leads nowhere may
    // not be run.
    capture.connect(context.destination);
    const playout = new AudioWorkletNode(context, "darktower-playout", {
      numberOfInputs: 0,
      numberOfOutputs: 1,
      outputChannelCount: [1],
    });
    playout.connect(context.destination);
    const up = new MessageChannel();
    const down = new MessageChannel();
    capture.port.postMessage(up.port1, [up.port1]);
    playout.port.postMessage(down.port1, [down.port1]);
    this.#post({ type: "sound", capture: up.port2, playout: down.port2 }, [up.port2, down.port2]);
    return capture;
  }

  async #connect(): Promise<void> {
    const capture = await this.#ready?.catch(() => undefined);
    const context = this.#context;
    this.#source?.disconnect();
    this.#source = undefined;
    const track = this.#microphone;
    if (track === null || capture === undefined || context === undefined) return;
    if (context.state === "closed") return;
    this.#source = context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(capture);
    // A page that captures may play without a gesture.
    if (this.#wanted) this.#onGesture();
  }
}

function selectsSink(context: unknown): context is SinkSelecting {
  return typeof context === "object" && context !== null && "setSinkId" in context;
}
