//! What streams are encoded with, and which encodings are sent.

use dt_wire::internal::{EncodingDemand, WantedEncoding};

use super::*;

fn knows(names: &[&str]) -> Codecs {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Codecs::parse(&names, &[])
}

impl Room {
    fn with_codecs(&mut self, number: u64, names: &[&str]) -> Person {
        self.enter(number, 0, Role::Participant, knows(names))
    }

    fn publish_as(&mut self, who: Person, codec: &str, layers: usize) -> String {
        let stream_id = StreamId::from_bytes(self.rng.random()).to_string();
        let video = v1::VideoMetadata {
            simulcast_layers: vec![v1::SimulcastLayer::default(); layers],
            ..v1::VideoMetadata::default()
        };
        let request = PublishStream {
            stream_id: stream_id.clone(),
            stream_type: StreamType::VideoCamera.into(),
            metadata: Some(StreamMetadata {
                codec: codec.into(),
                video: Some(video),
                ..StreamMetadata::default()
            }),
            stream_number: 1,
            ..PublishStream::default()
        };
        let answer = self.ask(who, Request::PublishStream(request));
        assert!(matches!(answer, Body::StreamPublished(_)), "{answer:?}");
        stream_id
    }

    /// The last of the messages of a kind.
    fn last<T>(&self, who: Person, of: impl Fn(&Body) -> Option<T>) -> Option<T> {
        let told = self.told[&SessionId(who.0)].iter().rev();
        told.map(|(_, body)| of(body)).find_map(|found| found)
    }

    /// Encodings that are to be sent now, with their limits; as last told.
    fn sending(&self, who: Person) -> Vec<(u32, u32)> {
        let told = self.last(who, |body| match body {
            Body::SendDirective(directive) => Some(directive.encodings.clone()),
            _ => None,
        });
        let active = told.into_iter().flatten().filter(|e| e.active);
        active.map(|e| (e.encoding, e.max_bitrate)).collect()
    }

    fn encodes(&self, who: Person) -> String {
        let told = self.last(who, |body| match body {
            Body::SendDirective(directive) => Some(directive.encodings[0].codec.clone()),
            _ => None,
        });
        told.expect("it was told")
    }

    fn assigned(&self, who: Person) -> StreamAssignments {
        let told = self.last(who, |body| match body {
            Body::StreamAssignments(assignments) => Some(assignments.clone()),
            _ => None,
        });
        told.expect("it was told")
    }

    fn welcome(&self, who: Person) -> v1::JoinResponse {
        let told = self.last(who, |body| match body {
            Body::JoinResponse(response) => Some(response.clone()),
            _ => None,
        });
        told.expect("it was welcomed")
    }

    fn demand(&mut self, stream_id: &str, wanted: &[(u32, u32)]) {
        let encodings = wanted.iter().map(|(encoding, max_bitrate)| WantedEncoding {
            encoding: *encoding,
            max_bitrate: *max_bitrate,
        });
        let demand = EncodingDemand {
            stream_id: stream_id.into(),
            encodings: encodings.collect(),
        };
        let effects = self.meeting.handle_demand(self.handler, &demand, self.now);
        self.apply(effects);
    }
}

#[test]
fn the_codec_follows_who_joins_and_leaves_and_nobody_loses_the_picture() {
    let mut room = Room::new(10);
    let ana = room.with_codecs(1, &["AV1", "VP8"]);
    let ben = room.with_codecs(2, &["AV1", "VP8"]);
    let camera = room.publish_as(ana, "av01", 0);
    let seen = room.subscribe(ben, grid(1, 1));
    assert_eq!(room.assigned(ben).assignments[0].codec, "av01");
    assert_eq!(room.encodes(ana), "", "as published");

    let cem = room.with_codecs(3, &["VP8"]);
    assert_eq!(room.encodes(ana), "vp08");
    let assigned = room.assigned(ben);
    assert_eq!(assigned.assignments[0].codec, "vp08");
    assert_eq!(
        assigned.generation, 2,
        "old datagrams are known by their generation"
    );
    assert_eq!(slots(&assigned), seen, "the tile stays");
    assert_eq!(
        room.subscribe(cem, grid(1, 1)),
        [(1, camera.clone())].into()
    );

    room.leave(cem);
    assert_eq!(room.encodes(ana), "");
    assert_eq!(room.assigned(ben).assignments[0].codec, "av01");
}

#[test]
fn a_newcomer_without_a_common_codec_is_told_and_disturbs_nobody() {
    let mut room = Room::new(10);
    let ana = room.with_codecs(1, &["VP8", "AV1"]);
    let ben = room.with_codecs(2, &["VP8"]);
    room.publish_as(ana, "vp08", 0);
    room.subscribe(ben, grid(1, 1));
    let before = room.assigned(ben);
    assert!(!room.welcome(ben).no_common_video_codec);

    let eve = room.with_codecs(3, &["AV1"]);
    let welcome = room.welcome(eve);
    assert!(welcome.no_common_video_codec && !welcome.no_common_audio_codec);
    assert!(
        room.subscribe(eve, grid(2, 2)).is_empty(),
        "nothing it can't decode"
    );
    assert_eq!(room.assigned(ben), before);
    assert_eq!(room.encodes(ana), "");

    room.leave(ben);
    assert_eq!(room.encodes(ana), "av01", "now it has a turn");
    assert_eq!(room.assigned(eve).assignments.len(), 1);
}

