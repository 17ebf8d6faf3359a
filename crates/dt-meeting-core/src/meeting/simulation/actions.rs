//! What people do, sensible and not.

use dt_ids::{ParticipantId, StreamId, UserId};
use dt_wire::internal::{EncodingDemand, WantedEncoding};
use dt_wire::v1::{Role, client_message::Body as Request};
use rand::RngExt as _;

use super::{World, client::OnAck};
use crate::{Join, JoinError, Resume, resume_hash};

impl World {
    /// One step: somebody or something does something; everything is checked.
    pub(super) fn act(&mut self) {
        let client = self.rng.random_range(0..self.clients.len());
        let before = self.snapshot();
        let asked = match self.rng.random_range(0..100) {
            0..=1 => self.crash(client),
            2..=4 => self.lose(client),
            5..=9 => self.speakers(),
            10..=12 => self.media_session(client),
            13 => self.settings(),
            21..=24 => self.change_handler(),
            25..=26 => self.overload(),
            18..=20 => self.demand(),
            14 if self.chance(10) => self.end(),
            _ if self.clients[client].session.is_none() => self.come(client),
            15..=17 => self.come(client),
            _ => self.ask(client),
        };
        self.wishes
            .forget(|stream| self.meeting.streams.get(stream).is_some());
        self.check(&before, asked);
    }

    fn user(&self, client: usize) -> Option<UserId> {
        self.clients[client]
            .session
            .and_then(|s| self.meeting.roster.by_session(s))
    }

    /// It stops without a word; its session is noticed only by its silence.
    fn crash(&mut self, client: usize) -> Option<UserId> {
        self.clients[client].alive = false;
        None
    }

    /// Its session is gone.
    fn lose(&mut self, client: usize) -> Option<UserId> {
        if let Some(session) = self.clients[client].session {
            self.clients[client].offline();
            self.closed.insert(session);
            let effects = self.meeting.handle_session_lost(session, self.now);
            self.apply(effects);
        }
        None
    }

    fn speakers(&mut self) -> Option<UserId> {
        let mut loud: Vec<ParticipantId> = self
            .meeting
            .roster
            .iter()
            .map(|seat| seat.participant)
            .collect();
        let count = self.rng.random_range(0..=loud.len());
        for place in 0..count {
            let other = self.rng.random_range(place..loud.len());
            loud.swap(place, other);
        }
        loud.truncate(count);
        loud.push(ParticipantId::from_bytes(self.rng.random()));
        let handler = self.any_handler();
        if self.handlers[handler].gone {
            return None;
        }
        let id = self.handlers[handler].id;
        let effects = self.meeting.handle_speakers(id, &loud, self.now);
        self.apply(effects);
        None
    }

    fn media_session(&mut self, client: usize) -> Option<UserId> {
        let seat = self
            .user(client)
            .and_then(|user| self.meeting.roster.get(user));
        let participant = seat.map(|seat| seat.participant)?;
        let connected = self.chance(70);
        let handler = self.any_handler();
        if self.handlers[handler].gone {
            return None;
        }
        let id = self.handlers[handler].id;
        let effects = self
            .meeting
            .handle_media_session(id, participant, connected, self.now);
        self.apply(effects);
        None
    }

    /// The handler's receivers want other encodings of some stream.
    fn demand(&mut self) -> Option<UserId> {
        let mut encodings = Vec::new();
        for encoding in 0..4 {
            if self.chance(50) {
                let max_bitrate = self.rng.random_range(0..3) * 100_000;
                encodings.push(WantedEncoding {
                    encoding,
                    max_bitrate,
                });
            }
        }
        let demand = EncodingDemand {
            stream_id: self.any_stream(),
            encodings,
        };
        let stream = demand.stream_id.parse().expect("a UUID");
        let handler = self.any_handler();
        if self.handlers[handler].gone {
            return None;
        }
        let id = self.handlers[handler].id;
        let stream_of = self.meeting.streams.get(stream);
        let owner = stream_of.and_then(|s| self.meeting.roster.get(s.owner));
        if owner.is_some_and(|seat| seat.place.sends_to(false).any(|h| h == id)) {
            self.wishes.report(stream, id, &demand);
        }
        let effects = self.meeting.handle_demand(id, &demand, self.now);
        self.apply(effects);
        None
    }

    fn settings(&mut self) -> Option<UserId> {
        let mut settings = self.meeting.config.settings.clone();
        settings.participants_max = self.rng.random_range(1..=super::PEOPLE);
        let effects = self.meeting.handle_settings(settings, None, self.now);
        self.apply(effects.expect("the encryption stays as it is"));
        None
    }

    fn end(&mut self) -> Option<UserId> {
        let effects = self.meeting.handle_end();
        self.apply(effects);
        None
    }

    /// Joins, or takes its seat back, perhaps while another session of it lives.
    fn come(&mut self, client: usize) -> Option<UserId> {
        let session = self.new_session();
        let token = self.clients[client].resume_token.clone();
        match token {
            Some(token) if self.chance(70) => self.resume(client, session, &token),
            _ => {
                if let Some(old) = self.clients[client].session {
                    // A second session of the same person is a new seat; here the
                    // first one goes.
                    self.clients[client].offline();
                    self.closed.insert(old);
                    let effects = self.meeting.handle_session_lost(old, self.now);
                    self.apply(effects);
                }
                self.join(client, session);
                self.user(client)
            }
        }
    }

