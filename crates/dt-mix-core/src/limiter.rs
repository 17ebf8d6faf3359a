//! Turns down what would overload.

/// No sample is louder afterwards.
const CEILING: f32 = 0.95;
/// Above this the last bit is bent rather than cut.
const KNEE: f32 = 0.8;
/// What it was turned down by comes back by 0.5 dB a step.
const RELEASE: f32 = 1.06;
/// Turning down is a ramp of 2.5 ms, so that it does not click.
const ATTACK_SAMPLES: usize = 120;

/// One encoding's.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    pub(crate) fn apply(&mut self, pcm: &mut [f32]) {
        let peak = pcm.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        let fits = if peak > KNEE { KNEE / peak } else { 1.0 };
        let (from, to) = (self.gain, fits.min(self.gain * RELEASE).min(1.0));
        let ramp = if to < from { ATTACK_SAMPLES } else { pcm.len() };
        for (place, sample) in pcm.iter_mut().enumerate() {
            #[allow(clippy::cast_precision_loss)] // a few hundred
            let passed = (place as f32 / ramp as f32).min(1.0);
            *sample = bend(*sample * (from + (to - from) * passed));
        }
        self.gain = to;
    }
}

/// The same below the knee, and never above the ceiling.
fn bend(sample: f32) -> f32 {
    let loud = sample.abs();
    if loud <= KNEE {
        return sample;
    }
    let room = CEILING - KNEE;
    (KNEE + room * ((loud - KNEE) / room).tanh()).copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(amplitude: f32) -> Vec<f32> {
        let at = |n: u16| (f32::from(n) * 0.05).sin() * amplitude;
        (0..960).map(at).collect()
    }

    #[test]
    fn what_is_not_too_loud_stays_as_it_is() {
        let mut limiter = Limiter::default();
        let mut pcm = sine(0.79);
        limiter.apply(&mut pcm);
        assert_eq!(pcm, sine(0.79));
    }

    #[test]
    fn nothing_overloads_and_it_comes_back_slowly() {
        let mut limiter = Limiter::default();
        let peak = |pcm: &[f32]| pcm.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        for _ in 0..5 {
            let mut pcm = sine(4.0);
            limiter.apply(&mut pcm);
            assert!(peak(&pcm) <= CEILING);
        }
        let mut last = 0.0;
        for _ in 0..40 {
            let mut pcm = sine(0.5);
            limiter.apply(&mut pcm);
            assert!(peak(&pcm) >= last && peak(&pcm) <= 0.5);
            last = peak(&pcm);
        }
        assert!(last > 0.499, "all of it");
    }
}
