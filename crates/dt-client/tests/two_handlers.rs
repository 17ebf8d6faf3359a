//! A seat with two media handlers, a home and a spare, against a server of the
//! test's own, on the paused clock.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod world;

use std::time::Duration;

use bytes::Bytes;
use dt_client::{
    AudioLevel, Carrier, Event, HandlerEndpoint, JoinOptions, Joined, MediaFrame, Meeting,
    MeetingAccess, Publication, Publisher, Sent,
};
use dt_frame::{
    DatagramHeader, Extension, Flags, FourCc, Fragmenter, FrameHeader, FrameType, OutgoingFrame,
    SlotLabel, StreamHeader,
};
use dt_ids::{Encoding, HandlerId, Slot, StreamId, StreamNumber, UserId};
use dt_transport::{
    RecvStream, SendStream, Session,
    memory::{Config, MemorySession},
};
use dt_wire::v1::{
    EncodingDirective, HandlerAssigned, HandlerRemoved, JoinResponse, MediaServerInfo, MediaStream,
    MediaToken, SendDirective, SenderReport, StreamAssignment, StreamAssignments, StreamPublished,
    client_message::Body as Ask, media_client_message, media_server_message,
    server_message::Body as Say,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use world::{
    Control, HANDLER, SPARE, Servers, World, access, join_response, media_server, spare_server,
    welcome, world,
};

/// Somebody else's microphone, on slot 2.
const VOICE: StreamId = StreamId::from_bytes([8; 16]);
const VOICE_SLOT: u32 = 2;
/// And their camera.
const CAMERA: StreamId = StreamId::from_bytes([7; 16]);
const THEM: UserId = UserId(5);
const PACKET: Duration = Duration::from_millis(20);

fn latency() -> Config {
    Config {
        latency: Duration::from_millis(20),
        ..Config::default()
    }
}

fn access_to_both() -> MeetingAccess {
    let mut access = access();
    let home = access.media_handlers[0].clone();
    let mut endpoint = home.endpoint;
    endpoint.url = "https://test.invalid/mh/1".parse().unwrap();
    access.media_handlers.push(HandlerEndpoint {
        handler_id: SPARE,
        endpoint,
    });
    access
}

fn answer(servers: Vec<MediaServerInfo>) -> JoinResponse {
    JoinResponse {
        media_servers: servers,
        ..join_response(b"resume-1")
    }
}

fn both() -> Vec<MediaServerInfo> {
    vec![media_server("home-1"), spare_server("spare-1")]
}

struct Seated {
    joined: Joined,
    control: Control,
    servers: Servers,
    #[allow(dead_code)] // dials fail without it
    world: World,
}

/// Joins with a microphone and a camera, and sees what somebody else sends.
async fn seated(servers_named: Vec<MediaServerInfo>) -> Seated {
    let (world, mut servers) = world(latency());
    let options = JoinOptions::named("Test")
        .publishing(Publication::microphone())
        .publishing(Publication::camera(640, 360, 30));
    let joining = tokio::spawn(Meeting::join_over(world.clone(), access_to_both(), options));
    let mut control = Control::accept(servers.signaling.recv().await.unwrap()).await;
    let (join, Ask::JoinRequest(_)) = control.request().await else {
        panic!("the first message is the join");
    };
    let response = Say::JoinResponse(answer(servers_named));
    control.say(join, response).await;
    for _ in 0..2 {
        let (id, Ask::PublishStream(publish)) = control.request().await else {
            panic!("then what is published");
        };
        let stream = MediaStream {
            stream_id: publish.stream_id,
            ..MediaStream::default()
        };
        let published = StreamPublished {
            stream: Some(stream),
            ..StreamPublished::default()
        };
        control.say(id, Say::StreamPublished(published)).await;
    }
    let (layout, Ask::SubscribeLayout(_)) = control.request().await else {
        panic!("then what is to be seen");
    };
    let assigned = |slot, stream: StreamId, codec: &str| StreamAssignment {
        slot,
        stream_id: stream.to_string(),
        user_id: THEM.0,
        codec: codec.into(),
        ..StreamAssignment::default()
    };
    let assignments = StreamAssignments {
        generation: 1,
        assignments: vec![
            assigned(1, CAMERA, "vp08"),
            assigned(VOICE_SLOT, VOICE, "opus"),
        ],
    };
    control
        .say(layout, Say::StreamAssignments(assignments))
        .await;
    let joined = joining.await.unwrap().unwrap();
    Seated {
        joined,
        control,
        servers,
        world,
    }
}

impl Seated {
    async fn event(&mut self, wanted: Event) {
        while self.joined.events.recv().await.unwrap() != wanted {}
    }

    fn publisher(&mut self, codec: FourCc) -> &mut Publisher {
        let mut publishers = self.joined.publishers.iter_mut();
        publishers
            .find(|publisher| publisher.publication().codec == codec)
            .unwrap()
    }

    /// Says where everything goes, and waits until it is known.
    async fn direct(&mut self, sound: &[HandlerId], pictures: &[HandlerId]) {
        let ids: Vec<_> = self.joined.publishers.iter().collect();
        let one = |publisher: &&Publisher| {
            let (to, carrier) = match publisher.publication().codec {
                FourCc::Opus => (sound, Carrier::Datagram),
                _ => (pictures, Carrier::Stream),
            };
            EncodingDirective {
                stream_id: publisher.stream_id().to_string(),
                active: true,
                handler_ids: to.iter().map(ToString::to_string).collect(),
                carrier: carrier.into(),
                ..EncodingDirective::default()
            }
        };
        let encodings = ids.iter().map(one).collect();
        let directive = Say::SendDirective(SendDirective { encodings });
        self.control.say(0, directive).await;
        for publisher in &mut self.joined.publishers {
            let to = match publisher.publication().codec {
                FourCc::Opus => sound,
                _ => pictures,
            };
            let told = |publisher: &Publisher| {
                let directive = publisher.directive();
                directive
                    .of(Encoding::MIN)
                    .is_some_and(|order| order.handlers == to)
            };
            while !told(publisher) {
                assert!(publisher.directive_changed().await);
            }
        }
    }
}

fn sound(timestamp_us: u64) -> MediaFrame {
    let level = AudioLevel {
        voice: true,
        below_overload_db: 20,
    };
    MediaFrame::audio(timestamp_us, level, Bytes::from_static(b"sound"))
}

/// Sound of somebody else as a handler brings it.
struct Voice(Fragmenter);

impl Voice {
    fn new() -> Self {
        Self(Fragmenter::new(THEM, StreamNumber::MIN))
    }

    fn next(&mut self, timestamp_us: u64) -> Bytes {
        let frame = OutgoingFrame {
            frame_type: FrameType::Audio,
            timestamp_us,
            discardable: false,
            extension: Extension::audio(AudioLevel::SILENCE, 0),
            payload: Bytes::from_static(b"their voice"),
        };
        let datagram = self.0.cut(&frame, 1100).unwrap().next().unwrap();
        let mut bytes = datagram.to_bytes().to_vec();
        let slot = Slot::try_from(VOICE_SLOT).unwrap();
        DatagramHeader::rewrite_slot(&mut bytes, SlotLabel::new(1, slot));
        bytes.into()
    }
}

/// Echoes probes from here on.
fn keep(mut control: Control) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { control.idle().await })
}

