//! What receivers show and what paths carry, at the handler's edge: reports that
//! come in, demand and reports that go out, and streams that end when another
//! encoding begins.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod support;

use bytes::Bytes;
use dt_frame::{Extension, Flags, FourCc, FrameHeader, FrameType, GroupItem, StreamHeader};
use dt_ids::Encoding;
use dt_rpc::MediaHandler as _;
use dt_transport::{SendStream, Session, StreamError, memory::MemorySendStream};
use dt_wire::{
    framing,
    internal::{HandlerEvent, RegisterParticipant, TelemetryRequest, handler_event::Event},
    v1::{
        MediaClientMessage, ReceiverReport, SimulcastLayer, TileReport, VideoMetadata,
        media_client_message, media_server_message::Body,
    },
};
use support::{Client, Person, World, soon};
use tokio::sync::mpsc::Receiver;

/// Of the slot that `World::route` gives a camera.
const CAMERA_SLOT: u32 = 10;

async fn report(client: &mut Client, tiles: &[(u32, u32, u32)], overloaded: bool) {
    let tile = |(slot, width, height): &(u32, u32, u32)| TileReport {
        slot: *slot,
        width: *width,
        height: *height,
        ..TileReport::default()
    };
    let report = media_client_message::Body::ReceiverReport(ReceiverReport {
        tiles: tiles.iter().map(tile).collect(),
        overloaded,
        ..ReceiverReport::default()
    });
    let message = framing::encode(&MediaClientMessage::new(0, report));
    soon(client.send.write(message)).await.unwrap();
    // It has no answer: what comes after it does.
    client.sync().await;
}

async fn events(world: &World) -> Receiver<HandlerEvent> {
    let request = TelemetryRequest {
        controller_id: world.controller.to_string(),
    };
    world.handler.telemetry(request).await.unwrap()
}

/// The next demand for a camera, as encodings.
async fn demand(events: &mut Receiver<HandlerEvent>, of: Person) -> Vec<u32> {
    loop {
        let event = soon(events.recv()).await.unwrap().event;
        if let Some(Event::Demand(demand)) = event
            && demand.stream_id == of.camera.to_string()
        {
            return demand.encodings.iter().map(|one| one.encoding).collect();
        }
    }
}

/// Sends a picture of an encoding on a stream of its own, or goes on with one.
struct Camera {
    of: Person,
    encoding: Encoding,
    sequence: u64,
    stream: MemorySendStream,
}

impl Camera {
    async fn begin(client: &Client, encoding: u32, group: u32, at_us: u64) -> Self {
        let encoding = Encoding::try_from(encoding).unwrap();
        let mut stream = soon(client.session.open_uni()).await.unwrap();
        let header = StreamHeader {
            stream_id: client.person.camera,
            codec: FourCc::Vp8,
            encoding,
            screen: false,
            group,
        };
        let header = Bytes::copy_from_slice(&header.write());
        soon(stream.write(header)).await.unwrap();
        let mut camera = Self {
            of: client.person,
            encoding,
            sequence: 0,
            stream,
        };
        camera.show(FrameType::VideoKey, at_us, 400).await;
        camera
    }