#[test]
fn the_first_one_in_a_meeting_lacks_nothing() {
    let mut room = Room::new(10);
    let ana = room.with_codecs(1, &["AV1"]);
    assert!(!room.welcome(ana).no_common_video_codec);
    let ben = room.with_codecs(2, &["VP8"]);
    assert!(
        room.welcome(ben).no_common_video_codec,
        "ana may turn her camera on"
    );
}

#[test]
fn a_sender_sends_the_encodings_that_somebody_wants() {
    let mut room = Room::new(10);
    let people = room.people(2);
    let camera = room.publish_as(people[0], "vp08", 3);
    assert_eq!(room.sending(people[0]), []);
    room.subscribe(people[1], grid(1, 1));
    let all = vec![(0, 0), (1, 0), (2, 0)];
    assert_eq!(room.sending(people[0]), all, "until a handler knows better");

    room.demand(&camera, &[(1, 300_000)]);
    assert_eq!(room.sending(people[0]), [(1, 300_000)], "off at once");

    room.demand(&camera, &[(1, 300_000), (2, 0)]);
    assert_eq!(
        room.sending(people[0]),
        [(1, 300_000), (2, 0)],
        "on at once"
    );
    room.demand(&camera, &[]);
    assert_eq!(room.sending(people[0]), [], "a camera that nobody sees");
}

#[test]
fn who_begins_to_watch_waits_for_no_handler() {
    let mut room = Room::new(10);
    let people = room.people(2);
    let camera = room.publish_as(people[0], "vp08", 2);
    room.subscribe(people[1], grid(1, 1));
    room.demand(&camera, &[]);
    room.pass(2000);
    assert_eq!(room.sending(people[0]), []);
    room.mute(people[0], &camera, true);
    room.mute(people[0], &camera, false);
    assert_eq!(room.sending(people[0]), [(0, 0), (1, 0)]);
    room.pass(2000);
    assert_eq!(room.sending(people[0]), [], "the handler's last word holds");
}

#[test]
fn demands_of_unknown_handlers_and_streams_change_nothing() {
    let mut room = Room::new(10);
    let people = room.people(2);
    let camera = room.publish_as(people[0], "vp08", 1);
    room.subscribe(people[1], grid(1, 1));
    room.demand("nonsense", &[]);
    room.demand(&StreamId::from_bytes([1; 16]).to_string(), &[]);
    room.demand(&camera, &[(0, 0), (9, 0)]);
    let demand = EncodingDemand {
        stream_id: camera,
        encodings: vec![],
    };
    let stranger = HandlerId::from_bytes([3; 16]);
    let effects = room.meeting.handle_demand(stranger, &demand, room.now);
    room.apply(effects);
    room.pass(5000);
    assert_eq!(room.sending(people[0]), [(0, 0)]);
}

#[test]
fn a_microphone_is_sent_though_no_slot_has_room_for_it() {
    let mut room = Room::new(20);
    let people = room.people(5);
    let voices: Vec<_> = people
        .iter()
        .map(|p| room.publish(*p, StreamType::Audio))
        .collect();
    for who in &people {
        assert_eq!(room.sending(*who), [], "nobody listens");
    }
    // Two slots, four others.
    let heard = room.subscribe(people[0], grid(1, 1));
    assert!(!heard.values().any(|id| *id == voices[4]));
    assert_eq!(
        room.sending(people[4]),
        [(0, 0)],
        "else it could never be a speaker"
    );
    assert_eq!(room.sending(people[0]), [], "nobody else listens");
    room.mute(people[4], &voices[4], true);
    assert_eq!(room.sending(people[4]), []);
    room.leave(people[0]);
    assert_eq!(room.sending(people[3]), []);
}

#[test]
fn the_handler_is_told_who_asked_for_how_much_and_what_matters() {
    let mut room = Room::new(10);
    let people = room.people(3);
    let camera = room.camera(people[1]);
    let screen = room.publish(people[1], StreamType::VideoScreen);
    let other = room.camera(people[2]);
    room.subscribe(people[0], grid(2, 2));
    let class = |room: &Room, stream: &str| room.way(room.handler, stream).destinations[0].class();
    use dt_wire::internal::DestinationClass::{Other, Screen, Speaker};
    assert_eq!(class(&room, &screen), Screen);
    assert_eq!(
        (class(&room, &camera), class(&room, &other)),
        (Other, Other)
    );
    room.publish(people[2], StreamType::Audio);
    room.speak(&[people[2]]);
    room.pass(1000);
    assert_eq!(
        (class(&room, &camera), class(&room, &other)),
        (Other, Speaker)
    );
    let layout = Some(v1::Layout {
        pinned_user_ids: vec![2],
        ..grid(2, 2)
    });
    room.ask(people[0], Request::UpdateLayout(UpdateLayout { layout }));
    assert_eq!(
        (class(&room, &camera), class(&room, &other)),
        (Speaker, Speaker)
    );

    let limit = |room: &Room| room.way(room.handler, &camera).destinations[0].max_bitrate;
    assert_eq!(limit(&room), 0);
    for max_bitrate in [300_000, 200_000, 0] {
        let request = SubscribeStream {
            stream_id: camera.clone(),
            options: Some(v1::SubscriptionOptions {
                max_bitrate,
                ..Default::default()
            }),
            slot: 50,
        };
        room.ask(people[0], Request::SubscribeStream(request));
        assert_eq!(limit(&room), max_bitrate);
    }
}