#[tokio::test(start_paused = true)]
async fn media_is_ready_with_the_home_and_nobody_waits_for_a_spare() {
    let begun = tokio::time::Instant::now();
    let mut seated = seated(both()).await;
    // Both were dialled before there was a seat; the spare says nothing at all.
    let mute = seated.servers.spare.recv().await.unwrap();
    let (mut home, token) = welcome(seated.servers.media.recv().await.unwrap()).await;
    assert_eq!(token, "home-1");
    seated.event(Event::MediaReady).await;
    assert!(begun.elapsed() < Duration::from_millis(200));
    let (publisher, both) = (FourCc::Opus, [HANDLER, SPARE]);
    seated.direct(&both, &[HANDLER]).await;
    assert_eq!(seated.publisher(publisher).send(&sound(1)), Sent::Queued);
    home.session.recv_datagram().await.unwrap();
    let handlers = seated.joined.meeting.handlers();
    let shown: Vec<_> = handlers.iter().map(|h| (h.id, h.home, h.ready)).collect();
    assert_eq!(shown, [(HANDLER, true, true), (SPARE, false, false)]);
    drop(mute);
    home.echo = false;
}

#[tokio::test(start_paused = true)]
async fn sound_goes_to_both_the_same_to_the_byte_and_pictures_go_where_they_are_wanted() {
    let mut seated = seated(both()).await;
    let (home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
    let (to_home, lives) = (home.session.clone(), keep(home));
    let (mut spare, token) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    assert_eq!(token, "spare-1");
    seated.event(Event::SpareReady(SPARE)).await;
    seated.direct(&[HANDLER, SPARE], &[HANDLER]).await;
    for t in 1..=20 {
        seated.publisher(FourCc::Opus).send(&sound(t));
        let (here, there) = tokio::join!(to_home.recv_datagram(), spare.session.recv_datagram());
        assert_eq!(here.unwrap(), there.unwrap());
    }
    let picture = |t, key| MediaFrame::video(t, key, Bytes::from_static(b"picture"));
    let camera = seated.publisher(FourCc::Vp8);
    camera.take_key_frame_request();
    assert_eq!(camera.send(&picture(1, true)), Sent::Queued);
    assert_eq!(camera.send(&picture(2, false)), Sent::Queued);
    let _first_group = to_home.accept_uni().await.unwrap();
    // A spare that comes back does not cost the others a key frame.
    spare.session.sever();
    seated.event(Event::SpareLost(SPARE)).await;
    let (id, Ask::RequestMediaToken(wanted)) = seated.control.request().await else {
        panic!("a token is asked for");
    };
    assert_eq!(wanted.handler_id, SPARE.to_string());
    let token = MediaToken {
        media_server: Some(spare_server("spare-2")),
    };
    seated.control.say(id, Say::MediaToken(token)).await;
    (spare, _) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    seated.event(Event::SpareReady(SPARE)).await;
    let camera = seated.publisher(FourCc::Vp8);
    assert_eq!(camera.send(&picture(3, false)), Sent::Queued);
    seated.publisher(FourCc::Opus).send(&sound(21));
    spare.session.recv_datagram().await.unwrap();
    assert!(!seated.publisher(FourCc::Vp8).take_key_frame_request());
    // For the time of a move they go to both: the next begins with a key frame.
    seated.direct(&[HANDLER, SPARE], &[HANDLER, SPARE]).await;
    let camera = seated.publisher(FourCc::Vp8);
    camera.send(&picture(4, false));
    camera.key_frame_requested().await;
    assert_eq!(camera.send(&picture(5, true)), Sent::Queued);
    let (here, there) = tokio::join!(to_home.accept_uni(), spare.session.accept_uni());
    let (mut here, mut there) = (here.unwrap(), there.unwrap());
    let (here, there) = tokio::join!(here.read_chunk(1 << 16), there.read_chunk(1 << 16));
    assert_eq!(here.unwrap(), there.unwrap());
    lives.abort();
}

#[tokio::test(start_paused = true)]
async fn a_directive_that_names_no_handler_means_the_home() {
    let mut seated = seated(both()).await;
    let (home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
    let (spare, _) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    seated.event(Event::SpareReady(SPARE)).await;
    seated.direct(&[], &[]).await;
    seated.publisher(FourCc::Opus).send(&sound(1));
    home.session.recv_datagram().await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_secs(1), spare.session.recv_datagram());
    assert!(nothing.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_home_is_where_pictures_are_wanted_alone() {
    let mut seated = seated(both()).await;
    let (_home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
    let (_spare, _) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    seated.event(Event::SpareReady(SPARE)).await;
    let home = |seated: &Seated| seated.joined.meeting.handlers()[0].id;
    // On the way they go to both.
    seated.direct(&[HANDLER, SPARE], &[SPARE, HANDLER]).await;
    assert_eq!(home(&seated), HANDLER);
    seated.direct(&[HANDLER, SPARE], &[SPARE]).await;
    seated.event(Event::MediaReady).await;
    assert_eq!(home(&seated), SPARE);
    assert_eq!(seated.joined.meeting.handlers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sound_is_sent_twice_while_either_handler_misses_some() {
    let mut seated = seated(both()).await;
    let (home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
    let (mut spare, _) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    seated.event(Event::SpareReady(SPARE)).await;
    seated.direct(&[HANDLER, SPARE], &[]).await;
    let report = SenderReport {
        lost_ppm: 20_000,
        repeat_audio: true,
    };
    let report = media_server_message::Body::SenderReport(report);
    spare.media_say(report).await;
    let timestamp = |datagram| DatagramHeader::split(datagram).unwrap().0.timestamp_us;
    let mut came = Vec::new();
    for t in 1..1000 {
        seated.publisher(FourCc::Opus).send(&sound(t));
        came.push(timestamp(home.session.recv_datagram().await.unwrap()));
        // Twice, once the report was heard.
        if came.len() > 1 && came[came.len() - 1] == came[came.len() - 2] {
            return;
        }
        if came.len() > 2 && came[came.len() - 1] == came[came.len() - 3] {
            return;
        }
    }
    panic!("no packet came again: {came:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_home_dies_sound_goes_on_by_the_spare_without_a_gap() {
    let mut seated = seated(both()).await;
    let (home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
    let (spare, _) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    seated.event(Event::SpareReady(SPARE)).await;
    let (to_home, to_spare) = (home.session.clone(), spare.session.clone());
    let speaking = tokio::spawn(async move {
        let mut voice = Voice::new();
        let mut tick = tokio::time::interval(PACKET);
        for t in 1..=500_u64 {
            tick.tick().await;
            let datagram = voice.next(t);
            if t == 200 {
                // It does not even say that it is gone.
                to_home.silence();
            }
            if t < 200 {
                to_home.send_datagram(datagram.clone()).unwrap();
            }
            to_spare.send_datagram(datagram).unwrap();
        }
    });
    let lives = [keep(home), keep(spare)];
    let Seated {
        mut joined,
        mut control,
        mut servers,
        world: _world,
    } = seated;
    let hearing = async {
        let mut last = None;
        let mut longest = Duration::ZERO;
        for t in 1..=500_u64 {
            let frame = joined.frames.recv().await.unwrap();
            let now = tokio::time::Instant::now();
            assert_eq!((frame.stream_id, frame.timestamp_us), (VOICE, t));
            longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
            last = Some(now);
        }
        longest
    };
    // Meanwhile the home is found dead, and comes back by itself.
    let returning = async {
        let (id, Ask::RequestMediaToken(wanted)) = control.request().await else {
            panic!("a token is asked for");
        };
        assert_eq!(wanted.handler_id, HANDLER.to_string());
        let token = MediaToken {
            media_server: Some(media_server("home-2")),
        };
        control.say(id, Say::MediaToken(token)).await;
        let (home, token) = welcome(servers.media.recv().await.unwrap()).await;
        assert_eq!(token, "home-2");
        let _probes = tokio::join!(keep(home), keep(control));
    };
    let longest = tokio::select! {
        longest = hearing => longest,
        () = returning => panic!("the seat is over"),
    };
    println!("the home died: longest gap in the sound {longest:?}");
    assert!(longest <= 2 * PACKET, "{longest:?}");
    let stats = joined.meeting.receive_stats();
    assert_eq!((stats.frames, stats.incomplete), (500, 0));
    let mut events = Vec::new();
    while let Ok(event) = joined.events.try_recv() {
        events.push(event);
    }
    let lost = events.iter().position(|event| *event == Event::MediaLost);
    let ready = events.iter().rposition(|event| *event == Event::MediaReady);
    assert!(lost.is_some() && ready > lost, "{events:?}");
    assert!(!events.contains(&Event::SpareLost(SPARE)));
    assert!(servers.spare.try_recv().is_err());
    speaking.await.unwrap();
    lives.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn of_what_comes_by_both_ways_the_first_counts_and_lost_is_what_neither_brought() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut seated = seated(both()).await;
    let (home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
    let (spare, _) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    seated.event(Event::SpareReady(SPARE)).await;
    let (to_home, to_spare) = (home.session.clone(), spare.session.clone());
    let lives = [keep(home), keep(spare), keep(seated.control)];
    let mut voice = Voice::new();
    let mut expected = Vec::new();
    let mut copies = 0;
    for t in 1..=2000_u64 {
        let datagram = voice.next(t);
        let (here, there) = (rng.random_bool(0.8), rng.random_bool(0.8));
        for (session, lucky) in [(&to_home, here), (&to_spare, there)] {
            if lucky {
                session.send_datagram(datagram.clone()).unwrap();
                copies += 1;
            }
        }
        if here || there {
            expected.push(t);
            let frame = seated.joined.frames.recv().await.unwrap();
            assert_eq!(frame.timestamp_us, t);
        }
    }
    assert!(copies > expected.len());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(seated.joined.frames.try_recv().is_err());
    assert_eq!(
        seated.joined.meeting.receive_stats().frames,
        expected.len() as u64
    );
    lives.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn picture(
    session: &MemorySession,
    stream: &mut Option<<MemorySession as Session>::Send>,
    n: u64,
    counter: u8,
) {
    if stream.is_none() {
        let mut opened = session.open_uni().await.unwrap();
        let header = StreamHeader {
            stream_id: CAMERA,
            codec: FourCc::Vp8,
            encoding: Encoding::MIN,
            screen: false,
            group: 0,
        };
        let header = Bytes::copy_from_slice(&header.write());
        opened.write(header).await.unwrap();
        *stream = Some(opened);
    }
    let header = FrameHeader {
        frame_type: match n {
            0 => FrameType::VideoKey,
            _ => FrameType::VideoDelta,
        },
        stream_id: CAMERA,
        timestamp_us: 100 + n,
        sequence: n,
        payload_bytes: 0,
        flags: Flags::WHOLE,
        extension: Extension::video(Encoding::MIN, 0, counter, 0),
    };
    let header = Bytes::copy_from_slice(&header.write());
    stream.as_mut().unwrap().write(header).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_frame_is_asked_for_where_the_pictures_come_from() {
    for from_spare in [false, true] {
        let mut seated = seated(both()).await;
        let (mut home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
        let (mut spare, _) = welcome(seated.servers.spare.recv().await.unwrap()).await;
        seated.event(Event::SpareReady(SPARE)).await;
        let control = if from_spare { &mut spare } else { &mut home };
        let (session, mut stream) = (control.session.clone(), None);
        for (n, counter) in [(0, 0), (1, 1), (2, 3)] {
            picture(&session, &mut stream, n, counter).await;
        }
        let media_client_message::Body::RequestKeyframe(request) = control.media_request().await
        else {
            panic!("a key frame is asked for");
        };
        assert_eq!(request.stream_id, CAMERA.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_are_assigned_and_removed_while_the_meeting_goes_on() {
    let mut seated = seated(vec![media_server("home-1")]).await;
    let (home, _) = welcome(seated.servers.media.recv().await.unwrap()).await;
    seated.event(Event::MediaReady).await;
    // What was dialled ahead of the join and is not ours is closed.
    let unused = seated.servers.spare.recv().await.unwrap();
    unused.closed().await;
    assert_eq!(seated.joined.meeting.handlers().len(), 1);

    let assigned = HandlerAssigned {
        media_server: Some(spare_server("spare-1")),
    };
    seated.control.say(0, Say::HandlerAssigned(assigned)).await;
    let (spare, token) = welcome(seated.servers.spare.recv().await.unwrap()).await;
    assert_eq!(token, "spare-1");
    seated.event(Event::SpareReady(SPARE)).await;
    seated.direct(&[HANDLER, SPARE], &[HANDLER]).await;
    seated.publisher(FourCc::Opus).send(&sound(1));
    home.session.recv_datagram().await.unwrap();
    spare.session.recv_datagram().await.unwrap();

    let removed = HandlerRemoved {
        handler_id: HANDLER.to_string(),
    };
    seated.control.say(0, Say::HandlerRemoved(removed)).await;
    // What was the spare is the home now.
    seated.event(Event::MediaReady).await;
    home.session.closed().await;
    seated.publisher(FourCc::Opus).send(&sound(2));
    spare.session.recv_datagram().await.unwrap();
    let handlers = seated.joined.meeting.handlers();
    assert_eq!(handlers.len(), 1);
    assert!(handlers[0].home && handlers[0].id == SPARE);
    // Nobody dials it again.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(seated.servers.media.try_recv().is_err());
    spare.session.close(0, "");
}
