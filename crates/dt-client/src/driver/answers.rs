//! What the controller's messages mean.

use std::{sync::Arc, time::Duration};

use dt_ids::{Encoding, HandlerId, StreamId};
use dt_session_core::{Attempt, Closed, End, Phase, Refusal, ResumeToken};
use dt_wire::v1::{
    Carrier, ErrorCode, ErrorMessage, HandlerRemoved, JoinResponse, LeaveReason, MediaServerInfo,
    MediaToken, ParticipantLeft, ParticipantUpdated, RequestMediaToken, SendDirective,
    StreamAssignments, StreamPublished, UpdateLayout, client_message, server_message::Body,
};

use url::Url;

use super::{Driver, Pending, Seat, now};
use crate::{
    CommonCodecs, Dial, Directive, EncodingOrder, Endpoint, Event, HandlerEndpoint, RequestError,
    Roster, Secret, StreamType, encryption::Input, media::MediaReport, publisher::Shared,
    signaling::Report,
};

impl<D: Dial> Driver<D> {
    pub(super) fn handle_report(&mut self, report: Report) {
        match report {
            Report::Opened(attempt, carrier) => {
                self.receiving.health.signaling_opened(carrier);
                if let Some(session) = self.session.as_mut().filter(|s| s.attempt == attempt) {
                    session.carrier = Some(carrier);
                }
                self.machine.handle_open(attempt, now());
            }
            Report::OpenFailed(attempt, error) => {
                self.last_error = Some(error.to_string());
                self.machine.handle_open_failed(attempt, now());
            }
            Report::Closed(attempt, closed) => {
                let session = self.session.take_if(|session| session.attempt == attempt);
                if closed == Closed::Lost
                    && let Some(carrier) = session.and_then(|session| session.carrier)
                {
                    self.dial.died(carrier);
                }
                self.machine.handle_closed(attempt, closed, now());
            }
            Report::Echo(attempt, packet) => self.machine.handle_echo(attempt, &packet, now()),
            Report::Message(attempt, request_id, body) => {
                if self.session.as_ref().is_some_and(|s| s.attempt == attempt) {
                    self.machine.handle_message(attempt, now());
                    self.handle_message(attempt, request_id, *body);
                }
            }
        }
    }

    pub(super) fn handle_media(&mut self, report: MediaReport) {
        match report {
            MediaReport::NeedsToken(handler) => self.media.need_token(handler, now()),
            MediaReport::Ready(handler) => self.show_handler(handler, true),
            MediaReport::Lost(handler) => self.show_handler(handler, false),
            MediaReport::KeyFrameWanted(stream, encoding) => {
                self.want_key_frame(stream, encoding);
            }
        }
    }

    fn show_handler(&mut self, handler: HandlerId, ready: bool) {
        if let Some(event) = self.media.set_ready(handler, ready) {
            self.tell(event);
        }
    }

    fn want_key_frame(&self, stream: StreamId, encoding: Encoding) {
        if let Some(publisher) = self.publishers.iter().find(|p| p.stream_id == stream) {
            publisher.want_key_frame(encoding);
        }
    }

    pub(super) fn request_token(&mut self, handler: HandlerId) {
        let request = RequestMediaToken {
            handler_id: handler.to_string(),
        };
        self.request(
            client_message::Body::RequestMediaToken(request),
            Pending::MediaToken,
        );
    }

    fn handle_message(&mut self, attempt: Attempt, request_id: u64, body: Body) {
        let pending = match request_id {
            0 => None,
            id => self.pending.remove(&id),
        };
        match (body, pending) {
            (Body::Error(error), pending) => self.handle_error(attempt, error, pending),
            (Body::JoinResponse(response), Some(Pending::Join)) => {
                self.handle_joined(attempt, &response);
            }
            (Body::StreamPublished(published), Some(Pending::Publish(stream, waits))) => {
                let publisher = self.publishers.iter().find(|p| p.stream_id == stream);
                if let (Some(publisher), Some(stream)) = (publisher, &published.stream) {
                    publisher.confirmed(stream);
                }
                if let Some(waits) = waits {
                    let _ = waits.reply.send(Ok(waits.publisher));
                }
            }
            (Body::MediaToken(token), _) => self.handle_token(&token),
            (_, Some(Pending::Mls(request))) => self.group_answered(request, Ok(())),
            (_, Some(Pending::Leave)) => self.machine.handle_leave(),
            (Body::StreamAssignments(map), pending) => {
                self.handle_assignments(&map);
                self.answered(pending);
            }
            (_, Some(pending)) => self.answered(Some(pending)),
            (body, None) => self.handle_push(body),
        }
    }

