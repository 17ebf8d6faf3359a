// What a person hears of another, measured where the samples go to the
// loudspeaker.
import assert from "node:assert/strict";
import { idOf, stats } from "./diagnostics.ts";
import type { Participant } from "./participant.ts";
import { pause } from "./waiting.ts";

/** A beep or a tone is far above this, silence and comfort noise below. */
const HEARD_PEAK = 0.02;
/** Longer than what is buffered, so that what was said before is over. */
const SETTLE_MS = 1500;
/** Several beeps would fall into this time. */
const LISTEN_MS = 1500;
const LOOKS = 10;

async function audioOf(listener: Participant, participantId: string) {
  const { audio } = await stats(listener);
  return audio.find((one) => one.participantId === participantId);
}

/** Waits until sound of the other is played that was not played before. */
export async function hears(listener: Participant, name: string): Promise<void> {
  const id = await idOf(listener, name);
  const before = (await audioOf(listener, id))?.playedMs ?? 0;
  await listener.until(`sound of ${name}`, async () => {
    const audio = await audioOf(listener, id);
    return audio !== undefined && audio.playedMs > before && audio.peak > HEARD_PEAK;
  });
}

/**
 * Hears two beeps begin: for a microphone that beeps, as Chromium's does. A
 * steady tone, as Firefox's, is heard but does not begin again.
 */
export async function hearsBeeps(listener: Participant, name: string): Promise<void> {
  const id = await idOf(listener, name);
  const before = (await audioOf(listener, id))?.onsets ?? 0;
  await listener.until(`beeps of ${name}`, async () => {
    const audio = await audioOf(listener, id);
    return audio !== undefined && audio.onsets >= before + 2;
  });
}

/** Nothing of the other is played, over a time in which several beeps fall. */
export async function hearsNothing(listener: Participant, name: string): Promise<void> {
  const id = await idOf(listener, name);
  // Silence can't be waited for as an event: it is nothing, over a time.
  await pause(SETTLE_MS);
  for (let look = 0; look < LOOKS; look += 1) {
    const peak = (await audioOf(listener, id))?.peak ?? 0;
    assert.ok(peak < HEARD_PEAK, `${listener.name} hears ${name}, peak ${peak}`);
    await pause(LISTEN_MS / LOOKS);
  }
}
