// The jitter buffer of one participant's sound: samples in as they arrive, samples
// out as the sound card asks. It starts with 40 ms, grows when sound comes too
// late and shrinks when it has long been in time, follows the sender's clock by
// playing a little faster or slower, and hides what is missing. No clock of its
// own: time is the samples that were pulled.

const RATE = 48_000;
const ms = (milliseconds: number) => Math.round((RATE * milliseconds) / 1000);

const CAPACITY = ms(600);
const TARGET_START = ms(40);
const TARGET_MIN = ms(30);
const TARGET_MAX = ms(240);
const TARGET_STEP = ms(20);
/** Above the target by more than this: skip, rather than play faster for long. */
const EXCESS = ms(160);
/** Sound that comes so soon after an underrun was late; later it is a new phrase. */
const LATE = ms(250);
/** In time for so long: the target shrinks a step. */
const CALM = ms(6000);
/** Samples repeated to hide a gap, and over how long they fade. */
const REPEAT = ms(10);
const FADE = ms(60);
const FADE_IN = ms(4);
/** Less than the target, but nothing more came for so long: play it. */
const REST = ms(60);

export interface PlayoutStats {
  /** Largest sample since the last call. */
  readonly peak: number;
  readonly peakMax: number;
  readonly onsets: number;
  readonly bufferMs: number;
  readonly targetMs: number;
  readonly playedMs: number;
  readonly concealedMs: number;
  readonly underruns: number;
}

/** Rises above this after {@link QUIET} of less than half of it: an onset. */
const ONSET_LEVEL = 0.01;
const QUIET = ms(100);

export class PlayoutBuffer {
  readonly #ring = new Float32Array(CAPACITY);
  /** Samples written and read since the start; the read position may lie between two. */
  #written = 0;
  #read = 0;
  #playing = false;
  #target = TARGET_START;
  #smoothed = TARGET_START;
  /** Samples pulled since the start: the clock. */
  #now = 0;
  #underrunAt: number | undefined;
  #lastPushAt = 0;
  #calmSince = 0;
  readonly #tail = new Float32Array(REPEAT);
  #tailAt = FADE;
  #fadeIn = 0;
  #peak = 0;
  #peakMax = 0;
  #onsets = 0;
  #quiet = QUIET;
  #played = 0;
  #concealed = 0;
  #underruns = 0;

  /** Samples that can be played. */
  get #level(): number {
    return this.#written - this.#read;
  }

  /** Takes samples of 48 kHz; what is above 600 ms pushes out the oldest. */
  push(samples: Float32Array): void {
    if (this.#underrunAt !== undefined) {
      if (this.#now - this.#underrunAt < LATE) {
        this.#target = Math.min(TARGET_MAX, this.#target + TARGET_STEP);
        this.#underruns += 1;
      }
      this.#underrunAt = undefined;
      this.#calmSince = this.#now;
    }
    this.#lastPushAt = this.#now;
    for (const sample of samples) {
      this.#ring[this.#written % CAPACITY] = sample;
      this.#written += 1;
    }
    if (this.#level > CAPACITY - 2) this.#read = this.#written - this.#target;
  }

  /** Makes up `count` samples (at most 120 ms) that were lost between others. */
  conceal(count: number): void {
    const made = new Float32Array(Math.min(count, ms(120)));
    for (let i = 0; i < made.length; i++) {
      const back = this.#written - REPEAT + (i % REPEAT);
      const sample = back < 0 ? 0 : (this.#ring[back % CAPACITY] ?? 0);
      made[i] = sample * Math.max(0, 1 - i / FADE);
    }
    this.#concealed += made.length;
    this.push(made);
  }

  /** Fills `out` with the next samples, silence included. */
  pull(out: Float32Array): void {
    if (!this.#playing && this.#mayStart()) this.#start();
    if (this.#playing) this.#play(out);
    else this.#hide(out, 0);
    this.#now += out.length;
    this.#measure(out);
    this.#relax();
  }

  /** Statistics; the peak begins anew. */
  report(): PlayoutStats {
    const peak = this.#peak;
    this.#peak = 0;
    const toMs = (samples: number) => Math.round((samples * 1000) / RATE);
    return {
      peak,
      peakMax: this.#peakMax,
      onsets: this.#onsets,
      bufferMs: toMs(this.#level),
      targetMs: toMs(this.#target),
      playedMs: toMs(this.#played),
      concealedMs: toMs(this.#concealed),
      underruns: this.#underruns,
    };
  }

  #mayStart(): boolean {
    if (this.#level >= this.#target) return true;
    return this.#level > 1 && this.#now - this.#lastPushAt > REST;
  }

  #start(): void {
    this.#playing = true;
    this.#smoothed = this.#level;
    this.#fadeIn = 0;
  }

  #play(out: Float32Array): void {
    const excess = this.#level - this.#target;
    if (excess > EXCESS) {
      this.#read = this.#written - this.#target;
      this.#smoothed = this.#target;
      this.#fadeIn = 0;
    }
    this.#smoothed += (this.#level - this.#smoothed) * 0.01;
    const speed = speedFor(this.#smoothed - this.#target);
    for (let i = 0; i < out.length; i++) {
      const at = Math.floor(this.#read);
      if (at + 1 >= this.#written) {
        this.#underrun();
        this.#hide(out, i);
        return;
      }
      const a = this.#ring[at % CAPACITY] ?? 0;
      const b = this.#ring[(at + 1) % CAPACITY] ?? 0;
      let sample = a + (b - a) * (this.#read - at);
      if (this.#fadeIn < FADE_IN) sample *= this.#fadeIn++ / FADE_IN;
      out[i] = sample;
      this.#read += speed;
      this.#played += 1;
    }
  }

  #underrun(): void {
    this.#playing = false;
    this.#underrunAt = this.#now;
    this.#tailAt = 0;
    for (let i = 0; i < REPEAT; i++) {
      const back = this.#written - REPEAT + i;
      this.#tail[i] = back < 0 ? 0 : (this.#ring[back % CAPACITY] ?? 0);
    }
  }

  /** Repeats the last sound, fading, then silence. */
  #hide(out: Float32Array, from: number): void {
    for (let i = from; i < out.length; i++) {
      if (this.#tailAt >= FADE) {
        out.fill(0, i);
        return;
      }
      out[i] = (this.#tail[this.#tailAt % REPEAT] ?? 0) * (1 - this.#tailAt / FADE);
      this.#tailAt += 1;
      this.#concealed += 1;
    }
  }

  #measure(out: Float32Array): void {
    let peak = 0;
    for (const sample of out) peak = Math.max(peak, Math.abs(sample));
    this.#peak = Math.max(this.#peak, peak);
    this.#peakMax = Math.max(this.#peakMax, peak);
    if (peak < ONSET_LEVEL / 2) {
      this.#quiet += out.length;
    } else if (peak >= ONSET_LEVEL) {
      if (this.#quiet >= QUIET) this.#onsets += 1;
      this.#quiet = 0;
    }
  }

  #relax(): void {
    if (!this.#playing || this.#now - this.#calmSince < CALM) return;
    this.#calmSince = this.#now;
    this.#target = Math.max(TARGET_MIN, this.#target - TARGET_STEP / 2);
  }
}

/** How fast to play with so many samples more than wanted (or fewer). */
function speedFor(excess: number): number {
  if (Math.abs(excess) < ms(8)) return 1;
  const share = excess / RATE;
  return 1 + Math.max(-0.01, Math.min(0.03, share * 0.25));
}