    fn answered(&mut self, pending: Option<Pending>) {
        if let Some(Pending::Reply(reply)) = pending {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(Ok(()));
        }
    }

    fn handle_error(&mut self, attempt: Attempt, error: ErrorMessage, pending: Option<Pending>) {
        match pending {
            Some(Pending::Join) => {
                self.last_error = Some(error.message.clone());
                let refusal = Refusal {
                    code: error.code(),
                    retry_after: error
                        .retry_after_ms
                        .map(|ms| Duration::from_millis(ms.into())),
                };
                self.machine.handle_refused(attempt, refusal, now());
            }
            Some(Pending::Publish(_, Some(waits))) => {
                // Dropping its publisher takes it off the list.
                let _ = waits.reply.send(Err(RequestError::from_wire(error)));
            }
            Some(Pending::Reply(reply)) => {
                let _ = reply.send(Err(RequestError::from_wire(error)));
            }
            // A seat that was taken back has its layout still.
            Some(Pending::Layout) if error.code() == ErrorCode::Conflict => self.update_layout(),
            Some(Pending::Leave) => self.machine.handle_leave(),
            Some(Pending::Mls(request)) => self.group_answered(request, Err(error.code())),
            // Asked for again after a while.
            Some(Pending::MediaToken) => {}
            Some(Pending::Publish(_, None) | Pending::Layout | Pending::Quiet) | None => {
                // Errors of a join that failed already concern nobody.
                if self.machine.phase() == Phase::Joined {
                    self.tell(Event::Refused(error.code(), error.message));
                }
            }
        }
    }

    fn update_layout(&mut self) {
        if let Some(layout) = &self.layout {
            let layout = Some(layout.message());
            self.request(
                client_message::Body::UpdateLayout(UpdateLayout { layout }),
                Pending::Quiet,
            );
        }
    }

