//! A seat from join to end, against a server of the test's own, on the paused
//! clock.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod world;

use std::time::Duration;

use bytes::Bytes;
use dt_client::{
    Carrier, Continuity, End, Event, FrameType, JoinError, JoinOptions, Joined, MediaFrame,
    Meeting, Phase, Publication, Sent,
};
use dt_frame::{
    DatagramHeader, Extension, Fragmenter, FrameHeader, FrameType as WireFrameType, GroupItem,
    GroupParser, OutgoingFrame, SlotLabel,
};
use dt_ids::{Encoding, Slot, StreamId, StreamNumber, UserId};
use dt_transport::{
    RecvStream, SendStream, Session,
    memory::{Config, MemorySession},
};
use dt_wire::v1::{
    Ack, EncodingDirective, ErrorCode, ErrorMessage, LeaveReason, MediaStream, MediaToken,
    Participant, ParticipantJoined, ParticipantLeft, SendDirective, StreamAssignment,
    StreamAssignments, StreamPublished, client_message::Body as Ask, media_client_message,
    server_message::Body as Say,
};
use world::{Control, Servers, World, access, join_response, media_server, welcome, world};

const THEIRS: StreamId = StreamId::from_bytes([7; 16]);

fn options() -> JoinOptions {
    JoinOptions::named("Test").publishing(Publication::camera(640, 360, 30))
}

fn latency() -> Config {
    Config {
        latency: Duration::from_millis(20),
        ..Config::default()
    }
}

/// A client that joined and is welcome at the handler, and the server's ends.
struct Seated {
    joined: Joined,
    control: Control,
    media: Control,
    world: World,
    servers: Servers,
}

/// Takes the three requests of a join with one stream, and answers them.
async fn let_in(control: &mut Control) -> StreamId {
    let (join, Ask::JoinRequest(request)) = control.request().await else {
        panic!("the first message is the join");
    };
    assert_eq!(request.join_token, "the-join-token");
    control
        .say(join, Say::JoinResponse(join_response(b"resume-1")))
        .await;
    let (publish, Ask::PublishStream(stream)) = control.request().await else {
        panic!("then what is published");
    };
    let answer = StreamPublished {
        stream: Some(MediaStream {
            stream_id: stream.stream_id.clone(),
            carrier: Carrier::Stream.into(),
            ..MediaStream::default()
        }),
        ..StreamPublished::default()
    };
    control.say(publish, Say::StreamPublished(answer)).await;
    let (layout, Ask::SubscribeLayout(subscribe)) = control.request().await else {
        panic!("then what is to be seen");
    };
    assert_eq!(subscribe.layout.unwrap().video_slots.len(), 9);
    control
        .say(layout, Say::StreamAssignments(assignments(1)))
        .await;
    stream.stream_id.parse().unwrap()
}

async fn seated(config: Config) -> Seated {
    let (world, mut servers) = world(config);
    let joining = tokio::spawn(Meeting::join_over(world.clone(), access(), options()));
    let mut control = Control::accept(servers.signaling.recv().await.unwrap()).await;
    let_in(&mut control).await;
    let (media, token) = welcome(servers.media.recv().await.unwrap()).await;
    assert_eq!(token, "the-media-token");
    let joined = joining.await.unwrap().unwrap();
    Seated {
        joined,
        control,
        media,
        world,
        servers,
    }
}

fn assignments(generation: u32) -> StreamAssignments {
    StreamAssignments {
        generation,
        assignments: vec![StreamAssignment {
            slot: 1,
            stream_id: THEIRS.to_string(),
            user_id: 5,
            codec: "vp08".into(),
            ..StreamAssignment::default()
        }],
    }
}

fn directive(stream: StreamId, active: bool, carrier: Carrier) -> Say {
    Say::SendDirective(SendDirective {
        encodings: vec![EncodingDirective {
            stream_id: stream.to_string(),
            active,
            carrier: carrier.into(),
            ..EncodingDirective::default()
        }],
    })
}

async fn wait_for(events: &mut tokio::sync::broadcast::Receiver<Event>, wanted: &Event) {
    while events.recv().await.unwrap() != *wanted {}
}

