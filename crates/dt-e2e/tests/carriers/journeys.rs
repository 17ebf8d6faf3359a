//! The three journeys of the transport's specification, over each carrier and
//! between them: media goes between two people, who waits in the lobby has none
//! of it, and a meeting begins, goes on and ends.

use anyhow::{Context as _, Result};
use dt_client::{Api, End, Event, JoinError, MeetingAccess, Transport};
use dt_transport::{RecvStream as _, Session as _};

use crate::{
    hosting::{create, with_server},
    people::{BOTH, Person},
    playing::{DEADLINE, soon},
    raw::Raw,
};

async fn two_people_see_and_hear_each_other(
    api: &Api,
    (first, second): (Transport, Transport),
    encrypted: bool,
) -> Result<()> {
    let access = create(api, encrypted).await?;
    let mut ada = Person::join(access.clone(), "Ada", first).await?;
    let guest = api.guest_access(&access.meeting_code).await?;
    let mut bob = Person::join(guest, "Bob", second).await?;
    bob.sees_and_hears(&["Ada"]).await?;
    ada.sees_and_hears(&["Bob"]).await?;
    for (person, transport) in [(&ada, first), (&bob, second)] {
        let name = match transport {
            Transport::WebSocket => "websocket",
            _ => "webtransport",
        };
        assert_eq!(person.carrier()?, name);
    }
    println!(
        "{first:?}, {second:?}, encrypted {encrypted}: joined after {:?} and {:?}",
        ada.took, bob.took
    );
    ada.leave().await?;
    bob.leave().await
}

#[test]
fn media_goes_between_two_people_whatever_carries_them() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        for first in BOTH {
            for second in BOTH {
                for encrypted in [false, true] {
                    two_people_see_and_hear_each_other(&api, (first, second), encrypted).await?;
                }
            }
        }
        Ok(())
    })
}

/// Sessions are open, and nothing was said on them: nothing comes back.
async fn who_has_not_joined_gets_nothing(
    access: &MeetingAccess,
    transport: Transport,
) -> Result<()> {
    let signaling = Raw::signaling(access, transport).await?;
    let media = Raw::media(access, transport).await?;
    // Even when it sends as if it had joined.
    media.datagram_of(1, 1).await?;
    let mut group = media.session.open_uni().await?;
    media.group(&mut group, [7; 16], 0).await?;
    let nothing = async {
        tokio::select! {
            _ = signaling.session.recv_datagram() => "a datagram to the lobby",
            _ = signaling.session.accept_uni() => "a stream to the lobby",
            _ = media.session.recv_datagram() => "a datagram",
            stream = media.session.accept_uni() => {
                if let Ok(mut stream) = stream {
                    let _ = stream.read_chunk(1).await;
                }
                "a stream"
            }
        }
    };
    let wait = std::time::Duration::from_millis(1500);
    if let Ok(what) = tokio::time::timeout(wait, nothing).await {
        // A handler that has had enough of it closes; nothing arrived then either.
        let over = media.session.closed();
        let over = tokio::time::timeout(DEADLINE, over).await;
        anyhow::ensure!(over.is_ok(), "somebody who has not joined got {what}");
    }
    Ok(())
}

#[test]
fn who_waits_in_the_lobby_has_nothing_of_the_meeting_and_disturbs_nobody() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        for transport in BOTH {
            let access = create(&api, false).await?;
            let mut ada = Person::join(access.clone(), "Ada", transport).await?;
            let guest = api.guest_access(&access.meeting_code).await?;
            let mut bob = Person::join(guest, "Bob", transport).await?;
            bob.sees_and_hears(&["Ada"]).await?;
            let lobby = api.guest_access(&access.meeting_code).await?;
            who_has_not_joined_gets_nothing(&lobby, transport).await?;
            ada.sees_and_hears(&["Bob"]).await?;
            assert_eq!(ada.meeting.roster().participants().count(), 1);
            ada.leave().await?;
            bob.leave().await?;
        }
        Ok(())
    })
}

async fn a_meeting_begins_goes_on_and_ends(api: &Api, transport: Transport) -> Result<()> {
    let access = create(api, true).await?;
    let code = access.meeting_code.clone();
    let host_token = access.host_token.clone().context("no host token")?;
    let mut host = Person::join(access, "Host", transport).await?;
    let guest = Person::join(api.guest_access(&code).await?, "Guest", transport).await?;
    let guest_id = guest.meeting.participant_id();
    host.event("the guest", |e| *e == Event::Joined(guest_id))
        .await?;
    guest.leave().await?;
    host.event(
        "the guest's leaving",
        |e| matches!(e, Event::Left(id, _) if *id == guest_id),
    )
    .await?;

    let thrown = Person::join(api.guest_access(&code).await?, "Thrown", transport).await?;
    host.meeting.remove(thrown.meeting.participant_id()).await?;
    assert_eq!(
        soon("the removal", thrown.meeting.ended()).await?,
        End::Removed
    );

    let other = Person::join(api.guest_access(&code).await?, "Other", transport).await?;
    let late = api.guest_access(&code).await?;
    api.end_meeting(&code, &host_token).await?;
    for person in [&host, &other] {
        let end = soon("the meeting's end", person.meeting.ended()).await?;
        assert_eq!(end, End::MeetingEnded);
    }
    match Person::join(late, "Late", transport).await {
        Ok(_) => anyhow::bail!("somebody joined an ended meeting"),
        Err(error) => {
            let ended = error.downcast_ref::<JoinError>();
            anyhow::ensure!(ended.is_some(), "{error:#}");
        }
    }
    Ok(())
}

#[test]
fn a_meeting_lives_the_same_life_over_each_carrier() -> Result<()> {
    with_server(|server, api| async move {
        let _running = server;
        for transport in BOTH {
            a_meeting_begins_goes_on_and_ends(&api, transport).await?;
        }
        Ok(())
    })
}
