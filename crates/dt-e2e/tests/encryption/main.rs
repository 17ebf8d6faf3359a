//! Encrypted meetings of real processes: that they work, and that those who are
//! not in them, the server first of all, have nothing of them.

mod accounts;
mod capture;
#[path = "../hosting/mod.rs"]
mod hosting;
mod raw;
mod wire;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use dt_client::{
    Api, AudioLevel, Carrier, Encryption, EncryptionMode, End, JoinError, JoinOptions, Layout,
    MediaFrame, Meeting, MeetingAccess, Publication, Publisher, Settings, now_us,
};
use dt_e2e::{Bot, Server};
use dt_e2ee::{Opener, Suite, frame_aad};
use dt_frame::DatagramHeader;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinHandle;

use capture::{Relay, Search, WINDOW};
use hosting::create;
use raw::Raw;
use wire::{Wire, WireDial};

/// For whatever a test waits for.
const DEADLINE: Duration = Duration::from_secs(20);
const SEED: u64 = 0x0e2e_0e2e;

async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(DEADLINE, wanted)
        .await
        .with_context(|| format!("waiting for {what}"))
}

/// Waits until somebody holds the same keys as so many.
async fn holds_keys_of(meeting: &Meeting, people: usize) -> Result<Arc<Encryption>> {
    let wanted = |now: &Encryption| now.position.is_some() && now.members.len() == people;
    let found = soon("the keys of all", meeting.encryption_where(wanted)).await?;
    found.context("the seat is over")
}

fn microphone(name: &str) -> JoinOptions {
    JoinOptions {
        layout: Some(Layout::grid(1, 1)),
        ..JoinOptions::named(name).publishing(Publication::microphone())
    }
}

/// Sends this sound every 10 ms until told to stop.
fn play(mut publisher: Publisher, sound: Bytes) -> (Arc<AtomicBool>, JoinHandle<Publisher>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let level = AudioLevel {
        voice: true,
        below_overload_db: 10,
    };
    let playing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while !stopped.load(Ordering::Relaxed) {
            tick.tick().await;
            publisher.send(&MediaFrame::audio(now_us(), level, sound.clone()));
        }
        publisher
    });
    (stop, playing)
}

fn unique_bytes(count: usize) -> Bytes {
    let mut bytes = vec![0; count];
    StdRng::seed_from_u64(SEED ^ count as u64).fill_bytes(&mut bytes);
    bytes.into()
}

#[test]
fn people_in_an_encrypted_meeting_see_and_hear_each_other() -> Result<()> {
    let server = Server::start(&[])?;
    let link = server.meeting_link()?;
    let publish = ["--publish", "audio,video"];
    let mut long = Bot::join(&link, "First", Duration::from_secs(9), &publish)?;
    long.event("joined")?;
    let other = Bot::join(&link, "Second", Duration::from_secs(7), &publish)?;
    // Others come and go meanwhile, and nobody loses a frame by it.
    let third = Bot::join(&link, "Third", Duration::from_secs(3), &publish)?;
    for (name, bot) in [("third", third), ("second", other), ("first", long)] {
        let summary = bot.summary()?;
        assert_eq!(summary["e2ee"], true, "{summary}");
        let received = &summary["received"];
        assert!(received["frames"].as_u64() > Some(50), "{summary}");
        for counter in ["lost_frames", "decrypt_failures", "corrupt"] {
            assert_eq!(received[counter], 0, "{name}: {summary}");
        }
        println!(
            "{name}: joined after {} ms, first media after {} ms, longest gaps {}",
            summary["join_ms"], summary["first_media_ms"], summary["longest_gap_ms"]
        );
    }
    Ok(())
}

#[test]
fn who_can_not_encrypt_is_refused_and_not_downgraded() -> Result<()> {
    let server = Server::start(&[])?;
    let link = server.meeting_link()?;
    let (code, _, log) =
        Bot::join(&link, "Plain", Duration::from_secs(2), &["--no-e2ee"])?.outcome()?;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("end-to-end encrypted"), "{log}");
    assert_eq!(log.trim().lines().count(), 1, "one clear sentence: {log}");

    runtime()?.block_on(async {
        let api = Api::new(&server.ready().api_url)?;
        let mut access = create(&api, true).await?;
        // A client that is told otherwise on the way, and one that knows nothing.
        access.settings = Settings::default();
        let options = JoinOptions {
            encryption: EncryptionMode::Never,
            ..JoinOptions::named("Plain")
        };
        let refused = Meeting::join(access.clone(), options).await;
        let Err(JoinError::Ended { end, message }) = refused else {
            anyhow::bail!("it was let in");
        };
        assert_eq!(end, End::Forbidden, "{message:?}");
        let message = message.context("no reason was given")?;
        assert!(message.contains("encrypt"), "{message}");
        assert!(Raw::join(&access, "Old", false).await.is_err());
        Ok(())
    })
}

