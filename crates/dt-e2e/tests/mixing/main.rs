//! A real server that mixes and encodes sound anew: people whose voices are tones,
//! and what is heard in what they are sent.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // samples

#[path = "../hosting/mod.rs"]
mod hosting;
mod people;
mod tones;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dt_client::{Carrier, FourCc, Layout, RequestError, Transcoding, Transport, Wanted};
use dt_e2e::Bot;
use dt_wire::v1::ErrorCode;
use hosting::{create, with_server};
use people::{Part, Person};
use tones::SENT_BPS;

const TONES: [f32; 3] = [400.0, 1000.0, 2400.0];
const OWN: f32 = 3400.0;
/// Above what a mix is encoded with, and far below three voices.
const ONE_STREAM_BPS: u64 = 48_000;
/// Mixed packets come 50 times a second; on a busy machine some steps are left out.
const COUNTED: Duration = Duration::from_secs(3);

#[test]
fn whoever_asks_hears_all_others_mixed_without_themselves_in_the_bytes_of_one() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        let access = create(&api, false).await?;
        let code = access.meeting_code;
        let mut people = Vec::new();
        for hertz in TONES {
            people.push(Person::join(&api, &code, Part::saying(hertz)).await?);
        }
        let mut fourth = Person::join(&api, &code, Part::saying(OWN).mixed()).await?;
        fourth.hears(&TONES, &[OWN]).await?;
        // The others hear it as it is: it is silent in its own mix alone.
        let voice = fourth.voice;
        people[0].hears_in(voice, &[OWN], &TONES).await?;

        let counted = fourth.count(COUNTED).await?;
        ensure!(
            counted.plain == 0,
            "voices came beside the mix: {counted:?}"
        );
        let most = COUNTED.as_millis() as u64 / 20 + 10;
        ensure!((50..=most).contains(&counted.mixed), "{counted:?}");
        let bps = counted.mixed_bytes * 8 * 50 / counted.mixed;
        println!("mixed: {counted:?}, {bps} bit/s");
        ensure!(bps < ONE_STREAM_BPS, "{bps} bit/s");

        // A robot does the same.
        let link = access.meeting_url;
        let stay = Duration::from_secs(4);
        let publish = ["--mix-audio", "--publish", "audio", "--no-e2ee"];
        let bot = tokio::task::spawn_blocking(move || {
            Bot::join(&link, "Robot", stay, &publish)?.summary()
        });
        let summary = bot.await??;
        let mixed = |name: &str| {
            let value = summary["mixed"][name].as_u64();
            value.with_context(|| format!("no {name} in {summary}"))
        };
        let (frames, bytes) = (mixed("frames")?, mixed("bytes")?);
        println!("the robot: {frames} mixed frames, {bytes} bytes");
        let most = stay.as_millis() as u64 / 20 + 10;
        ensure!((50..=most).contains(&frames), "{summary}");
        ensure!(bytes * 8 * 50 / frames < ONE_STREAM_BPS, "{summary}");
        ensure!(mixed("voiced_frames")? > 0, "{summary}");
        ensure!(summary["received"]["frames"] == 0, "plain sound: {summary}");

        // Without it each voice comes as its own stream again.
        fourth.meeting.set_layout(Layout::grid(1, 1)).await?;
        let first = people[0].voice;
        fourth.hears_in(first, &TONES[..1], &[OWN]).await?;
        for person in people {
            person.leave().await?;
        }
        fourth.leave().await
    })
}

#[test]
fn voices_that_come_by_websocket_or_as_streams_are_mixed_as_all_others() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        let code = create(&api, false).await?.meeting_code;
        let ways = [
            (Transport::WebSocket, Carrier::Unspecified),
            (Transport::WebSocket, Carrier::Stream),
            (Transport::WebTransport, Carrier::Stream),
        ];
        let mut people = Vec::new();
        for (hertz, (transport, carrier)) in TONES.into_iter().zip(ways) {
            let part = Part {
                transport,
                carrier,
                ..Part::saying(hertz)
            };
            people.push(Person::join(&api, &code, part).await?);
        }
        let own = Part {
            transport: Transport::WebSocket,
            carrier: Carrier::Stream,
            ..Part::saying(OWN).mixed()
        };
        let mut fourth = Person::join(&api, &code, own).await?;
        fourth.hears(&TONES, &[OWN]).await?;
        for person in people {
            person.leave().await?;
        }
        fourth.leave().await
    })
}

