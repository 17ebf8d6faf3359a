import { describe, expect, it } from "vitest";
import { PlayoutBuffer } from "../src/rules/playout-buffer";

const QUANTUM = 128;
const BLOCK = 960;

/** A tone that goes on from block to block. */
class Tone {
  #at = 0;
  block(length = BLOCK): Float32Array {
    return Float32Array.from(
      { length },
      () => Math.sin((2 * Math.PI * 440 * this.#at++) / 48_000) * 0.5,
    );
  }
}

/** Runs buffer and sender with clocks of their own; gives what was heard. */
function run(
  buffer: PlayoutBuffer,
  seconds: number,
  arrival: (block: number) => number | undefined,
): Float32Array {
  const tone = new Tone();
  const out = new Float32Array(Math.floor((seconds * 48_000) / QUANTUM) * QUANTUM);
  const pending: { at: number; samples: Float32Array }[] = [];
  for (let block = 0; block < seconds * 60; block++) {
    const at = arrival(block);
    const samples = tone.block();
    if (at !== undefined) pending.push({ at, samples });
  }
  pending.sort((a, b) => a.at - b.at);
  for (let from = 0; from < out.length; from += QUANTUM) {
    while (pending[0] !== undefined && pending[0].at <= from / 48)
      buffer.push(pending.shift()?.samples ?? out);
    buffer.pull(out.subarray(from, from + QUANTUM));
  }
  return out;
}

function largestStep(of: Float32Array): number {
  let step = 0;
  for (let i = 1; i < of.length; i++)
    step = Math.max(step, Math.abs((of[i] ?? 0) - (of[i - 1] ?? 0)));
  return step;
}

describe("the playout buffer", () => {
  it("starts with 40 ms and plays an even stream without concealing anything", () => {
    const buffer = new PlayoutBuffer();
    const out = run(buffer, 3, (block) => block * 20);
    const stats = buffer.report();
    expect(stats.concealedMs).toBe(0);
    expect(stats.underruns).toBe(0);
    expect(out.findIndex((sample) => sample !== 0) / 48).toBeLessThan(45);
    expect(stats.peakMax).toBeCloseTo(0.5, 1);
    expect(stats.onsets).toBe(1);
  });

  it("has no clicks in an even stream", () => {
    const out = run(new PlayoutBuffer(), 3, (block) => block * 20);
    expect(largestStep(out)).toBeLessThan(0.04);
  });

  it("grows when sound comes late and then plays on undisturbed", () => {
    const buffer = new PlayoutBuffer();
    run(buffer, 8, (block) => block * 20 + (block % 7 === 3 ? 70 : 0) + 5);
    const stats = buffer.report();
    expect(stats.targetMs).toBeGreaterThan(40);
    expect(stats.underruns).toBeLessThan(8);
    expect(stats.targetMs).toBeLessThanOrEqual(240);
  });

  it.each([0.998, 1.002])("follows a sender whose clock runs at %f", (rate) => {
    const buffer = new PlayoutBuffer();
    run(buffer, 30, (block) => (block * 20) / rate);
    const stats = buffer.report();
    expect(stats.concealedMs).toBeLessThan(100);
    expect(stats.bufferMs).toBeLessThan(140);
  });

  it("fades to silence when nothing comes any more, without a click", () => {
    const buffer = new PlayoutBuffer();
    const out = run(buffer, 2, (block) => (block < 50 ? block * 20 : undefined));
    expect(Math.max(...out.subarray(48_000 * 1.3))).toBe(0);
    expect(largestStep(out.subarray(48_000 * 0.9))).toBeLessThan(0.3);
    expect(buffer.report().underruns).toBe(0);
  });

  it("hides a lost packet", () => {
    const buffer = new PlayoutBuffer();
    const tone = new Tone();
    const out = new Float32Array(QUANTUM);
    for (let block = 0; block < 100; block++) {
      const samples = tone.block();
      if (block === 50) buffer.conceal(BLOCK);
      else buffer.push(samples);
      for (let i = 0; i < 7; i++) buffer.pull(out);
      if (block % 2 === 0) buffer.pull(out);
    }
    expect(buffer.report().concealedMs).toBe(20);
    expect(buffer.report().underruns).toBe(0);
  });

  it("skips to the newest when far too much came", () => {
    const buffer = new PlayoutBuffer();
    const tone = new Tone();
    for (let block = 0; block < 500; block++) buffer.push(tone.block());
    expect(buffer.report().bufferMs).toBeLessThanOrEqual(600);
    buffer.pull(new Float32Array(QUANTUM));
    expect(buffer.report().bufferMs).toBeLessThanOrEqual(60);
  });

  it("counts beeps", () => {
    const buffer = new PlayoutBuffer();
    const tone = new Tone();
    const out = new Float32Array(960);
    for (let block = 0; block < 100; block++) {
      const beep = block % 25 < 5;
      const samples = tone.block();
      buffer.push(beep ? samples : new Float32Array(BLOCK));
      buffer.pull(out);
    }
    expect(buffer.report().onsets).toBe(4);
  });
});
