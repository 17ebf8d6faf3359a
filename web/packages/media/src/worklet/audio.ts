// The two processors of the audio thread. Capture gathers 20 ms blocks for the
// worker's encoder; playout mixes the jitter buffers of all participants. Both
// talk to the worker by a port that the page hands over, not to the page.
import { AUDIO_BLOCK, type FromPlayout, type ToPlayout } from "../audio-messages";
import { PlayoutBuffer } from "../rules/playout-buffer";

/** Participants mixed at most; sound of further ones is dropped. */
const SOURCES_MAX = 64;
const REPORT_SAMPLES = 9600;

/** The first message of the page brings the port to the worker. */
function portOf(processor: AudioWorkletProcessor, use: (port: MessagePort) => void): void {
  processor.port.onmessage = (event: MessageEvent<MessagePort>) => {
    use(event.data);
  };
}

class Capture extends AudioWorkletProcessor {
  #worker: MessagePort | undefined;
  #block = new Float32Array(AUDIO_BLOCK);
  #filled = 0;

  constructor() {
    super();
    portOf(this, (port) => (this.#worker = port));
  }

  process(inputs: Float32Array[][]): boolean {
    const channels = inputs[0] ?? [];
    const first = channels[0];
    // Without a source there is nothing to say.
    if (first === undefined) return true;
    for (let i = 0; i < first.length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i] ?? 0;
      this.#block[this.#filled++] = sum / channels.length;
      if (this.#filled === AUDIO_BLOCK) {
        this.#worker?.postMessage(this.#block, [this.#block.buffer]);
        this.#block = new Float32Array(AUDIO_BLOCK);
        this.#filled = 0;
      }
    }
    return true;
  }
}

class Playout extends AudioWorkletProcessor {
  readonly #sources = new Map<number, PlayoutBuffer>();
  #worker: MessagePort | undefined;
  #scratch = new Float32Array(128);
  #sinceReport = 0;

  constructor() {
    super();
    portOf(this, (port) => {
      this.#worker = port;
      port.onmessage = (event: MessageEvent<ToPlayout>) => {
        this.#take(event.data);
      };
    });
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const out = outputs[0]?.[0];
    if (out === undefined) return true;
    if (this.#scratch.length !== out.length) this.#scratch = new Float32Array(out.length);
    for (const buffer of this.#sources.values()) {
      buffer.pull(this.#scratch);
      for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) + (this.#scratch[i] ?? 0);
    }
    for (let i = 0; i < out.length; i++) out[i] = Math.max(-1, Math.min(1, out[i] ?? 0));
    this.#sinceReport += out.length;
    if (this.#sinceReport >= REPORT_SAMPLES) this.#report();
    return true;
  }

  #take(message: ToPlayout): void {
    if (message.type === "remove") {
      this.#sources.delete(message.source);
      return;
    }
    let buffer = this.#sources.get(message.source);
    if (buffer === undefined) {
      if (this.#sources.size >= SOURCES_MAX) return;
      buffer = new PlayoutBuffer();
      this.#sources.set(message.source, buffer);
    }
    if (message.type === "pcm") buffer.push(message.samples);
    else buffer.conceal(message.samples);
  }

  #report(): void {
    this.#sinceReport = 0;
    if (this.#sources.size === 0) return;
    const sources = [...this.#sources].map(([source, buffer]) => ({ source, ...buffer.report() }));
    this.#worker?.postMessage({ sources } satisfies FromPlayout);
  }
}

registerProcessor("darktower-capture", Capture);
registerProcessor("darktower-playout", Playout);