#[test]
fn one_voice_comes_with_the_bitrate_that_was_asked_for_and_as_it_is_again() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        let code = create(&api, false).await?.meeting_code;
        let speaker = Person::join(&api, &code, Part::saying(TONES[0])).await?;
        let mut listener = Person::join(&api, &code, Part::saying(OWN)).await?;
        let voice = speaker.voice;
        listener.hears_in(voice, &TONES[..1], &[OWN]).await?;
        let plain = listener.bitrate(voice, 50).await?;
        let lower = Wanted {
            transcoding: Some(Transcoding {
                codec: FourCc::Opus,
                bitrate: 12_000,
            }),
            ..Wanted::default()
        };
        listener.meeting.subscribe(voice, lower).await?;
        // What is under way still comes; then it is less, and the same tone.
        people::soon("fewer bits", async {
            while listener.bitrate(voice, 25).await? > 16_000 {}
            Ok(())
        })
        .await?;
        listener.hears_in(voice, &TONES[..1], &[OWN]).await?;
        println!("{plain} bit/s as it was sent");
        ensure!(plain > u64::from(SENT_BPS) / 2, "{plain} bit/s");
        listener.meeting.unsubscribe(voice).await?;
        people::soon("all bits", async {
            while listener.bitrate(voice, 25).await? < plain * 9 / 10 {}
            Ok(())
        })
        .await?;
        // Pictures are not made anew: said, and not silently left out.
        let pictures = Wanted {
            transcoding: Some(Transcoding {
                codec: FourCc::Vp8,
                bitrate: 100_000,
            }),
            ..Wanted::default()
        };
        let refused = listener.meeting.subscribe(voice, pictures).await;
        let (code, words) = refusal(refused)?;
        ensure!(code == ErrorCode::InvalidRequest, "{code:?}: {words}");
        ensure!(words.contains("opus"), "it names what there is: {words}");
        speaker.leave().await?;
        listener.leave().await
    })
}

fn refusal(answer: Result<(), RequestError>) -> Result<(ErrorCode, String)> {
    match answer {
        Err(RequestError::Refused { code, message }) => Ok((code, message)),
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

#[test]
fn an_encrypted_meeting_refuses_both_and_says_what_to_do() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        let access = create(&api, true).await?;
        let code = access.meeting_code;
        let speaker = Person::join(&api, &code, Part::saying(TONES[0])).await?;
        let listener = Person::join(&api, &code, Part::saying(OWN)).await?;
        let mixed = Layout {
            mix_audio: true,
            ..Layout::grid(1, 1)
        };
        let lower = Wanted {
            transcoding: Some(Transcoding {
                codec: FourCc::Opus,
                bitrate: 12_000,
            }),
            ..Wanted::default()
        };
        let answers = [
            refusal(listener.meeting.set_layout(mixed).await)?,
            refusal(listener.meeting.subscribe(speaker.voice, lower).await)?,
        ];
        for (code, words) in answers {
            ensure!(code == ErrorCode::Forbidden, "{code:?}: {words}");
            ensure!(words.contains("encrypted"), "the reason: {words}");
            ensure!(
                words.contains("enable_e2e_encryption"),
                "what to do: {words}"
            );
        }
        let link = access.meeting_url;
        let bot = tokio::task::spawn_blocking(move || {
            Bot::join(&link, "Robot", Duration::from_secs(2), &["--mix-audio"])?.outcome()
        });
        let (status, _, log) = bot.await??;
        ensure!(status == Some(1), "{status:?}: {log}");
        ensure!(log.contains("leave --mix-audio out"), "{log}");
        speaker.leave().await?;
        listener.leave().await
    })
}
