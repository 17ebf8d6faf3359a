//! Which codecs clients know, and which one a stream is encoded with.
//!
//! A sender encodes a picture once for everybody, so it uses what everybody here
//! can decode; a client that has nothing in common with those who came before it
//! is told so and changes nothing for them.

use dt_frame::{FourCc, MediaKind};

/// The names of codecs that a client may give, beside their FourCCs.
const NAMES: [(&str, FourCc); 5] = [
    ("VP8", FourCc::Vp8),
    ("VP9", FourCc::Vp9),
    ("AV1", FourCc::Av1),
    ("H264", FourCc::H264),
    ("OPUS", FourCc::Opus),
];
/// Names of one list that are read; a client has fewer.
const NAMES_MAX: usize = 64;

/// What a client encodes and decodes, what it likes most first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codecs {
    /// Each once, video and audio together.
    order: Vec<FourCc>,
}

impl Default for Codecs {
    /// VP8 and Opus: what every client has, in software if need be.
    fn default() -> Self {
        Self::parse(&[], &[])
    }
}

impl Codecs {
    /// Of the lists in `ParticipantCapabilities`; an empty one stands for the
    /// default. Names that are not known are of codecs that nobody here uses.
    #[must_use]
    pub fn parse(video: &[String], audio: &[String]) -> Self {
        let mut order = Vec::new();
        for (names, kind, default) in [
            (video, MediaKind::Video, FourCc::Vp8),
            (audio, MediaKind::Audio, FourCc::Opus),
        ] {
            if names.is_empty() {
                order.push(default);
            }
            for name in names.iter().take(NAMES_MAX) {
                let codec = read(name).filter(|codec| codec.kind() == kind);
                if let Some(codec) = codec.filter(|codec| !order.contains(codec)) {
                    order.push(codec);
                }
            }
        }
        Self { order }
    }

    pub(crate) fn knows(&self, codec: FourCc) -> bool {
        self.order.contains(&codec)
    }

    /// What it would publish a stream of this kind with.
    pub(crate) fn first(&self, kind: MediaKind) -> Option<FourCc> {
        self.order.iter().copied().find(|c| c.kind() == kind)
    }

    /// The same codecs in whatever order.
    fn same_set(&self, other: &Self) -> bool {
        self.order.len() == other.order.len() && self.order.iter().all(|c| other.knows(*c))
    }
}

fn read(name: &str) -> Option<FourCc> {
    let named = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    named.map(|(_, codec)| *codec).or_else(|| name.parse().ok())
}

/// What the receivers of a meeting decode: each distinct set once, in the order
/// in which they came. Whoever came first is never cut off by who comes later.
#[derive(Debug, Default)]
pub(crate) struct Receivers<'a> {
    sets: Vec<&'a Codecs>,
}

impl<'a> Receivers<'a> {
    /// Of everybody, in the order in which they joined.
    pub(crate) fn new(everybody: impl Iterator<Item = &'a Codecs>) -> Self {
        let mut sets: Vec<&Codecs> = Vec::new();
        for codecs in everybody {
            // Taking a set twice narrows no further than taking it once.
            if !sets.iter().any(|set| set.same_set(codecs)) {
                sets.push(codecs);
            }
        }
        Self { sets }
    }

    /// The codec for a stream: of those that its sender encodes (as published,
    /// then in the sender's order) the first that all receivers decode, those
    /// left out who have none in common with the receivers before them.
    pub(crate) fn choose(&self, published: FourCc, sender: &Codecs) -> FourCc {
        let others = sender.order.iter().copied();
        let others = others.filter(|c| c.kind() == published.kind() && *c != published);
        let mut common: Vec<FourCc> = std::iter::once(published).chain(others).collect();
        for receiver in &self.sets {
            if common.iter().any(|codec| receiver.knows(*codec)) {
                common.retain(|codec| receiver.knows(*codec));
            }
        }
        common[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codecs(video: &[&str]) -> Codecs {
        let names: Vec<String> = video.iter().map(ToString::to_string).collect();
        Codecs::parse(&names, &[])
    }

    fn choose(published: FourCc, sender: &Codecs, receivers: &[&Codecs]) -> FourCc {
        Receivers::new(receivers.iter().copied()).choose(published, sender)
    }

    #[test]
    fn who_says_nothing_has_vp8_and_opus() {
        let silent = Codecs::default();
        assert!(silent.knows(FourCc::Vp8) && silent.knows(FourCc::Opus));
        assert!(!silent.knows(FourCc::Vp9));
    }

    #[test]
    fn names_are_read_as_clients_write_them() {
        let known = codecs(&["vp8", "av01", "H264", "VP8", "H266", "opus"]);
        assert_eq!(
            known.order,
            [FourCc::Vp8, FourCc::Av1, FourCc::H264, FourCc::Opus]
        );
        assert!(!codecs(&["H266"]).knows(FourCc::Vp8));
    }

    #[test]
    fn a_stream_stays_as_published_while_everybody_decodes_it() {
        let all = codecs(&["VP8", "VP9", "AV1"]);
        assert_eq!(choose(FourCc::Vp9, &all, &[&all, &all]), FourCc::Vp9);
        assert_eq!(choose(FourCc::Vp9, &all, &[]), FourCc::Vp9);
    }

    #[test]
    fn of_what_all_decode_the_senders_first_is_chosen() {
        let sender = codecs(&["AV1", "VP9", "VP8"]);
        let receivers = [&codecs(&["VP8", "VP9"]), &codecs(&["VP9", "VP8", "H264"])];
        assert_eq!(choose(FourCc::Av1, &sender, &receivers), FourCc::Vp9);
    }

    #[test]
    fn a_sender_encodes_nothing_but_what_it_said() {
        let sender = codecs(&["VP8"]);
        assert_eq!(
            choose(FourCc::Vp8, &sender, &[&codecs(&["AV1"])]),
            FourCc::Vp8
        );
    }

    #[test]
    fn who_has_nothing_in_common_with_those_before_changes_nothing() {
        let sender = codecs(&["VP8", "AV1"]);
        let (old, new) = (codecs(&["VP8"]), codecs(&["AV1"]));
        assert_eq!(choose(FourCc::Vp8, &sender, &[&old, &new]), FourCc::Vp8);
        assert_eq!(choose(FourCc::Vp8, &sender, &[&new]), FourCc::Av1);
    }
}