#[test]
fn keys_change_when_somebody_comes_leaves_or_asks() -> Result<()> {
    let server = Server::start(&[])?;
    runtime()?.block_on(async {
        let api = Api::new(&server.ready().api_url)?;
        let access = create(&api, true).await?;
        let first = Meeting::join(access.clone(), microphone("First")).await?;
        holds_keys_of(&first.meeting, 1).await?;
        let guest = || api.guest_access(&access.meeting_code);
        let second = Meeting::join(guest().await?, microphone("Second")).await?;
        let two = holds_keys_of(&first.meeting, 2).await?;
        let theirs = holds_keys_of(&second.meeting, 2).await?;
        assert_eq!(two.meeting_code, theirs.meeting_code);
        let pair = |shown: &Encryption| {
            let mut codes = shown.members.iter().filter_map(|m| m.pair_code.clone());
            codes.next()
        };
        assert_eq!(pair(&two), pair(&theirs), "the same from both sides");

        let third = Meeting::join(guest().await?, microphone("Third")).await?;
        let three = holds_keys_of(&first.meeting, 3).await?;
        assert_ne!(two.meeting_code, three.meeting_code);
        let begun = Instant::now();
        third.meeting.leave().await;
        let left = holds_keys_of(&first.meeting, 2).await?;
        println!("new keys {:?} after somebody left", begun.elapsed());
        assert_ne!(three.meeting_code, left.meeting_code);

        first.meeting.rotate_keys().await?;
        let other = |now: &Encryption| now.position > left.position;
        soon("fresh keys", first.meeting.encryption_where(other)).await?;
        assert!(first.meeting.rotate_keys().await.is_err(), "not so often");
        assert_eq!(first.meeting.encryption().alarms, []);
        Ok(())
    })
}

#[test]
fn a_removed_member_opens_nothing_that_was_sealed_half_a_second_later() -> Result<()> {
    let server = Server::start(&[])?;
    runtime()?.block_on(async {
        let api = Api::new(&server.ready().api_url)?;
        let access = create(&api, true).await?;
        let guest = || api.guest_access(&access.meeting_code);
        let mut host = Meeting::join(access.clone(), microphone("Host")).await?;
        let wire = Arc::new(Wire::default());
        let dial = WireDial(Arc::clone(&wire));
        let witness = Meeting::join_over(dial, guest().await?, microphone("Witness")).await?;
        let mut watcher = Raw::join(&guest().await?, "Watcher", true).await?;
        watcher.epochs(1).await?;
        let mut spy = Raw::join(&guest().await?, "Spy", true).await?;
        spy.epochs(1).await?;
        watcher.epochs(2).await?;
        holds_keys_of(&host.meeting, 4).await?;
        holds_keys_of(&witness.meeting, 4).await?;

        let publisher = host.publishers.pop().context("no publisher")?;
        let stream = publisher.stream_id();
        let sound = unique_bytes(100);
        let (stop, playing) = play(publisher, sound.clone());
        let mut frames = witness.frames;
        soon("sound", frames.recv()).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let removed = Instant::now();
        host.meeting.remove(spy.participant_id.parse()?).await?;
        holds_keys_of(&witness.meeting, 3).await?;
        watcher.epochs(3).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.store(true, Ordering::Relaxed);
        playing.await?;

        // The wire goes on to carry frames to the spy, and every commit.
        let commits = watcher.learned().commits.clone();
        let mut spied = spy.learned();
        let mut keys = spied.keys.clone();
        if let Some(mut member) = spied.member.take() {
            for commit in &commits {
                if member.handle_commit(commit).is_ok() {
                    keys.extend(member.keys(Suite::Aes128Gcm));
                }
            }
        }
        drop(spied);
        let mut openers = [Opener::new(Suite::Aes128Gcm), Opener::new(Suite::Aes128Gcm)];
        for keys in &keys {
            openers[0].add_epoch(keys, 0);
        }
        for keys in &watcher.learned().keys {
            openers[1].add_epoch(keys, 0);
        }
        let mut opened = [0, 0];
        let mut last = Duration::ZERO;
        let mut after = 0;
        for (at, datagram) in wire.received().iter() {
            let Ok((header, sealed)) = DatagramHeader::split(datagram.clone()) else {
                continue;
            };
            let aad = frame_aad(0, &stream.into_bytes(), 0, header.timestamp_us, false);
            let mut plain = Vec::new();
            after += usize::from(*at > removed + Duration::from_millis(500));
            for (who, opener) in openers.iter_mut().enumerate() {
                if opener.open(&aad, &sealed, &mut plain, 0).is_ok() && plain == sound {
                    opened[who] += 1;
                    if who == 0 && *at > removed {
                        last = last.max(*at - removed);
                    }
                }
            }
        }
        println!(
            "the last frame that the removed member could open came {last:?} after the removal; \
             it opened {} frames, who stayed {}",
            opened[0], opened[1]
        );
        ensure!(opened[0] > 10, "it could read before");
        ensure!(
            after > 50 && opened[1] > opened[0] + after / 2,
            "others could read on"
        );
        ensure!(last < Duration::from_millis(500), "it read on for {last:?}");
        Ok(())
    })
}

