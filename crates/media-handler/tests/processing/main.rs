//! Sound that the handler makes anew, with real Opus, from its clients' side.
//!
//! The handler mixes by the clock, so these run in real time; they wait for what
//! is to be heard and not for how long that takes.

#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // samples

mod figures;
mod overload;
#[path = "../support/mod.rs"]
mod support;
mod tones;

use bytes::Bytes;
use dt_frame::{DatagramHeader, SlotLabel};
use dt_ids::UserId;
use dt_rpc::{MediaHandler as _, RpcError};
use dt_transport::Session;
use dt_wire::internal::{Destination, RouteMediaCommand, RoutingOptions};
use support::{Client, DEADLINE, Person, World, label, soon};
use tones::{Ear, Microphone, Oddity};

const TONES: [f32; 3] = [400.0, 1000.0, 2400.0];
const MIX: u32 = 50;

fn mixed() -> Option<RoutingOptions> {
    Some(RoutingOptions {
        mix_audio: true,
        ..RoutingOptions::default()
    })
}

fn encoded(bitrate: u32, codec: &str) -> Option<RoutingOptions> {
    Some(RoutingOptions {
        transcode: true,
        target_codec: codec.into(),
        target_bitrate: bitrate,
        ..RoutingOptions::default()
    })
}

/// One microphone goes to those, on that slot.
async fn route(
    world: &mut World,
    from: &Person,
    to: &[Person],
    slot: u32,
    options: Option<RoutingOptions>,
) -> Result<(), RpcError> {
    let to = to.iter().filter(|person| person.user != from.user);
    let request = RouteMediaCommand {
        source_stream_id: from.microphone.to_string(),
        meeting_id: world.meeting.to_string(),
        generation: world.generation(),
        destinations: to
            .map(|person| Destination {
                participant_id: person.participant.to_string(),
                stream_number: label(slot).to_bits(),
                options: options.clone(),
                ..Destination::default()
            })
            .collect(),
        ..RouteMediaCommand::default()
    };
    world.handler.route_media(request).await.map(|_| ())
}

async fn people(world: &mut World, count: u64) -> Vec<Person> {
    let mut people = Vec::new();
    for user in 1..=count {
        people.push(world.person(user).await);
    }
    people
}

async fn join(world: &mut World, people: &[Person]) -> Vec<Client> {
    let mut clients = Vec::new();
    for person in people {
        clients.push(world.join(person).await);
    }
    clients
}

fn talk(client: &Client, hertz: f32, odd: Oddity) -> Microphone {
    Microphone::start(client.session.clone(), client.person, hertz, 32_000, odd)
}

async fn next(client: &Client) -> (DatagramHeader, Bytes) {
    let datagram = soon(client.session.recv_datagram()).await.unwrap();
    DatagramHeader::split(datagram).unwrap()
}