    fn handle_joined(&mut self, attempt: Attempt, response: &JoinResponse) {
        let Ok(participant_id) = response.participant_id.parse() else {
            self.last_error = Some("the server gave a seat without a valid id".into());
            self.told(End::Protocol);
            return;
        };
        if let Err(error) = self.decide_encryption(response) {
            self.last_error = Some(error.to_string());
            if let Some(joined) = self.joined.take() {
                let _ = joined.send(Err(error));
            }
            self.told(End::Protocol);
            return;
        }
        let user_id = dt_ids::UserId(response.user_id);
        self.seat = Some((participant_id, user_id));
        for publisher in &self.publishers {
            // Set once; a seat that is taken back keeps its number.
            let _ = publisher.user_id.set(user_id);
        }
        let token = ResumeToken(response.resume_token.clone());
        self.machine.handle_joined(attempt, token, now());
        self.receiving.renew_assignments();
        self.change_roster(|roster| {
            roster.clear();
            for participant in &response.existing_participants {
                roster.insert(participant);
            }
            roster.light(&response.meeting.clone().unwrap_or_default());
        });
        for participant in self.roster.borrow().participants() {
            self.receiving.set_owners(participant);
        }
        if let Some(entry) = &response.e2ee {
            self.enter_group(participant_id, entry);
        }
        let servers = match &response.media_servers[..] {
            [] => response.media_server.as_slice(),
            servers => servers,
        };
        let seat: Vec<_> = servers.iter().filter_map(|s| self.use_handler(s)).collect();
        if !seat.is_empty() && self.media.settle(&seat, &self.publishers) {
            self.tell(Event::MediaReady);
        }
        if response.resumed {
            self.publish_missing(response);
        }
        if let Some(directive) = &response.send_directive {
            self.direct(directive);
        }
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(Ok(Seat {
                participant_id,
                user_id,
                common_codecs: CommonCodecs {
                    video: !response.no_common_video_codec,
                    audio: !response.no_common_audio_codec,
                },
            }));
        }
    }

    /// Publishes what the seat that was taken back does not have any more.
    fn publish_missing(&mut self, response: &JoinResponse) {
        let kept: Vec<StreamId> = response
            .self_
            .iter()
            .flat_map(|participant| &participant.streams)
            .filter_map(|stream| stream.stream_id.parse().ok())
            .collect();
        for publisher in self.publishers.clone() {
            if !kept.contains(&publisher.stream_id) {
                self.publish(&publisher, None);
            }
        }
    }

    /// A path stands on the origin of the API, as the controller's own URL does.
    fn websocket_url(&self, text: &str) -> Option<Url> {
        let known = self.access.meeting_controller.websocket_url.as_ref();
        match (text, known) {
            ("", _) => None,
            (text, Some(known)) => known.join(text).ok(),
            (text, None) => text.parse().ok(),
        }
    }

    /// Connects to a handler, or gives it its token when it is known.
    fn use_handler(&mut self, server: &MediaServerInfo) -> Option<HandlerId> {
        let handler_id = server.handler_id.parse::<HandlerId>().ok()?;
        let url = server.media_handler_url.parse().ok()?;
        let certificate_hashes = server
            .certificate_hashes
            .iter()
            .filter_map(|hash| hash[..].try_into().ok())
            .collect();
        let endpoint = Endpoint {
            url,
            websocket_url: self.websocket_url(&server.websocket_url),
            certificate_hashes,
        };
        self.media.ensure(
            HandlerEndpoint {
                handler_id,
                endpoint,
            },
            &self.publishers,
        );
        if !server.connection_token.is_empty() {
            self.media
                .give_token(handler_id, Secret::new(&server.connection_token));
        }
        Some(handler_id)
    }

    /// Of a handler that was removed meanwhile it is of no use.
    fn handle_token(&mut self, token: &MediaToken) {
        let server = token.media_server.as_ref();
        if let Some(server) = server
            && let Ok(handler) = server.handler_id.parse()
            && !server.connection_token.is_empty()
        {
            let token = Secret::new(&server.connection_token);
            self.media.give_token(handler, token);
        }
    }

    fn handle_removed(&mut self, removed: &HandlerRemoved) {
        if let Ok(handler) = removed.handler_id.parse()
            && self.media.remove(handler, &self.publishers)
        {
            self.tell(Event::MediaReady);
        }
    }

    /// The whole truth about what to send. Pictures that go to a single handler go
    /// to the home; nothing else tells that it is another one.
    fn direct(&mut self, message: &SendDirective) {
        let mut home = None;
        for publisher in &self.publishers {
            let directive = directive_of(publisher, message);
            if let (false, Some(order)) = (publisher.is_audio(), directive.encodings.first())
                && let [handler] = order.handlers[..]
            {
                home = Some(handler);
            }
            publisher.direct(directive);
        }
        if home.is_some_and(|home| self.media.set_home(home)) {
            self.tell(Event::MediaReady);
        }
    }

    fn handle_assignments(&mut self, map: &StreamAssignments) {
        self.receiving.assign(map);
        let streams = map.assignments.iter();
        let streams = streams.filter_map(|entry| entry.stream_id.parse().ok());
        self.tell(Event::Assigned(streams.collect()));
    }

    fn handle_push(&mut self, body: Body) {
        match body {
            Body::ParticipantJoined(joined) => {
                let participant = joined.participant.unwrap_or_default();
                if let Some(id) = self.change_roster(|roster| roster.insert(&participant)) {
                    if let Some(participant) = self.roster.borrow().get(id) {
                        self.receiving.set_owners(participant);
                    }
                    self.show_roster_to_group();
                    self.tell(Event::Joined(id));
                }
            }
            Body::ParticipantLeft(left) => self.handle_left(&left),
            Body::ParticipantUpdated(update) => self.handle_update(&update),
            Body::StreamPublished(published) => self.handle_published(&published),
            Body::StreamUnpublished(message) => {
                let owner = message.participant_id.parse();
                let stream = self.change_roster(|roster| roster.unpublish(&message));
                if let (Ok(owner), Some(stream)) = (owner, stream) {
                    self.receiving.forget_stream(stream);
                    self.tell(Event::Unpublished(owner, stream));
                }
            }
            Body::MeetingUpdated(updated) => {
                let meeting = updated.meeting.unwrap_or_default();
                if self.change_roster(|roster| roster.light(&meeting)) {
                    let spotlight = self.roster.borrow().spotlight().to_vec();
                    self.tell(Event::Spotlight(spotlight));
                }
            }
            Body::SendDirective(directive) => self.direct(&directive),
            Body::ActiveSpeakers(speakers) => {
                let ids = speakers.participant_ids.iter();
                let ids = ids.filter_map(|id| id.parse().ok()).collect();
                self.tell(Event::Speakers(ids));
            }
            Body::RequestKeyframe(request) => {
                let encoding = request.encoding.try_into();
                if let (Ok(stream), Ok(encoding)) = (request.stream_id.parse(), encoding) {
                    self.want_key_frame(stream, encoding);
                }
            }
            Body::HandlerAssigned(assigned) => {
                if let Some(server) = &assigned.media_server {
                    self.use_handler(server);
                }
            }
            Body::HandlerRemoved(removed) => self.handle_removed(&removed),
            Body::Mls(mls) => self.tell_group(Input::Message(Box::new(mls))),
            Body::E2eeEntry(entry) => self.tell_group(Input::Entry(Box::new(entry))),
            // Answers to questions that nobody waits for any more, and messages
            // that this client has no use for.
            Body::JoinResponse(_)
            | Body::Error(_)
            | Body::Ack(_)
            | Body::SubscriptionAck(_)
            | Body::StreamAssignments(_)
            | Body::MediaToken(_)
            | Body::StreamQualityUpdate(_) => {}
            #[allow(unreachable_patterns)] // messages of later versions of the wire
            _ => {}
        }
    }

    fn handle_left(&mut self, left: &ParticipantLeft) {
        let Ok(id) = left.participant_id.parse() else {
            return;
        };
        if self.seat.is_some_and(|(own, _)| own == id) || left.reason() == LeaveReason::MeetingEnded
        {
            self.told(match left.reason() {
                LeaveReason::Kicked => End::Removed,
                LeaveReason::MeetingEnded => End::MeetingEnded,
                LeaveReason::Voluntary => End::Left,
                LeaveReason::ConnectionLost => End::Lost,
            });
            return;
        }
        if let Some(gone) = self.change_roster(|roster| roster.remove(id)) {
            for stream in gone.streams {
                self.receiving.forget_stream(stream.id);
            }
            self.show_roster_to_group();
            self.tell(Event::Left(id, left.reason()));
        }
    }

    fn handle_update(&mut self, update: &ParticipantUpdated) {
        let Ok(id) = update.participant_id.parse() else {
            return;
        };
        if self.seat.is_some_and(|(own, _)| own == id) {
            for mute in &update.mutes {
                if let Ok(stream) = mute.stream_id.parse() {
                    self.set_muted(stream, mute.muted);
                }
            }
        } else {
            self.change_roster(|roster| roster.update(update));
        }
        self.tell(Event::Updated(id));
    }

    fn handle_published(&mut self, published: &StreamPublished) {
        let owner = published.participant_id.parse();
        let stream = self.change_roster(|roster| roster.publish(published));
        if let (Ok(owner), Some(stream)) = (owner, stream) {
            self.receiving.set_owner(stream, owner);
            self.tell(Event::Published(owner, stream));
        }
    }

    fn change_roster<T>(&self, change: impl FnOnce(&mut Roster) -> T) -> T {
        let mut result = None;
        self.roster
            .send_modify(|roster| result = Some(change(Arc::make_mut(roster))));
        result.expect("send_modify calls what it is given")
    }
}