#[test]
fn hostile_frames_are_counted_and_dropped() -> Result<()> {
    let server = Server::start(&[])?;
    runtime()?.block_on(async {
        let api = Api::new(&server.ready().api_url)?;
        let access = create(&api, true).await?;
        let guest = || api.guest_access(&access.meeting_code);
        let mut honest = Meeting::join(access.clone(), microphone("Honest")).await?;
        let wire = Arc::new(Wire::default());
        let dial = WireDial(Arc::clone(&wire));
        let mut hostile = Meeting::join_over(dial, guest().await?, microphone("Hostile")).await?;
        let mut hearer = Meeting::join(guest().await?, microphone("Hearer")).await?;
        for joined in [&honest, &hostile, &hearer] {
            holds_keys_of(&joined.meeting, 3).await?;
        }
        let [good, evil] = [unique_bytes(90), unique_bytes(91)];
        let bad = hostile.publishers.pop().context("no publisher")?;
        let bad_stream = bad.stream_id();
        let honest_publisher = honest.publishers.pop().context("no publisher")?;
        let (stop_good, good_playing) = play(honest_publisher, good.clone());
        let (stop_bad, bad_playing) = play(bad, evil.clone());
        while soon("its sound", hearer.frames.recv())
            .await?
            .context("over")?
            .stream_id
            != bad_stream
        {}
        soon("the honest one's sound", hostile.frames.recv()).await?;
        // What it hears of the honest one, it sends as its own.
        let stolen = {
            let received = wire.received();
            let (_, last) = received.last().context("it hears nothing")?;
            DatagramHeader::split(last.clone())?.1
        };
        let before = hearer.meeting.receive_stats();
        let mut count = 0_usize;
        wire.replace(Some(Box::new(move |datagram| {
            let Ok((mut header, payload)) = DatagramHeader::split(datagram.clone()) else {
                return vec![datagram];
            };
            count += 1;
            let payload = match count % 5 {
                0 => {
                    let mut forged = payload.to_vec();
                    if let Some(last) = forged.last_mut() {
                        *last ^= 1;
                    }
                    forged.into()
                }
                1 => payload.slice(..payload.len() / 2),
                2 => stolen.clone(),
                // Not sealed at all.
                3 => unique_bytes(91),
                _ => {
                    // The same again, and once more as another frame.
                    let mut again = header;
                    again.timestamp_us += 1;
                    return vec![
                        datagram.clone(),
                        datagram.clone(),
                        [&again.write()[..], &payload].concat().into(),
                    ];
                }
            };
            header.payload_bytes = u32::try_from(payload.len()).unwrap_or_default();
            vec![[&header.write()[..], &payload].concat().into()]
        })));
        let until = Instant::now() + Duration::from_secs(3);
        let mut heard = [0, 0];
        let mut times = HashSet::new();
        while Instant::now() < until {
            let frame = soon("sound", hearer.frames.recv()).await?.context("over")?;
            let own = frame.stream_id == bad_stream;
            let sound = if own { &evil } else { &good };
            ensure!(
                frame.payload == *sound,
                "what was not sealed by its sender was heard"
            );
            heard[usize::from(own)] += 1;
            let first_time = times.insert((frame.stream_id, frame.timestamp_us));
            ensure!(first_time, "a frame was heard twice");
        }
        stop_good.store(true, Ordering::Relaxed);
        stop_bad.store(true, Ordering::Relaxed);
        drop((good_playing.await?, bad_playing.await?));
        let after = hearer.meeting.receive_stats();
        let failures = after.decrypt_failures - before.decrypt_failures;
        println!("heard {heard:?}, {failures} failures; {after:?}");
        ensure!(heard[0] > 200 && heard[1] > 20, "{heard:?}");
        ensure!(failures > 100, "{after:?}");
        assert_eq!(hearer.meeting.encryption().alarms, []);
        Ok(())
    })
}