/// Listens until all tones are heard and none of the others; these must not be
/// heard at any time.
async fn listen(client: &Client, ear: &mut Ear, tones: &[f32], never: &[f32]) {
    let heard = async {
        loop {
            // Some at once: an ear takes its time.
            for _ in 0..5 {
                let (header, payload) = next(client).await;
                ear.hear(header, &payload);
            }
            if ear.is_full() {
                for hertz in never {
                    let level = ear.level(*hertz);
                    assert!(level < 0.02, "{hertz} Hz is heard at {level}");
                }
            }
            if ear.hears(tones, never) {
                return;
            }
            // What is ready at once would never let the deadline be looked at.
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(DEADLINE, heard).await.is_err() {
        let levels = TONES.map(|hertz| ear.level(hertz));
        panic!(
            "heard {levels:?} of {TONES:?} after {} packets",
            ear.packets
        );
    }
}

#[tokio::test]
async fn each_hears_all_others_in_one_and_nobody_themselves() {
    let mut world = World::new().await;
    let people = people(&mut world, 5).await;
    let clients = join(&mut world, &people).await;
    for speaker in &people[..3] {
        route(&mut world, speaker, &people, MIX, mixed())
            .await
            .unwrap();
    }
    let microphones: Vec<_> = (0..3)
        .map(|n| talk(&clients[n], TONES[n], Oddity::default()))
        .collect();
    let mut last = Vec::new();
    for (place, client) in clients.iter().enumerate() {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for (speaker, hertz) in TONES.iter().enumerate() {
            let list = if speaker == place {
                &mut own
            } else {
                &mut others
            };
            list.push(*hertz);
        }
        let mut ear = Ear::new();
        listen(client, &mut ear, &others, &own).await;
        let header = ear.last.unwrap();
        assert_eq!(header.label(), Some(label(MIX)));
        assert_eq!(header.user_id, UserId(0));
        assert_eq!(header.timestamp_us % 20_000, 0, "the grid");
        // Quieter where a busy machine has kept the microphones waiting.
        let loud = |header: DatagramHeader| {
            let level = header.extension.audio_level();
            level.voice && (8..20).contains(&level.below_overload_db)
        };
        while !ear.last.is_some_and(loud) {
            let (header, payload) = next(client).await;
            ear.hear(header, &payload);
        }
        last.push(ear);
    }
    // Those who don't speak get the same bytes.
    let (mut d, mut e) = (Vec::new(), Vec::new());
    while d.is_empty() || !d.iter().any(|packet| e.contains(packet)) {
        let packet = |(header, payload): (DatagramHeader, Bytes)| (header.timestamp_us, payload);
        d.push(packet(next(&clients[3]).await));
        e.push(packet(next(&clients[4]).await));
        assert!(d.len() < 200, "the same step of both is seen");
    }
    drop(microphones);
}

#[tokio::test]
async fn losses_and_wrong_clocks_do_not_break_a_voice() {
    let mut world = World::new().await;
    let people = people(&mut world, 4).await;
    let clients = join(&mut world, &people).await;
    for speaker in &people[..3] {
        route(&mut world, speaker, &people[3..], MIX, mixed())
            .await
            .unwrap();
    }
    let odd = [
        Oddity {
            loses_each: 8,
            ..Oddity::default()
        },
        Oddity {
            fast_permille: 5,
            ..Oddity::default()
        },
        Oddity::default(),
    ];
    let _microphones: Vec<_> = (0..3)
        .map(|n| talk(&clients[n], TONES[n], odd[n]))
        .collect();
    let mut ear = Ear::new();
    listen(&clients[3], &mut ear, &TONES, &[]).await;
    // And it goes on.
    let mut faint = 0;
    for _ in 0..100 {
        let (header, payload) = next(&clients[3]).await;
        ear.hear(header, &payload);
        faint += u32::from(TONES.iter().any(|hertz| ear.level(*hertz) < 0.05));
    }
    assert!(faint < 30, "{faint} of 100 windows miss a voice");
}

#[tokio::test]
async fn garbage_of_one_harms_neither_mix_nor_forwarding() {
    let mut world = World::new().await;
    let people = people(&mut world, 4).await;
    let clients = join(&mut world, &people).await;
    // The third one hears a mix, the fourth one what the second one sends.
    for speaker in &people[..2] {
        route(&mut world, speaker, &people[2..3], MIX, mixed())
            .await
            .unwrap();
    }
    let garbage = Oddity {
        garbage: true,
        ..Oddity::default()
    };
    let _garbage = talk(&clients[0], 0.0, garbage);
    let _voice = talk(&clients[1], TONES[1], Oddity::default());
    listen(&clients[2], &mut Ear::new(), &TONES[1..2], &[]).await;
    let both = [people[2], people[3]];
    let request = RouteMediaCommand {
        source_stream_id: people[1].microphone.to_string(),
        meeting_id: world.meeting.to_string(),
        generation: world.generation(),
        destinations: both
            .iter()
            .zip([mixed(), None])
            .map(|(person, options)| Destination {
                participant_id: person.participant.to_string(),
                stream_number: label(MIX).to_bits(),
                options,
                ..Destination::default()
            })
            .collect(),
        ..RouteMediaCommand::default()
    };
    world.handler.route_media(request).await.unwrap();
    listen(&clients[2], &mut Ear::new(), &TONES[1..2], &[]).await;
    let (header, _) = next(&clients[3]).await;
    assert_eq!(header.user_id, people[1].user, "as it was sent");
}

#[tokio::test]
async fn one_voice_is_encoded_for_the_bitrate_that_is_asked_for() {
    let mut world = World::new().await;
    let people = people(&mut world, 2).await;
    let clients = join(&mut world, &people).await;
    let wish = encoded(12_345, "opus");
    route(&mut world, &people[0], &people[1..], 7, wish)
        .await
        .unwrap();
    let (session, person) = (clients[0].session.clone(), clients[0].person);
    let _voice = Microphone::start(session, person, TONES[0], 96_000, Oddity::default());
    let mut ear = Ear::new();
    listen(&clients[1], &mut ear, &TONES[..1], &TONES[1..]).await;
    let header = ear.last.unwrap();
    assert_eq!(
        (header.label(), header.user_id),
        (Some(label(7)), person.user)
    );
    let bps = ear.bytes * 8 * 50 / ear.packets;
    assert!((8_000..16_000).contains(&bps), "{bps} bit/s");
    // The time of its capture: the sender's clock began there.
    let captured = header.timestamp_us - person.user.0 * 1_000_000_007;
    assert!(captured < 60_000_000, "{captured} us");
    assert_eq!(captured % 20_000, 0);
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_what_can() {
    let mut world = World::new().await;
    let people = people(&mut world, 2).await;
    for codec in ["vp08", "av01", "nonsense", ""] {
        let refused = route(&mut world, &people[0], &people, 7, encoded(0, codec)).await;
        let Err(RpcError::Invalid(sentence)) = refused else {
            panic!("{codec} is refused, not {refused:?}");
        };
        assert!(sentence.contains("opus"), "{sentence}");
    }
}

#[tokio::test]
async fn a_listener_comes_and_goes_and_nothing_is_left() {
    let mut world = World::new().await;
    let people = people(&mut world, 3).await;
    let mut clients = join(&mut world, &people).await;
    let _voice = talk(&clients[0], TONES[0], Oddity::default());
    for _ in 0..2 {
        route(&mut world, &people[0], &people[1..], MIX, mixed())
            .await
            .unwrap();
        let mut ear = Ear::new();
        listen(&clients[1], &mut ear, &TONES[..1], &TONES[1..]).await;
        // One loses its session; the other one does not notice.
        let gone = clients.pop().unwrap();
        gone.session.close(0, "");
        drop(gone);
        let before = ear.packets;
        while ear.packets < before + 20 {
            let (header, payload) = next(&clients[1]).await;
            ear.hear(header, &payload);
        }
        let back = world.join(&people[2]).await;
        listen(&back, &mut Ear::new(), &TONES[..1], &TONES[1..]).await;
        clients.push(back);
        // Another slot from now on, and numbers go on.
        route(&mut world, &people[0], &people[1..], MIX + 1, mixed())
            .await
            .unwrap();
        let other = Some(label(MIX + 1));
        for client in &clients[1..] {
            while next(client).await.0.label() != other {}
        }
        // Nobody wants it any more.
        route(&mut world, &people[0], &[], MIX, None).await.unwrap();
        for client in &clients[1..] {
            silent(client, other).await;
        }
    }
    for person in &people {
        world.unregister(person).await;
    }
    world.all_served().await;
}

/// Waits until no sound is under way any more: an echo has come back alone.
async fn silent(client: &Client, label: Option<SlotLabel>) {
    for round in 0_u8..=255 {
        let packet = Bytes::from(vec![3, round]);
        client.session.send_datagram(packet.clone()).unwrap();
        let mut sounds = 0;
        loop {
            let datagram = soon(client.session.recv_datagram()).await.unwrap();
            if datagram == packet {
                break;
            }
            let (header, _) = DatagramHeader::split(datagram).unwrap();
            assert_eq!(header.label(), label, "of the last order");
            sounds += 1;
        }
        if sounds == 0 && round > 3 {
            return;
        }
    }
    panic!("sound goes on that nobody wants");
}

#[tokio::test]
async fn a_handler_ends_while_it_mixes() {
    let mut world = World::new().await;
    let people = people(&mut world, 2).await;
    let clients = join(&mut world, &people).await;
    route(&mut world, &people[0], &people[1..], MIX, mixed())
        .await
        .unwrap();
    let _voice = talk(&clients[0], TONES[0], Oddity::default());
    next(&clients[1]).await;
    // Its sessions are still there: they end with the runtime, and its thread with
    // the last of them.
    drop(world);
    next(&clients[1]).await;
}