    async fn show(&mut self, frame_type: FrameType, timestamp_us: u64, bytes: u32) {
        self.sequence += 1;
        let header = FrameHeader {
            frame_type,
            stream_id: self.of.camera,
            timestamp_us,
            sequence: self.sequence,
            payload_bytes: bytes,
            flags: Flags::WHOLE,
            extension: Extension::video(self.encoding, 0, 0, 1),
        };
        let payload = Bytes::from(vec![7; bytes as usize]);
        let mut chunks = [Bytes::copy_from_slice(&header.write()), payload];
        soon(self.stream.write_chunks(&mut chunks)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_tile_that_is_shown_is_demanded_and_one_that_is_not_gets_nothing() {
    let mut world = World::new().await;
    let mut events = events(&world).await;
    let (a, mut b) = world.pair().await;
    assert_eq!(demand(&mut events, a.person).await, [0]);

    let mut camera = Camera::begin(&a, 0, 1, 1000).await;
    let mut seen = b.watch().await;
    seen.header().await;
    seen.frame().await;

    report(&mut b, &[], false).await;
    // What was on its way is given up.
    let end = loop {
        match seen.next().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(end, Err(StreamError::Reset(0)));
    assert_eq!(demand(&mut events, a.person).await, Vec::<u32>::new());
    camera.show(FrameType::VideoDelta, 2000, 100).await;

    report(&mut b, &[(CAMERA_SLOT, 320, 180)], false).await;
    assert_eq!(demand(&mut events, a.person).await, [0]);
    // With what was kept, or else with what comes next.
    let _newer = Camera::begin(&a, 0, 2, 9_000_000).await;
    let mut again = b.watch().await;
    again.header().await;
    assert_eq!(again.frame().await.0.frame_type, FrameType::VideoKey);
}

#[tokio::test(start_paused = true)]
async fn demand_is_said_again_so_that_a_lost_event_heals() {
    let mut world = World::new().await;
    let mut events = events(&world).await;
    let (a, _b) = world.pair().await;
    for _ in 0..3 {
        assert_eq!(demand(&mut events, a.person).await, [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_of_datagrams_is_told_how_they_arrive() {
    let mut world = World::new().await;
    let (mut a, mut b) = world.pair().await;
    let mut said = 0;
    let report = loop {
        // Every fourth one does not arrive.
        for _ in 0..50 {
            let (header, datagram) = a.chunk();
            if header.sequence % 4 != 0 {
                a.session.send_datagram(datagram).unwrap();
                said += 1;
            }
            tokio::time::advance(std::time::Duration::from_millis(20)).await;
        }
        if let Body::SenderReport(report) = a.control.message().await.unwrap().1 {
            break report;
        }
    };
    assert!((150_000..350_000).contains(&report.lost_ppm), "{report:?}");
    assert!(report.repeat_audio);
    assert!(said > 0);
    assert_eq!(b.hear().await.frame_type, FrameType::Audio);
}

/// A camera with two encodings, and somebody who sees it.
async fn simulcast() -> (World, Client, Client) {
    let mut world = World::new().await;
    let (a, b) = (world.person(1).await, world.person(2).await);
    let mut streams = a.streams();
    let layer = |(width, height, max_bitrate)| SimulcastLayer {
        width,
        height,
        max_bitrate,
        ..SimulcastLayer::default()
    };
    let layers = [(320, 180, 100_000), (1280, 720, 1_500_000)];
    let video = VideoMetadata {
        width: 1280,
        height: 720,
        framerate: 30,
        simulcast_layers: layers.map(layer).to_vec(),
    };
    if let Some(metadata) = &mut streams[0].metadata {
        metadata.video = Some(video);
    }
    let request = RegisterParticipant {
        participant_id: a.participant.to_string(),
        meeting_id: world.meeting.to_string(),
        user_id: a.user.0,
        streams: streams.to_vec(),
        generation: world.generation(),
    };
    world.handler.register_participant(request).await.unwrap();
    world.route(&a, &[b]).await;
    let (a, b) = (world.join(&a).await, world.join(&b).await);
    (world, a, b)
}

#[tokio::test(start_paused = true)]
async fn another_encoding_is_a_new_stream_and_the_one_before_ends() {
    let (_world, a, mut b) = simulcast().await;
    report(&mut b, &[(CAMERA_SLOT, 320, 180)], false).await;
    let mut small = Camera::begin(&a, 0, 1, 1000).await;
    let mut first = b.watch().await;
    assert_eq!(first.header().await.encoding.get(), 0);
    first.frame().await;

    // Up: what was sent of the small one arrives, and its stream is finished.
    report(&mut b, &[(CAMERA_SLOT, 1280, 720)], false).await;
    small.show(FrameType::VideoDelta, 2000, 100).await;
    let mut large = Camera::begin(&a, 1, 1, 3000).await;
    let mut second = b.watch().await;
    assert_eq!(second.header().await.encoding.get(), 1);
    second.frame().await;
    assert!(matches!(first.next().await, Ok(Some(GroupItem::Frame(..)))));
    assert_eq!(first.next().await, Ok(None));

    // Down: nobody waits for more of the large one.
    report(&mut b, &[(CAMERA_SLOT, 320, 180)], false).await;
    large.show(FrameType::VideoDelta, 4000, 100).await;
    let _small = Camera::begin(&a, 0, 2, 5000).await;
    let mut third = b.watch().await;
    assert_eq!(third.header().await.encoding.get(), 0);
    let end = loop {
        match second.next().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(end, Err(StreamError::Reset(0)));
}
