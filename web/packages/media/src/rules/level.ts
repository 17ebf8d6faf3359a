// Audio level as RFC 6464 puts it into headers: -dBov in 7 bits, 0 the loudest
// and 127 silence, with a voice flag on top.

/** Louder than this counts as voice. */
const VOICE_DBOV = -50;
const SILENCE = 127;

/** The header byte for a block of samples (-1 to 1). */
export function levelByte(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  if (!(rms > 0)) return SILENCE;
  const dbov = Math.min(0, 20 * Math.log10(rms));
  const level = Math.min(SILENCE, Math.round(-dbov));
  return dbov > VOICE_DBOV ? 0x80 | level : level;
}
