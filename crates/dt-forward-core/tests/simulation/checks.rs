//! What holds after every step.

use super::{
    world::{Out, World},
    *,
};

impl World {
    pub(super) fn check_outputs(&mut self) -> Result<(), TestCaseError> {
        while let Some(output) = self.forwarder.poll_output() {
            match output {
                Output::Datagram { datagram, targets } => {
                    let header = DatagramHeader::parse(&datagram).unwrap();
                    let source = audio(u8::try_from(header.user_id.0).unwrap());
                    for target in &*targets {
                        prop_assert!(self.may_get(target.session, source));
                        let who = (0..PEOPLE)
                            .find(|n| self.people[usize::from(*n)].session == Some(target.session));
                        prop_assert_eq!(Some(target.label), who.map(|who| label(who).into()));
                    }
                }
                Output::Stream { session, out, op } => self.check_stream(session, out, op)?,
                Output::RequestKeyframe {
                    session, stream_id, ..
                } => {
                    let who = (0..PEOPLE).find(|n| video(*n) == stream_id).unwrap();
                    let sender = self.people[usize::from(who)].session;
                    prop_assert_eq!(sender, Some(session));
                    if let Some(before) = self.asked.insert(stream_id, self.now) {
                        prop_assert!(self.now.duration_since(before) >= Duration::from_secs(1));
                    }
                }
                Output::StopGroup { session, group, .. } => {
                    let owner = self.people.iter_mut().find(|p| p.session == Some(session));
                    // The stream is read no further; the handler says so.
                    if let Some(owner) = owner {
                        owner.groups.retain(|(g, _)| *g != group);
                        self.forwarder.group_reset(session, group);
                    }
                }
                Output::Close { session, reason } => {
                    self.closed.insert(session);
                    self.outs.retain(|_, out| out.session != session);
                    let in_use = self.people.iter().any(|p| p.session == Some(session));
                    prop_assert!(!in_use, "{reason:?}");
                    let known = match reason {
                        CloseReason::Unregistered { close_code } => close_code == 0,
                        CloseReason::Replaced => true,
                    };
                    prop_assert!(known);
                }
                Output::Speakers(list) => {
                    prop_assert!(list.len() <= usize::from(PEOPLE));
                }
                Output::Demand {
                    stream_id,
                    encodings,
                } => {
                    prop_assert!((0..PEOPLE).any(|n| video(n) == stream_id));
                    prop_assert!(encodings.len() <= 1);
                }
                Output::SenderReport { session, report } => {
                    let sends = self.people.iter().any(|p| p.session == Some(session));
                    prop_assert!(sends && report.lost_ppm <= 1_000_000);
                }
                Output::Padding { .. } => prop_assert!(false, "no path was told"),
                Output::Flow { stream_id, .. } => {
                    prop_assert!((0..PEOPLE).any(|n| [video(n), audio(n)].contains(&stream_id)));
                }
                Output::LinkKeyframe { .. }
                | Output::LinkDemand { .. }
                | Output::LinkRoute { .. } => {
                    prop_assert!(false, "there are no links");
                }
            }
        }
        Ok(())
    }

    fn check_stream(
        &mut self,
        session: SessionKey,
        key: OutGroup,
        op: StreamOp,
    ) -> Result<(), TestCaseError> {
        prop_assert!(
            !self.closed.contains(&session),
            "nothing goes to a closed session"
        );
        match op {
            StreamOp::Open { header, .. } => {
                prop_assert!(self.may_get(session, header.stream_id));
                let out = Out {
                    session,
                    source: header.stream_id,
                    last: None,
                    waiting: Vec::new(),
                    finished: false,
                    refused: false,
                };
                prop_assert!(self.outs.insert(key, out).is_none());
            }
            StreamOp::Frame(frame) => {
                let header = FrameHeader::parse(&frame.header).unwrap();
                prop_assert_eq!(header.payload_bytes as usize, frame.payload.len());
                let out = self.outs.get(&key).expect("it was opened and lives");
                prop_assert!(!out.finished && !out.refused && out.session == session);
                prop_assert_eq!(out.source, header.stream_id);
                prop_assert!(self.may_get(session, out.source));
                match out.last {
                    None => prop_assert_eq!(header.frame_type, FrameType::VideoKey),
                    Some(last) => prop_assert!(header.timestamp_us > last, "in order"),
                }
                let out = self.outs.get_mut(&key).expect("as before");
                out.last = Some(header.timestamp_us);
                out.waiting.push((self.now, frame.len()));
            }
            StreamOp::Finish => {
                let out = self.outs.get_mut(&key).expect("it was opened and lives");
                prop_assert!(!out.finished && !out.refused);
                out.finished = true;
                if out.waiting.is_empty() {
                    self.outs.remove(&key);
                }
            }
            StreamOp::Reset(_) => {
                let out = self.outs.remove(&key).expect("it was opened and lives");
                prop_assert!(!out.refused);
            }
        }
        Ok(())
    }

    /// After the timers ran, nothing has waited for too long.
    pub(super) fn check_lateness(&self) -> Result<(), TestCaseError> {
        for out in self.outs.values() {
            if let Some((since, _)) = out.waiting.first() {
                prop_assert!(self.now.duration_since(*since) <= QUEUE.late_max);
            }
        }
        Ok(())
    }

    pub(super) fn check_bounds(&mut self) -> Result<(), TestCaseError> {
        let mut load: HashMap<SessionKey, (usize, usize)> = HashMap::new();
        for out in self.outs.values().filter(|out| !out.refused) {
            let (bytes, streams) = load.entry(out.session).or_default();
            *bytes += out.waiting.iter().map(|(_, bytes)| bytes).sum::<usize>();
            *streams += 1;
        }
        for out in self
            .outs
            .values()
            .filter(|out| !out.finished && !out.refused)
        {
            prop_assert!(
                self.may_get(out.session, out.source),
                "a stream that goes nowhere was reset"
            );
        }
        for (bytes, streams) in load.values() {
            prop_assert!(*bytes <= QUEUE.session_bytes_max, "{bytes}");
            prop_assert!(*streams <= QUEUE.session_streams_max, "{streams}");
        }
        Ok(())
    }
}
