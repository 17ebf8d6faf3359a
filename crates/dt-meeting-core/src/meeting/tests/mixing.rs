//! Sound that is mixed or encoded anew.

use dt_wire::{
    internal::{Destination, RoutingOptions},
    v1::{SubscriptionOptions, Transcoding, UnsubscribeLayout},
};

use super::*;
use crate::{
    SframeSuite,
    encryption::model::Ledger,
    error::{LayoutError, Rejection, SubscribeError},
    layout::Layout,
};

fn mixing() -> v1::Layout {
    v1::Layout {
        mix_audio: true,
        ..grid(2, 2)
    }
}

/// How somebody gets a stream.
fn to(room: &Room, stream: &str, number: u64) -> Option<Destination> {
    let user = room.meeting.roster.by_session(SessionId(number)).unwrap();
    let seat = room.meeting.roster.get(user).unwrap();
    let way = room.way(room.handler, stream);
    let participant = seat.participant.to_string();
    let found = way
        .destinations
        .into_iter()
        .find(|d| d.participant_id == participant);
    found.inspect(|d| assert_eq!(d.stream_number >> 24, seat.subscriber.generation() & 0xff))
}

fn mixed() -> Option<RoutingOptions> {
    Some(RoutingOptions {
        mix_audio: true,
        ..RoutingOptions::default()
    })
}

/// So many people, each with a voice.
fn speaking(room: &mut Room, count: u64) -> (Vec<Person>, Vec<String>) {
    let people = room.people(count);
    let voices = people
        .iter()
        .map(|who| room.publish(*who, StreamType::Audio))
        .collect();
    (people, voices)
}

#[test]
fn whoever_wants_a_mix_gets_every_voice_but_their_own_on_one_slot() {
    let mut room = Room::new(10);
    let (people, voices) = speaking(&mut room, 3);
    let seen = room.subscribe(people[0], mixing());
    assert_eq!(seen, BTreeMap::from([(1001, String::new())]));
    room.subscribe(people[1], grid(2, 2));
    assert_eq!(to(&room, &voices[0], 1), None);
    for voice in &voices[1..] {
        let way = to(&room, voice, 1).expect("it is in the mix");
        assert_eq!(
            (way.stream_number & 0xff_ffff, way.options),
            (1001, mixed())
        );
    }
    // Somebody else gets them as they are.
    assert_eq!(to(&room, &voices[0], 2).unwrap().options, None);
    // Who comes later is in it too, and who is muted is not.
    let fourth = room.join(4, 0);
    let late = room.publish(fourth, StreamType::Audio);
    assert_eq!(to(&room, &late, 1).unwrap().options, mixed());
    room.mute(fourth, &late, true);
    assert_eq!(to(&room, &late, 1), None);
    // Without a mix they come one by one again, on their own slots.
    let request = Request::UpdateLayout(UpdateLayout {
        layout: Some(grid(2, 2)),
    });
    let answer = room.ask(people[0], request);
    let Body::StreamAssignments(assignments) = answer else {
        panic!("{answer:?}");
    };
    assert!(assignments.assignments.iter().all(|a| !a.mixed));
    assert_eq!(to(&room, &voices[1], 1).unwrap().options, None);
    room.ask(
        people[0],
        Request::UpdateLayout(UpdateLayout {
            layout: Some(mixing()),
        }),
    );
    room.ask(people[0], Request::UnsubscribeLayout(UnsubscribeLayout {}));
    assert_eq!(to(&room, &voices[1], 1), None);
}

#[test]
fn a_mix_is_made_at_the_home_alone() {
    let handlers = [9, 8].map(|n| HandlerId::from_bytes([n; 16]));
    let mut room = Room::at(&handlers, 10, 100);
    let people = room.people(2);
    let voice = room.publish(people[0], StreamType::Audio);
    room.subscribe(people[1], grid(1, 1));
    let at = |room: &Room| {
        let got = |h: &&HandlerId| !room.way(**h, &voice).people.is_empty();
        handlers.iter().filter(got).count()
    };
    assert_eq!(at(&room), 2, "plain sound comes from both");
    room.ask(
        people[1],
        Request::UpdateLayout(UpdateLayout {
            layout: Some(mixing()),
        }),
    );
    assert_eq!(at(&room), 1);
}

fn by_name(stream: &str, codec: &str, bitrate: u32) -> Request {
    Request::SubscribeStream(SubscribeStream {
        stream_id: stream.into(),
        slot: 5,
        options: Some(SubscriptionOptions {
            transcoding: Some(Transcoding {
                codec: codec.into(),
                bitrate,
            }),
            ..SubscriptionOptions::default()
        }),
    })
}

