//! What a receiver makes of what arrives: which pictures it shows, and which sounds
//! it hears.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use bytes::Bytes;
use dt_forward_core::{OutGroup, SessionKey};
use dt_frame::{DatagramHeader, Extension, FrameHeader, FrameType};

use super::link::{Arrived, Link};

/// What a receiver has of one camera.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    pub(crate) encoding: u8,
    pub(crate) counter: Option<u8>,
    /// When each picture was shown, and of which encoding.
    pub(crate) shown: Vec<(Instant, u8)>,
    pub(crate) newest: u64,
    /// When the group began that is shown.
    pub(crate) began: u64,
    /// It can't go on without a key frame.
    pub(crate) broken: bool,
    pub(crate) wanted: u8,
    pub(crate) asked: Option<Instant>,
    /// Pieces of the picture that arrives.
    pub(crate) pieces: BTreeMap<u64, u16>,
    /// The encoding that the handler sends.
    pub(crate) sent: Option<u8>,
    pub(crate) switches: Vec<Instant>,
}

pub(crate) struct Receiver {
    pub(crate) session: SessionKey,
    pub(crate) link: Link,
    pub(crate) screens: BTreeMap<u8, Screen>,
    pub(crate) heard: BTreeMap<u8, BTreeSet<u64>>,
    pub(crate) rtts: Vec<(Instant, f64)>,
    pub(crate) hidden: BTreeSet<u8>,
    pub(crate) hidden_since: Option<Instant>,
    pub(crate) outs: HashMap<OutGroup, (u8, u8)>,
    pub(crate) open: BTreeSet<OutGroup>,
}

impl Receiver {
    /// The handler sends a piece of a camera's encoding; `begins`: a key frame.
    pub(crate) fn sends(&mut self, n: u8, encoding: u8, begins: bool, now: Instant) {
        if let Some(since) = self.hidden_since {
            let shown = !self.hidden.contains(&n) || now == since;
            assert!(shown, "nothing is sent for a hidden tile");
        }
        let screen = self.screens.entry(n).or_default();
        if screen.sent != Some(encoding) {
            assert!(begins, "another encoding begins with a key frame");
            if screen.sent.is_some() {
                screen.switches.push(now);
            }
            screen.sent = Some(encoding);
        }
    }

    pub(crate) fn sent_datagram(&mut self, datagram: &Bytes, now: Instant) {
        let header = DatagramHeader::parse(datagram).unwrap();
        if header.frame_type != FrameType::Audio {
            let n = u8::try_from(header.user_id.0 - 1).unwrap();
            let key = header.frame_type == FrameType::VideoKey;
            self.sends(n, header.extension.encoding.get(), key, now);
        }
    }

    pub(crate) fn take(&mut self, arrived: Arrived, now: Instant) {
        match arrived {
            Arrived::Datagram(datagram) if datagram[0] == b'p' => {}
            Arrived::Datagram(datagram) => {
                let header = DatagramHeader::parse(&datagram).unwrap();
                let n = u8::try_from(header.user_id.0 - 1).unwrap();
                if header.frame_type == FrameType::Audio {
                    self.heard.entry(n).or_default().insert(header.sequence);
                } else {
                    let pieces = &mut self.screens.entry(n).or_default().pieces;
                    let came = pieces.entry(header.timestamp_us).or_default();
                    *came += 1;
                    let whole = header.flags.end && *came == header.extension.fragment + 1;
                    while pieces.len() > 8 {
                        pieces.pop_first();
                    }
                    if whole {
                        self.show(
                            n,
                            header.frame_type,
                            header.timestamp_us,
                            header.extension,
                            now,
                        );
                    }
                }
            }
            Arrived::Frame(out, frame) => {
                let (n, _) = self.outs[&out];
                let header = FrameHeader::parse(&frame.header).unwrap();
                self.show(
                    n,
                    header.frame_type,
                    header.timestamp_us,
                    header.extension,
                    now,
                );
            }
        }
    }

    fn show(
        &mut self,
        n: u8,
        frame_type: FrameType,
        timestamp_us: u64,
        extension: Extension,
        now: Instant,
    ) {
        let screen = self.screens.entry(n).or_default();
        let encoding = extension.encoding.get();
        let counter = extension.detail;
        if frame_type == FrameType::VideoKey {
            if timestamp_us < screen.began {
                return;
            }
            screen.began = timestamp_us;
            screen.broken = false;
            screen.encoding = encoding;
            screen.counter = Some(counter);
        } else if screen.encoding != encoding {
            // Its key frame did not come whole.
            if timestamp_us > screen.newest {
                screen.broken = true;
                screen.wanted = encoding;
            }
            return;
        } else if extension.temporal_layer > 0 {
            if screen.counter != Some(counter) {
                return;
            }
        } else if screen.counter.map(|c| c.wrapping_add(1)) == Some(counter) {
            screen.counter = Some(counter);
        } else {
            screen.broken = true;
            screen.wanted = encoding;
            return;
        }
        if timestamp_us > screen.newest {
            screen.newest = timestamp_us;
            screen.shown.push((now, encoding));
        }
    }
}
