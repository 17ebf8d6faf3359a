//! What is under way: taken by a handler, and what it then says and sends.

use super::*;

impl World {
    pub(super) fn speak(&mut self) {
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            user_id: UserId(1),
            stream: 2,
            timestamp_us: self.sent(),
            sequence: self.sequence,
            payload_bytes: 3,
            flags: Flags::WHOLE,
            extension: Extension::audio(
                AudioLevel {
                    voice: true,
                    below_overload_db: 20,
                },
                0,
            ),
        };
        self.sounds.push(self.sent());
        let datagram: Bytes = [&header.write()[..], b"abc"].concat().into();
        for node in self.sending_at.clone() {
            self.later(15, Event::Sound(node, datagram.clone()));
        }
    }

    pub(super) fn show(&mut self) {
        let place = self.frames.len() as u64 % GROUP;
        let key = std::mem::take(&mut self.key_wanted) || place == 0;
        self.group += u32::from(key);
        let header = FrameHeader {
            frame_type: if key {
                FrameType::VideoKey
            } else {
                FrameType::VideoDelta
            },
            stream_id: VIDEO,
            timestamp_us: self.sent(),
            sequence: self.sequence,
            payload_bytes: 100,
            flags: Flags::WHOLE,
            extension: Extension::video(Encoding::MIN, 0, 0, self.group as u16),
        };
        self.frames.push(self.sent());
        for node in self.sending_at.clone() {
            let event = Event::Frame(node, header, vec![0; 100].into());
            self.in_order(node, sender(node), None, event);
        }
    }

    pub(super) fn take(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Order(node, stream, links, generation) => {
                let to = [(receiver(node), label(stream))];
                self.nodes[node]
                    .forwarder
                    .route_over(stream, to, *links, generation, now)
                    .unwrap();
                self.carry_out(node);
            }
            Event::LinkUp(a, b) => {
                self.counter += 1;
                let key = SessionKey(10_000 + self.counter);
                for (node, peer) in [(a, b), (b, a)] {
                    self.nodes[node].links.insert(key, peer);
                    self.nodes[node].forwarder.link_up(handler(peer), key, now);
                    self.carry_out(node);
                }
            }
            Event::Demand(node, key, route, wanted) => {
                let at = &mut self.nodes[node];
                if at.links.contains_key(&key)
                    && at.forwarder.link_demand(key, route, &wanted, now).is_err()
                {
                    at.early.insert((key, route), wanted);
                }
                self.carry_out(node);
            }
            Event::Keyframe(node, key, route, encoding) => {
                let forwarder = &mut self.nodes[node].forwarder;
                // Its order may not have come yet.
                let _ = forwarder.link_keyframe(key, route, encoding, now);
                self.carry_out(node);
            }
            Event::Datagram(node, key, datagram) => {
                // Its order may not have come yet, or it came another way.
                let forwarder = &mut self.nodes[node].forwarder;
                let _ = forwarder.link_datagram(key, datagram, now);
                self.carry_out(node);
            }
            Event::Stream(node, key, group, piece) => self.piece(node, key, group, piece),
            Event::Frame(node, header, payload) => self.sent_frame(node, header, payload),
            Event::Sound(node, datagram) => {
                let forwarder = &mut self.nodes[node].forwarder;
                let _ = forwarder.datagram(sender(node), datagram, now);
                self.carry_out(node);
            }
        }
    }

    fn piece(&mut self, node: usize, key: SessionKey, group: GroupKey, piece: Piece) {
        let now = self.now;
        if !self.nodes[node].links.contains_key(&key) {
            return;
        }
        let forwarder = &mut self.nodes[node].forwarder;
        let refused = match piece {
            Piece::Open(prefix, header) => {
                let opened = forwarder.link_group_opened(key, group, prefix, header);
                opened.is_err()
            }
            Piece::Frame(frame) => {
                let header = FrameHeader::parse(&frame.header).unwrap();
                let taken = forwarder.group_frame(key, group, &header, frame.payload, now);
                taken.is_err()
            }
            Piece::Finish => {
                forwarder.group_finished(key, group, now);
                false
            }
            Piece::Reset => {
                forwarder.group_reset(key, group);
                false
            }
        };
        self.carry_out(node);
        if refused {
            // STOP_SENDING: the other end hears of it at once here.
            self.stop_sending(node, key, group);
        }
    }

    fn stop_sending(&mut self, node: usize, key: SessionKey, group: GroupKey) {
        if let Some(peer) = self.nodes[node].links.get(&key).copied() {
            let out = OutGroup(group.0);
            self.nodes[peer].forwarder.refused(key, out);
            self.carry_out(peer);
        }
    }

    fn sent_frame(&mut self, node: usize, header: FrameHeader, payload: Bytes) {
        let (now, session) = (self.now, sender(node));
        let key = header.frame_type == FrameType::VideoKey;
        let at = &mut self.nodes[node];
        if key {
            if let Some(before) = at.upstream.take() {
                at.forwarder.group_finished(session, before, now);
            }
            let group = GroupKey(u64::from(header.extension.group));
            let opened = StreamHeader {
                stream_id: VIDEO,
                codec: FourCc::Vp8,
                encoding: Encoding::MIN,
                screen: false,
                group: u32::from(header.extension.group),
            };
            if at.forwarder.group_opened(session, group, opened).is_ok() {
                at.upstream = Some(group);
            }
        }
        if let Some(group) = at.upstream {
            let taken = at
                .forwarder
                .group_frame(session, group, &header, payload, now);
            if taken.is_err() {
                at.upstream = None;
            }
        }
        self.carry_out(node);
    }

    pub(super) fn carry_out(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].forwarder.poll_output() {
            self.output(node, output);
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Datagram { datagram, targets } => {
                let (header, _) = DatagramHeader::split(datagram.clone()).unwrap();
                for target in targets.iter() {
                    if target.session == client(node) {
                        assert_eq!(target.label, label(AUDIO).into());
                        self.nodes[node].got.sounds.push(header.timestamp_us);
                        continue;
                    }
                    let peer = self.nodes[node].links[&target.session];
                    let bits = target.label.to_bits();
                    let mut bytes = datagram.to_vec();
                    DatagramHeader::rewrite_label(&mut bytes, bits);
                    self.cross(
                        target.session,
                        peer,
                        RouteId(bits),
                        header.timestamp_us,
                        true,
                    );
                    self.later(40, Event::Datagram(peer, target.session, bytes.into()));
                }
            }
            Output::Stream { session, out, op } if session == client(node) => {
                self.receive(node, out, op);
            }
            Output::Stream { session, out, op } => {
                let peer = self.nodes[node].links[&session];
                let group = GroupKey(out.0);
                let piece = match op {
                    StreamOp::Open { header, prefix, .. } => Piece::Open(prefix.unwrap(), header),
                    StreamOp::Frame(frame) => {
                        self.nodes[node].forwarder.written(session, out, 1);
                        let header = FrameHeader::parse(&frame.header).unwrap();
                        let route = RouteId(u32::try_from(out.0).unwrap());
                        self.cross(session, peer, route, header.timestamp_us, false);
                        Piece::Frame(frame)
                    }
                    StreamOp::Finish => Piece::Finish,
                    StreamOp::Reset(_) => Piece::Reset,
                };
                let event = Event::Stream(peer, session, group, piece);
                self.in_order(peer, session, Some(group), event);
            }
            Output::RequestKeyframe { .. } => self.key_wanted = true,
            Output::StopGroup { session, group, .. } => {
                if session == sender(node) {
                    if self.nodes[node].upstream == Some(group) {
                        self.nodes[node].upstream = None;
                    }
                    self.nodes[node].forwarder.group_reset(session, group);
                } else {
                    self.nodes[node].forwarder.group_reset(session, group);
                    self.stop_sending(node, session, group);
                }
            }
            Output::LinkKeyframe {
                session,
                route,
                encoding,
            } => {
                let peer = self.nodes[node].links[&session];
                let event = Event::Keyframe(peer, session, route, encoding);
                self.in_order(peer, session, None, event);
            }
            Output::LinkDemand {
                session,
                route,
                encodings,
            } => {
                let peer = self.nodes[node].links[&session];
                let event = Event::Demand(peer, session, route, encodings);
                self.in_order(peer, session, None, event);
            }
            Output::LinkRoute {
                handler: to,
                route,
                incoming,
                known,
            } => {
                let peer = (0..self.nodes.len()).find(|n| handler(*n) == to).unwrap();
                if let (Some(key), false, true) = (self.link(node, peer), incoming, known)
                    && let Some(wanted) = self.nodes[node].early.remove(&(key, route))
                {
                    let now = self.now;
                    let forwarder = &mut self.nodes[node].forwarder;
                    forwarder.link_demand(key, route, &wanted, now).unwrap();
                }
            }
            Output::Flow {
                stream_id,
                arriving,
            } => {
                if arriving {
                    self.nodes[node].arrives[usize::from(stream_id == AUDIO)] += 1;
                }
            }
            Output::Close { .. } => panic!("nobody is closed"),
            Output::Padding { .. }
            | Output::Speakers(_)
            | Output::Demand { .. }
            | Output::SenderReport { .. } => {}
        }
    }

    pub(super) fn cross(
        &mut self,
        key: SessionKey,
        to: usize,
        route: RouteId,
        at: u64,
        sound: bool,
    ) {
        *self.crossed.entry((key, to, route, at, sound)).or_default() += 1;
    }

    fn receive(&mut self, node: usize, out: OutGroup, op: StreamOp) {
        if let StreamOp::Frame(frame) = op {
            let header = FrameHeader::parse(&frame.header).unwrap();
            let got = &mut self.nodes[node].got;
            let before = got.newest.insert(out, header.timestamp_us);
            assert!(before.is_none_or(|before| before < header.timestamp_us));
            assert!(before.is_some() || header.frame_type == FrameType::VideoKey);
            got.frames.push(header.timestamp_us);
            self.nodes[node].forwarder.written(client(node), out, 1);
        }
    }
}
