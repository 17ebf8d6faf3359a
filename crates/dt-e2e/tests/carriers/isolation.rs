//! Two meetings on one server, and somebody with a seat in the first who tries
//! everything to reach the second: with its tokens, in its people's names, with
//! the ids of its streams.

use anyhow::{Context as _, Result, ensure};
use dt_client::{MediaKind, Transport};
use dt_transport::{SendStream as _, Session as _};
use dt_wire::framing::{self, Framed, RTT_TAG};

use crate::{
    hosting::{create, with_server},
    people::{BOTH, Person},
    playing::soon,
    raw::Raw,
};

async fn nothing_reaches_the_other_meeting(
    api: &dt_client::Api,
    transport: Transport,
) -> Result<()> {
    let (ours, theirs) = (create(api, false).await?, create(api, false).await?);
    let mut ada = Person::join(theirs.clone(), "Ada", transport).await?;
    let guest = api.guest_access(&theirs.meeting_code).await?;
    let mut bob = Person::join(guest, "Bob", transport).await?;
    ada.sees_and_hears(&["Bob"]).await?;
    bob.sees_and_hears(&["Ada"]).await?;

    // A token of one meeting opens no seat in another.
    let mut forged = Raw::signaling(&ours, transport).await?;
    let refused = forged
        .join(theirs.meeting_id.to_string(), ours.join_token.reveal())
        .await;
    ensure!(refused.is_err(), "a join token of another meeting was good");
    let mut forged = Raw::signaling(&ours, transport).await?;
    let token = theirs.join_token.reveal();
    let refused = forged.join(ours.meeting_id.to_string(), token).await;
    ensure!(refused.is_err(), "a join token of another meeting was good");

    // Mallory has a seat in a meeting of her own, and a media session.
    let mut signaling = Raw::signaling(&ours, transport).await?;
    let seat = signaling
        .join(ours.meeting_id.to_string(), ours.join_token.reveal())
        .await?;
    let server = seat.media_servers.first().context("no media server")?;
    let mut media = Raw::media(&ours, transport).await?;
    media.hello(server.connection_token.clone()).await?;
    // Her token opens one session, and none in another's name.
    let mut again = Raw::media(&ours, transport).await?;
    ensure!(
        again.hello(server.connection_token.clone()).await.is_err(),
        "a connection token was good twice"
    );
    let mut bent = server.connection_token.clone().into_bytes();
    let middle = bent.len() / 2;
    bent[middle] = if bent[middle] == b'A' { b'B' } else { b'A' };
    let mut forged = Raw::media(&ours, transport).await?;
    ensure!(
        forged.hello(String::from_utf8(bent)?).await.is_err(),
        "a bent connection token was good"
    );

    // In the names of the other meeting's people, and with their streams' ids.
    let mut streams = Vec::new();
    for roster in [ada.meeting.roster(), bob.meeting.roster()] {
        for participant in roster.participants() {
            for stream in &participant.streams {
                streams.push((participant.user_id.0, stream.id.into_bytes()));
            }
        }
    }
    ensure!(
        streams.len() >= 4,
        "streams of the others: {}",
        streams.len()
    );
    for (user, id) in streams {
        for number in 0..8 {
            media.datagram_of(user, number).await?;
        }
        for encoding in [0, 1, 15] {
            let mut stream = soon("a stream", media.session.open_uni()).await??;
            media.group(&mut stream, id, encoding).await?;
            // It may have been stopped.
            let _ = stream.finish();
        }
    }
    // Behind the echo all of it has been judged.
    let packet = [RTT_TAG, 1, 2, 3];
    media.say(framing::encode_bytes(&packet)).await?;
    while !matches!(media.next().await?, Framed::Rtt(echo) if echo[..] == packet) {}

    // Both go on with each other, and see nobody else: two rounds of it.
    for _ in 0..2 {
        ada.sees_and_hears(&["Bob"]).await?;
        bob.sees_and_hears(&["Ada"]).await?;
    }
    for person in [&mut ada, &mut bob] {
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
        let mut counts = [0, 0];
        while let Ok(frame) = tokio::time::timeout_at(until, person.frames.recv()).await {
            let frame = frame.context("the seat is over")?;
            ensure!(
                crate::playing::Mark::of(&frame)?.sender != "Mallory",
                "Mallory got in"
            );
            counts[usize::from(frame.kind == MediaKind::Video)] += 1;
        }
        ensure!(
            counts[0] > 0 && counts[1] > 0,
            "the meeting was disturbed: {counts:?}"
        );
        assert_eq!(person.meeting.roster().participants().count(), 1);
    }
    // And nothing came to Mallory.
    let nothing = async {
        tokio::select! {
            _ = media.session.recv_datagram() => "a datagram",
            _ = media.session.accept_uni() => "a stream",
        }
    };
    let wait = std::time::Duration::from_millis(500);
    if let Ok(what) = tokio::time::timeout(wait, nothing).await {
        let open = tokio::time::timeout(wait, media.session.closed())
            .await
            .is_err();
        ensure!(!open, "{what} of the other meeting arrived");
    }
    ada.leave().await?;
    bob.leave().await
}

#[test]
fn nothing_of_one_meeting_reaches_another_whatever_ids_are_forged() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        for transport in BOTH {
            nothing_reaches_the_other_meeting(&api, transport).await?;
        }
        Ok(())
    })
}

async fn rtt_packets_come_back_where_they_came_from(
    api: &dt_client::Api,
    transport: Transport,
) -> Result<()> {
    let access = create(api, false).await?;
    let mut signaling = Raw::signaling(&access, transport).await?;
    let seat = signaling
        .join(access.meeting_id.to_string(), access.join_token.reveal())
        .await?;
    let server = seat.media_servers.first().context("no media server")?;
    let mut media = Raw::media(&access, transport).await?;
    media.hello(server.connection_token.clone()).await?;
    for (number, session) in (1..).zip([&mut signaling, &mut media]) {
        let packet = [RTT_TAG, number, 7];
        session.say(framing::encode_bytes(&packet)).await?;
        while !matches!(session.next().await?, Framed::Rtt(echo) if echo[..] == packet) {}
    }
    // Datagrams: of media on both carriers, of signaling where there are any.
    let with_datagrams = [&signaling, &media]
        .into_iter()
        .filter(|raw| raw.session.max_datagram_bytes() > 0);
    let mut echoed = 0;
    for raw in with_datagrams {
        let packet = bytes::Bytes::from_static(&[RTT_TAG, 9, 9]);
        raw.session
            .send_datagram(bytes::Bytes::from_static(b"ping"))?;
        raw.session.send_datagram(packet.clone())?;
        assert_eq!(
            soon("the echo", raw.session.recv_datagram()).await??,
            packet
        );
        echoed += 1;
    }
    assert_eq!(
        echoed,
        if transport == Transport::WebSocket {
            1
        } else {
            2
        }
    );
    Ok(())
}

#[test]
fn rtt_packets_are_echoed_on_the_channel_they_came_by_on_both_carriers() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        for transport in BOTH {
            rtt_packets_come_back_where_they_came_from(&api, transport).await?;
        }
        Ok(())
    })
}
