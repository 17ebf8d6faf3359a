//! What people send: a camera of three encodings, of those that are wanted, and a
//! microphone.

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;
use dt_forward_core::{GroupKey, SessionKey};
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, StreamHeader,
};
use dt_ids::{Encoding, UserId};
use rand::RngExt;

use super::world::{FPS, LAYERS, World, video};

#[derive(Debug, Default, Clone)]
pub(crate) struct Layer {
    pub(crate) active: bool,
    pub(crate) key: bool,
    pub(crate) group: u64,
    pub(crate) base: u8,
    pub(crate) sequence: u64,
}

pub(crate) struct Sender {
    pub(crate) layers: Vec<Layer>,
    /// When which encodings are to be sent.
    pub(crate) demands: Vec<(Instant, BTreeSet<u8>)>,
    pub(crate) keys: Vec<(Instant, u8)>,
    pub(crate) audio: u64,
}

impl World {
    pub(crate) fn obey(&mut self, n: usize) {
        let now = self.now;
        let sender = &mut self.senders[n];
        while sender.demands.first().is_some_and(|(at, _)| *at <= now) {
            let (_, wanted) = sender.demands.remove(0);
            for (number, layer) in (0u8..).zip(&mut sender.layers) {
                let active = wanted.contains(&number);
                layer.key |= active && !layer.active;
                layer.active = active;
            }
        }
        while sender.keys.first().is_some_and(|(at, _)| *at <= now) {
            let (_, number) = sender.keys.remove(0);
            sender.layers[usize::from(number)].key = true;
        }
    }

    fn timestamp(&self) -> u64 {
        u64::try_from(self.now.duration_since(self.start).as_micros()).unwrap()
    }

    pub(crate) fn speak(&mut self, n: u8) {
        let timestamp_us = self.timestamp();
        let sender = &mut self.senders[usize::from(n)];
        sender.audio += 1;
        let level = AudioLevel {
            voice: true,
            below_overload_db: 20,
        };
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            user_id: UserId(u64::from(n) + 1),
            stream: 2,
            timestamp_us,
            sequence: sender.audio,
            payload_bytes: 80,
            flags: Flags::WHOLE,
            extension: Extension::audio(level, 0),
        };
        let datagram = [&header.write()[..], &[0; 80]].concat();
        let session = SessionKey(u64::from(n));
        self.forwarder
            .datagram(session, datagram.into(), self.now)
            .unwrap();
    }

    pub(crate) fn picture(&mut self, n: usize) {
        let timestamp_us = self.timestamp();
        let frame = self.step * 5 / (1000 / FPS);
        for number in 0..3u8 {
            let layer = &mut self.senders[n].layers[usize::from(number)];
            if !layer.active {
                continue;
            }
            let key = std::mem::take(&mut layer.key);
            let upper = !key && frame % 2 == 1;
            let new_group = key;
            if key {
                layer.group += 1;
            }
            layer.base = layer.base.wrapping_add(u8::from(!upper));
            layer.sequence += 1;
            let average = f64::from(LAYERS[usize::from(number)].2) / 8.0 / FPS as f64;
            let share = if key {
                4.0
            } else if upper {
                0.8
            } else {
                1.2
            };
            let noise = self.rng.random_range(0.7..1.3);
            let bytes = (average * share * noise) as usize;
            let layer = layer.clone();
            let picture = Picture {
                n: u8::try_from(n).unwrap(),
                number,
                key,
                upper,
                bytes,
                timestamp_us,
                layer,
            };
            if self.datagrams {
                self.as_datagrams(&picture);
            } else {
                self.on_stream(&picture, new_group);
            }
        }
    }

    fn on_stream(&mut self, picture: &Picture, new_group: bool) {
        let session = SessionKey(u64::from(picture.n));
        let key = |group: u64| GroupKey(group * 4 + u64::from(picture.number));
        let group = key(picture.layer.group);
        if new_group {
            let header = StreamHeader {
                stream_id: video(picture.n),
                codec: FourCc::Vp8,
                encoding: picture.encoding(),
                screen: false,
                group: u32::try_from(picture.layer.group).unwrap(),
            };
            if picture.layer.group > 1 {
                let before = key(picture.layer.group - 1);
                self.forwarder.group_finished(session, before, self.now);
            }
            self.forwarder.group_opened(session, group, header).unwrap();
        }
        let header = FrameHeader {
            frame_type: picture.frame_type(),
            stream_id: video(picture.n),
            timestamp_us: picture.timestamp_us,
            sequence: picture.layer.sequence,
            payload_bytes: u32::try_from(picture.bytes).unwrap(),
            flags: picture.flags(),
            extension: picture.extension(),
        };
        let payload = Bytes::from(vec![0; picture.bytes]);
        // It may have been stopped when a newer one took its place.
        let _ = self
            .forwarder
            .group_frame(session, group, &header, payload, self.now);
    }

    fn as_datagrams(&mut self, picture: &Picture) {
        let session = SessionKey(u64::from(picture.n));
        let pieces = picture.bytes.div_ceil(1000).max(1);
        for piece in 0..pieces {
            let layer =
                &mut self.senders[usize::from(picture.n)].layers[usize::from(picture.number)];
            layer.sequence += 1;
            let bytes = (picture.bytes - piece * 1000).min(1000);
            let mut extension = picture.extension();
            extension.fragment = u16::try_from(piece).unwrap();
            let header = DatagramHeader {
                frame_type: picture.frame_type(),
                user_id: UserId(u64::from(picture.n) + 1),
                stream: 1,
                timestamp_us: picture.timestamp_us,
                sequence: layer.sequence,
                payload_bytes: u32::try_from(bytes).unwrap(),
                flags: Flags {
                    start: piece == 0,
                    end: piece + 1 == pieces,
                    ..picture.flags()
                },
                extension,
            };
            let datagram = [&header.write()[..], &vec![0; bytes]].concat();
            self.forwarder
                .datagram(session, datagram.into(), self.now)
                .unwrap();
        }
    }
}

struct Picture {
    n: u8,
    number: u8,
    key: bool,
    upper: bool,
    bytes: usize,
    timestamp_us: u64,
    layer: Layer,
}

impl Picture {
    fn encoding(&self) -> Encoding {
        Encoding::try_from(u32::from(self.number)).unwrap()
    }

    fn frame_type(&self) -> FrameType {
        if self.key {
            FrameType::VideoKey
        } else {
            FrameType::VideoDelta
        }
    }

    fn flags(&self) -> Flags {
        Flags {
            discardable: self.upper,
            ..Flags::WHOLE
        }
    }

    fn extension(&self) -> Extension {
        #[allow(clippy::cast_possible_truncation)] // low 16 bits
        Extension::video(
            self.encoding(),
            u8::from(self.upper),
            self.layer.base,
            self.layer.group as u16,
        )
    }
}