/// What a whole directive says about one stream.
fn directive_of(publisher: &Shared, message: &SendDirective) -> Directive {
    let publication = &publisher.publication;
    let mut directive = Directive::nothing(publication.codec);
    let id = publisher.stream_id.to_string();
    let ours = message.encodings.iter().filter(|one| one.stream_id == id);
    for one in ours {
        let published = |encoding: &Encoding| u32::from(encoding.get()) == one.encoding;
        let Some(encoding) = publication.encodings().find(published) else {
            continue;
        };
        let place = usize::from(encoding.get());
        if directive.encodings.len() <= place {
            directive
                .encodings
                .resize_with(place + 1, EncodingOrder::default);
        }
        let handlers = one.handler_ids.iter().filter_map(|id| id.parse().ok());
        directive.encodings[place] = EncodingOrder {
            active: one.active,
            handlers: handlers.collect(),
            max_bitrate: one.max_bitrate,
        };
        directive.active |= one.active;
        directive.carrier = match (one.carrier(), publication.kind) {
            (Carrier::Unspecified, StreamType::Audio) => Carrier::Datagram,
            (Carrier::Unspecified, _) => Carrier::Stream,
            (carrier, _) => carrier,
        };
        directive.codec = one.codec.parse().unwrap_or(publication.codec);
    }
    directive
}