#[test]
fn sound_is_encoded_anew_for_whoever_asks_and_pictures_are_not() {
    let mut room = Room::new(10);
    let people = room.people(2);
    let voice = room.publish(people[0], StreamType::Audio);
    let camera = room.camera(people[0]);
    for (stream, codec) in [
        (&camera, "avc1"),
        (&camera, "opus"),
        (&voice, "vp08"),
        (&voice, ""),
    ] {
        let refused = room.refused(people[1], by_name(stream, codec, 0));
        assert_eq!(refused, ErrorCode::InvalidRequest);
    }
    for bitrate in [12_000, 24_000] {
        room.ask(people[1], by_name(&voice, "opus", bitrate));
        let options = to(&room, &voice, 2).unwrap().options.unwrap();
        assert_eq!((options.transcode, options.target_bitrate), (true, bitrate));
        assert_eq!(options.target_codec, "opus");
    }
}

#[test]
fn nothing_is_mixed_or_encoded_anew_that_is_encrypted() {
    let mut room = Room::new(10);
    let who = room.join(1, 0);
    let voice: StreamId = room.publish(who, StreamType::Audio).parse().unwrap();
    let plain = Layout::parse(grid(1, 1), 9).unwrap();
    let layout = Layout::parse(mixing(), 9).unwrap();
    assert_eq!(room.meeting.check_mixing(&layout), Ok(()));
    // As if it had been from the start.
    room.meeting.config.settings.encryption = Some(SframeSuite::Aes128Gcm);
    room.meeting.config.keepers = Some(Arc::new(Ledger::default()));
    room.meeting.encryption = crate::meeting::encrypting::encryption_of(&room.meeting.config);
    assert_eq!(room.meeting.check_mixing(&plain), Ok(()));
    let refused = room.meeting.check_mixing(&layout).unwrap_err();
    assert_eq!(refused, LayoutError::Encrypted);
    assert_eq!(Rejection::from(refused).code, ErrorCode::Forbidden);
    let request = Request::SubscribeLayout(SubscribeLayout {
        layout: Some(mixing()),
    });
    assert_eq!(room.refused(who, request), ErrorCode::Forbidden);
    let request = by_name(&voice.to_string(), "opus", 0);
    assert_eq!(room.refused(who, request), ErrorCode::Forbidden);
    let wanted = Transcoding {
        codec: "opus".into(),
        bitrate: 0,
    };
    let stream = room.meeting.streams.get(voice).unwrap();
    let refused = room.meeting.check_transcoding(stream, &wanted).unwrap_err();
    assert_eq!(refused, SubscribeError::Encrypted);
    assert_eq!(Rejection::from(refused).code, ErrorCode::Forbidden);
}

#[test]
fn a_mix_needs_a_slot() {
    let mut room = Room::new(10);
    let who = room.join(1, 0);
    let layout = v1::Layout {
        audio_slots: Vec::new(),
        ..mixing()
    };
    let request = Request::SubscribeLayout(SubscribeLayout {
        layout: Some(layout),
    });
    assert_eq!(room.refused(who, request), ErrorCode::InvalidRequest);
}

#[test]
fn whoever_can_not_be_served_gets_each_voice_as_it_is_and_is_told_so() {
    let mut room = Room::new(10);
    let (people, voices) = speaking(&mut room, 3);
    room.subscribe(people[0], mixing());
    room.subscribe(people[1], mixing());
    room.ask(people[2], by_name(&voices[0], "opus", 12_000));
    let id = |place: usize| -> StreamId { voices[place].parse().unwrap() };
    let participant = |room: &Room, number: u64| {
        let user = room.meeting.roster.by_session(SessionId(number)).unwrap();
        room.meeting.roster.get(user).unwrap().participant
    };
    let first = participant(&room, 1);
    // Another handler's word counts for nothing.
    let stranger = HandlerId::from_bytes([77; 16]);
    let effects = room
        .meeting
        .handle_not_made_anew(stranger, id(1), &[first], room.now);
    assert!(effects.is_empty(), "{effects:?}");
    let handler = room.handler;
    let effects = room
        .meeting
        .handle_not_made_anew(handler, id(1), &[first], room.now);
    let told: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { sessions, message } => Some((sessions.clone(), message.body.clone()?)),
            _ => None,
        })
        .collect();
    assert!(told.iter().all(|(to, _)| *to == [SessionId(1)]), "{told:?}");
    let [(_, Body::StreamAssignments(new)), (_, Body::Error(error))] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(new.assignments.iter().all(|a| !a.mixed));
    assert_eq!(error.code(), ErrorCode::CapacityExceeded);
    assert!(
        error.message.contains("as it was sent"),
        "{}",
        error.message
    );
    room.apply(effects);
    for place in [1, 2] {
        assert_eq!(to(&room, &voices[place], 1).unwrap().options, None);
    }
    // The others have theirs still.
    assert_eq!(to(&room, &voices[0], 2).unwrap().options, mixed());
    assert!(to(&room, &voices[0], 3).unwrap().options.is_some());
    let third = participant(&room, 3);
    let effects = room
        .meeting
        .handle_not_made_anew(handler, id(0), &[third], room.now);
    room.apply(effects);
    assert_eq!(to(&room, &voices[0], 3).unwrap().options, None);
    // It may be asked for again.
    let request = Request::UpdateLayout(UpdateLayout {
        layout: Some(mixing()),
    });
    room.ask(people[0], request);
    assert_eq!(to(&room, &voices[1], 1).unwrap().options, mixed());
}