    fn join(&mut self, client: usize, session: crate::SessionId) {
        if self.clients[client].barred(self.now) && self.chance(50) {
            self.clients[client].tokens += 1;
            self.clients[client].barred_until = None;
        }
        let join = Join {
            role: if self.clients[client].host {
                Role::Host
            } else {
                Role::Guest
            },
            credential: self.credential(client),
            name: format!(" {} ", self.clients[client].name),
            max_video_streams: self.rng.random_range(0..=4),
            codecs: self.codecs(),
            e2ee: None,
        };
        self.connect(client, session);
        let request_id = self.clients[client].request(OnAck::Nothing);
        let seats = self.meeting.status().seats;
        let max = self.meeting.config.settings.participants_max;
        let joined = self
            .meeting
            .handle_join(session, request_id, join, self.now, &mut self.rng);
        match joined {
            Ok(effects) => {
                assert!(seats < max, "a meeting never has more seats than it may");
                assert!(
                    !self.clients[client].barred(self.now),
                    "who was removed stays out"
                );
                assert!(!self.ended);
                self.clients[client].resume_token = None;
                self.apply(effects);
            }
            Err(error) => {
                match error {
                    JoinError::Full(_) => assert!(seats >= max),
                    JoinError::Ended => assert!(self.ended),
                    JoinError::Removed => assert!(self.clients[client].barred(self.now)),
                    other => panic!("{other}"),
                }
                self.clients[client].offline();
            }
        }
    }

    fn resume(&mut self, client: usize, session: crate::SessionId, token: &[u8]) -> Option<UserId> {
        if let Some(old) = self.clients[client].old_token.clone() {
            let resume = Resume {
                hash: resume_hash(&old),
                kept_streams: vec![],
                max_video_streams: None,
                codecs: None,
                e2ee: None,
            };
            let refused = self
                .meeting
                .handle_resume(session, 1, &resume, self.now, &mut self.rng);
            assert!(refused.is_err(), "a used token is void");
        }
        let hash = resume_hash(token);
        let seat = self.meeting.roster.by_resume_hash(&hash);
        let streams: Vec<StreamId> = seat
            .and_then(|user| self.meeting.roster.get(user))
            .map(|seat| seat.streams.clone())
            .unwrap_or_default();
        let kept: Vec<String> = streams
            .iter()
            .filter(|_| self.rng.random())
            .map(ToString::to_string)
            .collect();
        let resume = Resume {
            hash,
            kept_streams: kept.clone(),
            max_video_streams: None,
            codecs: self.chance(20).then(|| self.codecs()),
            e2ee: None,
        };
        let old = self.clients[client].session;
        self.connect(client, session);
        let request_id = self.clients[client].request(OnAck::Nothing);
        let resumed =
            self.meeting
                .handle_resume(session, request_id, &resume, self.now, &mut self.rng);
        match resumed {
            Ok(effects) => {
                assert_eq!(self.user(client), seat, "the same seat");
                let user = seat.expect("a seat that is kept");
                let now = &self.meeting.roster.get(user).expect("it is there").streams;
                assert!(now.iter().all(|s| kept.contains(&s.to_string())));
                self.apply(effects);
                if let Some(old) = old {
                    assert!(self.closed.contains(&old), "the newest session wins");
                }
                seat
            }
            Err(error) => {
                assert!(
                    (error == JoinError::SeatLost && seat.is_none())
                        || (error == JoinError::Ended && self.ended)
                );
                self.clients[client].offline();
                self.clients[client].resume_token = None;
                if let Some(old) = old {
                    // Its other session had a seat of its own.
                    self.closed.insert(old);
                    let effects = self.meeting.handle_session_lost(old, self.now);
                    self.apply(effects);
                }
                None
            }
        }
    }

    fn connect(&mut self, client: usize, session: crate::SessionId) {
        let client = &mut self.clients[client];
        client.offline();
        client.session = Some(session);
        client.alive = true;
        client.joining = true;
    }

    /// A client asks for something.
    fn ask(&mut self, client: usize) -> Option<UserId> {
        let user = self.user(client)?;
        if !self.clients[client].alive {
            return None;
        }
        let (request, on_ack) = self.request_of(user);
        let kicked = match &request {
            Request::RemoveParticipant(r) if self.meeting.roster.get(user)?.is_host() => {
                let id = r.participant_id.parse().ok();
                id.and_then(|id| self.meeting.roster.by_participant(id))
                    .filter(|u| *u != user)
            }
            _ => None,
        };
        let kicked = kicked.and_then(|user| {
            let seat = self.meeting.roster.get(user)?;
            let credential = seat.credential;
            (0..self.clients.len()).find(|c| self.credential(*c) == credential)
        });
        let session = self.clients[client].session?;
        let request_id = self.clients[client].request(on_ack);
        let request_id = match &request {
            // Nobody waits for the answer to a heartbeat.
            Request::Heartbeat(_) if self.chance(50) => {
                self.clients[client].pending.remove(&request_id);
                0
            }
            _ => request_id,
        };
        let effects = self
            .meeting
            .handle_request(session, request_id, request, self.now);
        self.apply(effects);
        if let Some(kicked) = kicked {
            let until = self.now.plus_ms(self.meeting.config.limits.barred_ms);
            self.clients[kicked].barred_until = Some(until);
        }
        Some(user)
    }
}
