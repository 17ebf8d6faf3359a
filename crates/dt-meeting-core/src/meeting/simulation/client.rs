//! A client that believes what it is told, and nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use dt_wire::v1::{
    JoinResponse, MediaStream, MeetingInfo, Participant, ParticipantUpdated, SendDirective,
    ServerMessage, StreamAssignments, server_message::Body,
};
use rand::{RngExt as _, rngs::StdRng};

use crate::{SessionId, Time};

/// What a request changes at the client once it is acknowledged.
#[derive(Debug, Clone)]
pub(super) enum OnAck {
    Nothing,
    Unpublish(String),
    Mute(String, bool),
}

#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) me: Participant,
    pub(super) others: BTreeMap<String, Participant>,
    pub(super) assignments: StreamAssignments,
    pub(super) directive: SendDirective,
    pub(super) speakers: Vec<String>,
    pub(super) meeting: MeetingInfo,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) host: bool,
    pub(super) session: Option<SessionId>,
    /// A client that crashed does and hears nothing, but its session is there.
    pub(super) alive: bool,
    pub(super) view: Option<View>,
    /// The session waits for its first answer; whether it resumes.
    pub(super) joining: bool,
    pub(super) resume_token: Option<Bytes>,
    /// The token before it, which must be void.
    pub(super) old_token: Option<Bytes>,
    /// Join tokens it has had.
    pub(super) tokens: u64,
    /// Until when its join token is void.
    pub(super) barred_until: Option<Time>,
    last_words: bool,
    pub(super) pending: BTreeMap<u64, OnAck>,
    pub(super) last_request: u64,
}

impl Client {
    pub(super) fn new(number: usize, rng: &mut StdRng) -> Self {
        Self {
            name: format!("person {number}"),
            host: number == 0 || rng.random_ratio(1, 8),
            session: None,
            alive: false,
            view: None,
            joining: false,
            resume_token: None,
            old_token: None,
            tokens: 0,
            barred_until: None,
            last_words: false,
            pending: BTreeMap::new(),
            last_request: 0,
        }
    }

    pub(super) fn barred(&self, now: Time) -> bool {
        self.barred_until.is_some_and(|until| now < until)
    }

    /// It has no session any more.
    pub(super) fn offline(&mut self) {
        self.session = None;
        self.alive = false;
        self.view = None;
        self.joining = false;
        self.last_words = false;
        self.pending.clear();
    }

    pub(super) fn closed(&mut self, session: SessionId) {
        if self.session == Some(session) {
            self.offline();
        }
    }

    pub(super) fn request(&mut self, on_ack: OnAck) -> u64 {
        self.last_request += 1;
        self.pending.insert(self.last_request, on_ack);
        self.last_request
    }

    pub(super) fn receive(&mut self, message: ServerMessage) {
        if !self.alive {
            return;
        }
        let on_ack = match message.request_id {
            0 => None,
            id => Some(
                self.pending
                    .remove(&id)
                    .expect("an answer belongs to one open request"),
            ),
        };
        let body = message.body.expect("a message has a body");
        if let Body::JoinResponse(response) = body {
            return self.welcome(response);
        }
        if let Body::Error(_) = body {
            return;
        }
        if self.joining && matches!(body, Body::ParticipantLeft(_) | Body::Ack(_)) {
            // It left, or was sent away, before it was welcomed: last words.
            self.last_words = true;
            return;
        }
        assert!(!self.last_words, "nothing follows last words");
        let view = self.view.as_mut().expect("the first answer comes first");
        view.apply(body, on_ack);
    }

    fn welcome(&mut self, response: JoinResponse) {
        assert!(self.joining, "one welcome a session");
        self.joining = false;
        assert_eq!(response.resume_token.len(), 32);
        assert_ne!(
            self.resume_token.as_ref(),
            Some(&response.resume_token),
            "tokens are rotated"
        );
        self.old_token = self.resume_token.replace(response.resume_token);
        let others = response.existing_participants;
        self.view = Some(View {
            me: response.self_.expect("it says who one is"),
            others: others
                .into_iter()
                .map(|p| (p.participant_id.clone(), p))
                .collect(),
            meeting: response.meeting.expect("it says what it is"),
            directive: response.send_directive.expect("it says what to send"),
            ..View::default()
        });
    }
}

impl View {
    fn apply(&mut self, body: Body, on_ack: Option<OnAck>) {
        match body {
            Body::Ack(_) => match on_ack.expect("an ack answers a request") {
                OnAck::Nothing => {}
                OnAck::Unpublish(id) => self.me.streams.retain(|s| s.stream_id != id),
                OnAck::Mute(id, muted) => mute(&mut self.me, &id, muted),
            },
            Body::ParticipantJoined(joined) => {
                let who = joined.participant.expect("somebody joined");
                let before = self.others.insert(who.participant_id.clone(), who);
                assert!(before.is_none(), "nobody joins twice");
            }
            Body::ParticipantLeft(left) => {
                self.speakers.retain(|s| *s != left.participant_id);
                if left.participant_id != self.me.participant_id {
                    let known = self.others.remove(&left.participant_id);
                    assert!(known.is_some(), "only who is there leaves");
                }
            }
            Body::ParticipantUpdated(update) => self.update(update),
            Body::StreamPublished(published) => {
                let stream = published.stream.expect("a stream was published");
                self.streams(&published.participant_id).push(stream);
            }
            Body::StreamUnpublished(gone) => {
                self.streams(&gone.participant_id)
                    .retain(|s| s.stream_id != gone.stream_id);
            }
            Body::StreamAssignments(assignments) => {
                let newer = assignments.generation > self.assignments.generation;
                assert!(
                    newer || assignments == self.assignments,
                    "a change has a new generation"
                );
                self.assignments = assignments;
            }
            Body::SendDirective(directive) => {
                assert_ne!(directive, self.directive, "a directive says something new");
                self.directive = directive;
            }
            Body::ActiveSpeakers(speakers) => self.speakers = speakers.participant_ids,
            Body::RequestKeyframe(r) => {
                assert!(self.me.streams.iter().any(|s| s.stream_id == r.stream_id));
            }
            Body::SubscriptionAck(_) | Body::MediaToken(_) | Body::StreamQualityUpdate(_) => {}
            Body::JoinResponse(_) | Body::Error(_) => unreachable!("taken before"),
            Body::MeetingUpdated(updated) => self.meeting = updated.meeting.expect("what is new"),
            // Looked at by the world.
            Body::HandlerAssigned(_) | Body::HandlerRemoved(_) => {}
            Body::Mls(_) | Body::E2eeEntry(_) => panic!("this meeting is not encrypted"),
        }
    }

    fn update(&mut self, update: ParticipantUpdated) {
        let who = self
            .others
            .get_mut(&update.participant_id)
            .expect("only others are updated");
        if let Some(connection) = update.connection {
            who.connection = connection;
        }
        if let Some(role) = update.role {
            who.role = role;
        }
        for change in update.mutes {
            mute(who, &change.stream_id, change.muted);
        }
    }

    fn streams(&mut self, participant: &str) -> &mut Vec<MediaStream> {
        if participant == self.me.participant_id {
            return &mut self.me.streams;
        }
        &mut self
            .others
            .get_mut(participant)
            .expect("only who is there publishes")
            .streams
    }
}

fn mute(who: &mut Participant, id: &str, muted: bool) {
    let stream = who.streams.iter_mut().find(|s| s.stream_id == id);
    stream.expect("only published streams are muted").muted = muted;
}