/// What is found of a picture and of keys in the server's memory and on its
/// wire while a meeting goes on.
async fn leaks(server: &Server, encrypted: bool) -> Result<[usize; 2]> {
    let picture = unique_bytes(3000);
    let relay = Relay::start(server.public_address()?).await?;
    let over_relay = |mut access: MeetingAccess| {
        let port = Some(relay.address.port());
        let handlers = access.media_handlers.iter_mut();
        let endpoints = handlers.map(|handler| &mut handler.endpoint);
        for endpoint in endpoints.chain([&mut access.meeting_controller]) {
            ensure!(endpoint.url.set_port(port).is_ok());
        }
        Ok(access)
    };
    let api = Api::new(&server.ready().api_url)?;
    let access = create(&api, encrypted).await?;
    let camera = Publication {
        carrier: Carrier::Stream,
        ..Publication::camera(640, 360, 30)
    };
    let options = JoinOptions::named("Sender").publishing(camera);
    let mut sender = Meeting::join(over_relay(access.clone())?, options).await?;
    let guest = || api.guest_access(&access.meeting_code);
    let mut raw = None;
    if encrypted {
        holds_keys_of(&sender.meeting, 1).await?;
        let mut member = Raw::join(&guest().await?, "Member", true).await?;
        member.epochs(1).await?;
        raw = Some(member);
    }
    let watcher = over_relay(guest().await?)?;
    let mut watcher = Meeting::join(watcher, JoinOptions::named("Watcher")).await?;
    if let Some(raw) = &mut raw {
        raw.epochs(2).await?;
        holds_keys_of(&sender.meeting, 3).await?;
        holds_keys_of(&watcher.meeting, 3).await?;
        sender.meeting.rotate_keys().await?;
        raw.epochs(3).await?;
    }
    let mut publisher = sender.publishers.pop().context("no publisher")?;
    let payload = picture.clone();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut seen = 0;
    let begun = Instant::now();
    while seen < 100 {
        ensure!(begun.elapsed() < DEADLINE, "{seen} pictures came");
        tick.tick().await;
        publisher.send(&MediaFrame::video(
            now_us(),
            seen % 25 == 0,
            payload.clone(),
        ));
        while let Ok(frame) = watcher.frames.try_recv() {
            ensure!(frame.payload == picture);
            seen += 1;
        }
        if seen == 0 {
            publisher.send(&MediaFrame::video(now_us() + 1, true, payload.clone()));
        }
    }
    let mut search = Search::new(picture.chunks_exact(WINDOW).map(<[u8]>::to_vec));
    let looked_at = search.look_at_process(server.id())?;
    let packets = relay.look(&mut search);
    let pictures = search.found.len();
    let keys = raw.map_or(Vec::new(), |raw| raw.learned().keys.clone());
    ensure!(
        keys.is_empty() != encrypted,
        "keys are there to be looked for"
    );
    let mut search = Search::new(keys.iter().map(|keys| keys.base_key.to_vec()));
    search.look_at_process(server.id())?;
    relay.look(&mut search);
    println!(
        "encrypted {encrypted}: {} MiB of memory and {packets} bytes of packets hold {pictures} \
         pieces of the picture and {} of {} keys",
        looked_at >> 20,
        search.found.len(),
        keys.len()
    );
    Ok([pictures, search.found.len()])
}

#[test]
fn the_server_and_the_wire_hold_neither_pictures_nor_keys() -> Result<()> {
    let server = Server::start(&[])?;
    runtime()?.block_on(async {
        // Without encryption the same search finds the picture.
        let [pictures, _] = leaks(&server, false).await?;
        ensure!(pictures > 0, "the search finds nothing at all");
        // What an allocator left of the first meeting is not to be found again.
        let server = Server::start(&[])?;
        assert_eq!(leaks(&server, true).await?, [0, 0]);
        Ok(())
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}