#[tokio::test(start_paused = true)]
async fn join_publish_and_subscribe_travel_together_and_media_connects_meanwhile() {
    let (world, mut servers) = world(latency());
    let begun = tokio::time::Instant::now();
    let joining = tokio::spawn(Meeting::join_over(world.clone(), access(), options()));
    // The media session is there before anybody has a seat.
    let media = servers.media.recv().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(5));
    let mut control = Control::accept(servers.signaling.recv().await.unwrap()).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(control.request().await);
    }
    // One way for all three: nobody waited for an answer.
    assert!(begun.elapsed() < Duration::from_millis(60));
    let say = Say::JoinResponse(join_response(b"resume-1"));
    control.say(requests[0].0, say).await;
    welcome(media).await;
    let joined = joining.await.unwrap().unwrap();
    assert_eq!(joined.meeting.participant_id(), world::PARTICIPANT);
    assert_eq!(joined.meeting.user_id(), UserId(1));
    assert_eq!(joined.meeting.phase(), Phase::Joined);
    drop(control);
}

#[tokio::test(start_paused = true)]
async fn a_refused_join_says_why() {
    let (world, mut servers) = world(Config::default());
    let joining = tokio::spawn(Meeting::join_over(world, access(), options()));
    let mut control = Control::accept(servers.signaling.recv().await.unwrap()).await;
    let (join, _) = control.request().await;
    let error = ErrorMessage::with(ErrorCode::CapacityExceeded, "ten people are here");
    control.say(join, Say::Error(error)).await;
    let error = joining.await.unwrap().unwrap_err();
    assert!(matches!(error, JoinError::Ended { end: End::Full, .. }));
    assert_eq!(
        error.to_string(),
        "the meeting is full (ten people are here)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_at_first_is_dialled_again() {
    let (world, mut servers) = world(Config::default());
    world.failing.store(5, std::sync::atomic::Ordering::SeqCst);
    let joining = tokio::spawn(Meeting::join_over(world, access(), options()));
    let mut control = Control::accept(servers.signaling.recv().await.unwrap()).await;
    let_in(&mut control).await;
    assert!(joining.await.unwrap().is_ok());
}

/// The items of the next stream of the client, until it ends or pauses.
async fn items(session: &MemorySession, count: usize) -> Vec<GroupItem> {
    let mut recv = session.accept_uni().await.unwrap();
    let mut parser = GroupParser::new(1 << 20);
    let mut items = Vec::new();
    while let Some(mut chunk) = recv.read_chunk(1 << 16).await.unwrap() {
        while let Some(item) = parser.next(&mut chunk).unwrap() {
            items.push(item);
        }
        if items.len() >= count {
            break;
        }
    }
    items
}

#[tokio::test(start_paused = true)]
async fn frames_go_out_by_stream_a_group_each_while_somebody_wants_them() {
    let mut seated = seated(latency()).await;
    let mut publisher = seated.joined.publishers.pop().unwrap();
    let stream = publisher.stream_id();
    wait_for(&mut seated.joined.events, &Event::MediaReady).await;
    let frame = |t: u64, key| MediaFrame::video(t, key, Bytes::from_static(b"picture"));
    assert_eq!(publisher.send(&frame(1, true)), Sent::Paused);
    seated
        .control
        .say(0, directive(stream, true, Carrier::Stream))
        .await;
    assert!(publisher.directive_changed().await);
    while !publisher.is_active() {
        publisher.directive_changed().await;
    }
    publisher.key_frame_requested().await;
    assert!(publisher.take_key_frame_request());
    assert_eq!(publisher.send(&frame(2, false)), Sent::NeedsKeyFrame);
    for (t, key) in [(3, true), (4, false), (5, true)] {
        assert_eq!(publisher.send(&frame(t, key)), Sent::Queued);
    }
    let first = items(&seated.media.session, 3).await;
    let GroupItem::Header(header) = &first[0] else {
        panic!("a stream begins with its header");
    };
    assert_eq!((header.stream_id, header.group), (stream, 0));
    let frames: Vec<&FrameHeader> = first
        .iter()
        .filter_map(|item| match item {
            GroupItem::Frame(header, _) => Some(header),
            GroupItem::Header(_) => None,
        })
        .collect();
    assert_eq!(
        frames.iter().map(|f| f.sequence).collect::<Vec<_>>(),
        [0, 1]
    );
    assert_eq!(frames[1].extension.detail, 1);
    let second = items(&seated.media.session, 2).await;
    assert!(matches!(&second[0], GroupItem::Header(header) if header.group == 1));

    seated
        .control
        .say(0, directive(stream, false, Carrier::Stream))
        .await;
    while publisher.is_active() {
        publisher.directive_changed().await;
    }
    assert_eq!(publisher.send(&frame(6, false)), Sent::Paused);
}

#[tokio::test(start_paused = true)]
async fn frames_go_out_by_datagram_in_fragments() {
    let mut seated = seated(latency()).await;
    let mut publisher = seated.joined.publishers.pop().unwrap();
    wait_for(&mut seated.joined.events, &Event::MediaReady).await;
    let say = directive(publisher.stream_id(), true, Carrier::Datagram);
    seated.control.say(0, say).await;
    while !publisher.is_active() {
        publisher.directive_changed().await;
    }
    let payload = Bytes::from(vec![5; 2500]);
    publisher.send(&MediaFrame::video(9, true, payload));
    for fragment in 0..3 {
        let datagram = seated.media.session.recv_datagram().await.unwrap();
        assert!(datagram.len() <= 1100);
        let (header, _) = DatagramHeader::split(datagram).unwrap();
        assert_eq!((header.user_id, header.stream), (UserId(1), 1));
        assert_eq!(header.extension.fragment, fragment);
    }
}

/// A datagram of somebody else's key frame, as it comes to slot 1.
fn their_datagram(generation: u32, timestamp_us: u64) -> Bytes {
    let frame = OutgoingFrame {
        frame_type: WireFrameType::VideoKey,
        timestamp_us,
        discardable: false,
        extension: Extension::video(Encoding::MIN, 0, 0, 0),
        payload: Bytes::from_static(b"theirs"),
    };
    let mut fragmenter = Fragmenter::new(UserId(5), StreamNumber::MIN);
    let datagram = fragmenter.cut(&frame, 1100).unwrap().next().unwrap();
    let mut bytes = datagram.to_bytes().to_vec();
    let label = SlotLabel::new(generation, Slot::MIN);
    DatagramHeader::rewrite_slot(&mut bytes, label);
    bytes.into()
}

#[tokio::test(start_paused = true)]
async fn what_others_send_arrives_once_and_waits_for_its_assignments() {
    let mut seated = seated(latency()).await;
    let session = seated.media.session.clone();
    for _ in 0..2 {
        session.send_datagram(their_datagram(1, 10)).unwrap();
    }
    let frame = seated.joined.frames.recv().await.unwrap();
    assert_eq!((frame.stream_id, frame.timestamp_us), (THEIRS, 10));
    assert_eq!(frame.frame_type, FrameType::VideoKey);
    assert_eq!(frame.continuity, Continuity::Whole);

    session.send_datagram(their_datagram(2, 20)).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(seated.joined.frames.try_recv().is_err());
    let say = Say::StreamAssignments(assignments(2));
    seated.control.say(0, say).await;
    assert_eq!(seated.joined.frames.recv().await.unwrap().timestamp_us, 20);
    assert!(seated.joined.frames.try_recv().is_err());
    assert_eq!(seated.joined.meeting.receive_stats().frames, 2);
}

#[tokio::test(start_paused = true)]
async fn a_missing_base_frame_asks_the_handler_for_a_key_frame() {
    let mut seated = seated(latency()).await;
    let mut send = seated.media.session.open_uni().await.unwrap();
    let stream = dt_frame::StreamHeader {
        stream_id: THEIRS,
        codec: dt_frame::FourCc::Vp8,
        encoding: Encoding::MIN,
        screen: false,
        group: 0,
    };
    let header = Bytes::copy_from_slice(&stream.write());
    send.write(header).await.unwrap();
    for (number, counter) in [(0u64, 0u8), (1, 1), (3, 3)] {
        let header = FrameHeader {
            frame_type: match number {
                0 => WireFrameType::VideoKey,
                _ => WireFrameType::VideoDelta,
            },
            stream_id: THEIRS,
            timestamp_us: 100 + number,
            sequence: number,
            payload_bytes: 0,
            flags: dt_frame::Flags::WHOLE,
            extension: Extension::video(Encoding::MIN, 0, counter, 0),
        };
        let header = Bytes::copy_from_slice(&header.write());
        send.write(header).await.unwrap();
    }
    let media_client_message::Body::RequestKeyframe(request) = seated.media.media_request().await
    else {
        panic!("a key frame is asked for");
    };
    assert_eq!(request.stream_id, THEIRS.to_string());
    for expected in [Continuity::Whole, Continuity::Whole, Continuity::Missing(1)] {
        let frame = seated.joined.frames.recv().await.unwrap();
        assert_eq!(frame.continuity, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_roster_follows_the_controller() {
    let mut seated = seated(latency()).await;
    let them = dt_ids::ParticipantId::from_bytes([5; 16]);
    let participant = Some(Participant {
        participant_id: them.to_string(),
        name: "Ada".into(),
        user_id: 5,
        ..Participant::default()
    });
    let joined = Say::ParticipantJoined(ParticipantJoined { participant });
    seated.control.say(0, joined).await;
    wait_for(&mut seated.joined.events, &Event::Joined(them)).await;
    let roster = seated.joined.meeting.roster();
    assert_eq!(roster.get(them).unwrap().name, "Ada");
    let left = ParticipantLeft {
        participant_id: them.to_string(),
        reason: LeaveReason::Voluntary.into(),
    };
    seated.control.say(0, Say::ParticipantLeft(left)).await;
    let gone = Event::Left(them, LeaveReason::Voluntary);
    wait_for(&mut seated.joined.events, &gone).await;
    assert!(seated.joined.meeting.roster().get(them).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_is_resumed_in_the_same_seat_while_media_goes_on() {
    let mut seated = seated(latency()).await;
    let publisher = &seated.joined.publishers[0];
    let stream = publisher.stream_id();
    seated.control.session.sever();
    let session = seated.servers.signaling.recv().await.unwrap();
    let mut control = Control::accept(session).await;
    let (join, Ask::JoinRequest(request)) = control.request().await else {
        panic!("the first message is the join");
    };
    assert_eq!(&request.resume_token[..], b"resume-1");
    assert_eq!(request.join_token, "");
    assert_eq!(request.kept_stream_ids, [stream.to_string()]);
    let mut response = join_response(b"resume-2");
    response.resumed = true;
    control.say(join, Say::JoinResponse(response)).await;
    // The layout is asked for anew, and changed where it was kept.
    let (layout, Ask::SubscribeLayout(_)) = control.request().await else {
        panic!("what is to be seen");
    };
    let conflict = ErrorMessage::with(ErrorCode::Conflict, "there is a layout");
    control.say(layout, Say::Error(conflict)).await;
    // The seat had lost the stream: it is published again under its old id.
    let (_, Ask::PublishStream(again)) = control.request().await else {
        panic!("what is missing is published");
    };
    assert_eq!(again.stream_id, stream.to_string());
    let (_, Ask::UpdateLayout(_)) = control.request().await else {
        panic!("a kept layout is updated");
    };
    assert_eq!(seated.joined.meeting.phase(), Phase::Joined);
    // The same media session, all the time.
    assert!(seated.servers.media.try_recv().is_err());
    let datagram = their_datagram(1, 50);
    seated.media.session.send_datagram(datagram).unwrap();
    assert!(seated.joined.frames.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_answers_no_probe_is_given_up_after_two_and_a_half_seconds() {
    let mut seated = seated(latency()).await;
    seated.control.session.silence();
    let begun = tokio::time::Instant::now();
    let idle = tokio::spawn(async move { seated.media.idle().await });
    seated.servers.signaling.recv().await.unwrap();
    let after = begun.elapsed().as_millis();
    assert!((2400..2700).contains(&after), "{after}");
    idle.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lost_media_session_comes_back_with_a_fresh_token() {
    let mut seated = seated(latency()).await;
    wait_for(&mut seated.joined.events, &Event::MediaReady).await;
    seated.media.session.sever();
    let (id, Ask::RequestMediaToken(request)) = seated.control.request().await else {
        panic!("a token is asked for");
    };
    assert_eq!(request.handler_id, world::HANDLER.to_string());
    let token = MediaToken {
        media_server: Some(media_server("the-second-token")),
    };
    seated.control.say(id, Say::MediaToken(token)).await;
    let (_media, token) = welcome(seated.servers.media.recv().await.unwrap()).await;
    assert_eq!(token, "the-second-token");
    wait_for(&mut seated.joined.events, &Event::MediaReady).await;
    assert_eq!(seated.world.dialled.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn being_removed_and_the_end_of_the_meeting_end_the_seat() {
    for (reason, end) in [
        (LeaveReason::Kicked, End::Removed),
        (LeaveReason::MeetingEnded, End::MeetingEnded),
    ] {
        let mut seated = seated(latency()).await;
        let left = ParticipantLeft {
            participant_id: world::PARTICIPANT.to_string(),
            reason: reason.into(),
        };
        seated.control.say(0, Say::ParticipantLeft(left)).await;
        assert_eq!(seated.joined.meeting.ended().await, end);
        assert!(!seated.joined.publishers[0].directive_changed().await);
    }
    let seated = seated(latency()).await;
    seated.control.session.close(5, "");
    assert_eq!(seated.joined.meeting.ended().await, End::Replaced);
}

#[tokio::test(start_paused = true)]
async fn leaving_says_so_and_closes_both_sessions() {
    let mut seated = seated(latency()).await;
    let leaving = tokio::spawn(seated.joined.meeting.leave());
    let (id, Ask::Leave(_)) = seated.control.request().await else {
        panic!("the good-bye");
    };
    seated.control.say(id, Say::Ack(Ack {})).await;
    for session in [&seated.control.session, &seated.media.session] {
        let closed = session.closed().await;
        assert!(
            matches!(
                closed,
                dt_transport::SessionError::ClosedByPeer { code: 0, .. }
            ),
            "{closed}"
        );
    }
    leaving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_or_refused() {
    let mut seated = seated(latency()).await;
    let stream = seated.joined.publishers[0].stream_id();
    let meeting = seated.joined.meeting;
    let muting = tokio::spawn(async move {
        let done = meeting.set_muted(stream, true).await;
        (meeting, done)
    });
    let (id, Ask::SetMute(_)) = seated.control.request().await else {
        panic!("a mute");
    };
    seated.control.say(id, Say::Ack(Ack {})).await;
    let (meeting, done) = muting.await.unwrap();
    done.unwrap();
    let ending = tokio::spawn(async move { meeting.end_meeting().await });
    let (id, Ask::EndMeeting(_)) = seated.control.request().await else {
        panic!("an end");
    };
    let error = ErrorMessage::with(ErrorCode::Forbidden, "hosts only");
    seated.control.say(id, Say::Error(error)).await;
    assert_eq!(ending.await.unwrap().unwrap_err().to_string(), "hosts only");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_talks_nonsense_is_left_and_dialled_again_ever_more_slowly() {
    let mut seated = seated(latency()).await;
    let nonsense: [&'static [u8]; 3] =
        [&[0xff; 8], b"\0\0\0\x04\xff\xff\xff\xff", &[0, 0, 0, 65, 3]];
    let mut before = tokio::time::Instant::now();
    let mut waits = Vec::new();
    let mut control = seated.control;
    for garbage in nonsense.into_iter().cycle().take(9) {
        // What is not whole is waited for; the end of the stream is an end too.
        control
            .send
            .write(Bytes::from_static(garbage))
            .await
            .unwrap();
        control.send.finish().unwrap();
        let session = seated.servers.signaling.recv().await.unwrap();
        waits.push(before.elapsed());
        before = tokio::time::Instant::now();
        control = Control::accept(session).await;
    }
    assert!(waits[8] > Duration::from_secs(2), "{waits:?}");
    assert!(matches!(
        seated.joined.meeting.phase(),
        Phase::Reconnecting(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_sends_nonsense_harms_nobody_else() {
    let mut seated = seated(latency()).await;
    let session = seated.media.session.clone();
    for bytes in [&b""[..], b"x", &[2; 41], &[2; 42], &[2; 1100], b"ping"] {
        session
            .send_datagram(Bytes::copy_from_slice(bytes))
            .unwrap();
    }
    let mut stream = session.open_uni().await.unwrap();
    stream.write(Bytes::from(vec![7; 500])).await.unwrap();
    session.send_datagram(their_datagram(1, 10)).unwrap();
    assert_eq!(seated.joined.frames.recv().await.unwrap().timestamp_us, 10);
    let stopped = stream.write(Bytes::from(vec![7; 2 << 20])).await;
    assert_eq!(stopped, Err(dt_transport::StreamError::Reset(1)));
    assert!(seated.joined.meeting.receive_stats().rejected >= 6);
}
