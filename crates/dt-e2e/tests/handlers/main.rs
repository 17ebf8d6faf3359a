//! A meeting at several media handlers, over real sockets: it outlives any one of
//! them, and its people may be anywhere.

mod cluster;
mod guest;
#[path = "../playing/mod.rs"]
mod playing;

use std::time::Duration;

use anyhow::{Result, ensure};
use dt_token::Role;

use cluster::{Cluster, Loss};
use guest::Guest;
use playing::soon;

const NAMES: [&str; 3] = ["Ana", "Bo", "Cem"];
/// A second of sound, and of pictures.
const SOUND: u64 = 50;
const PICTURES: u64 = 25;
/// Sound that may be missing where a handler is lost in the middle of it: what
/// a busy machine drops of one copy where there is no second.
const LOST_MAX: u64 = 5;

async fn seated(cluster: &Cluster) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for name in NAMES {
        let role = if guests.is_empty() {
            Role::Host
        } else {
            Role::Guest
        };
        guests.push(Guest::join(cluster, name, role).await?);
    }
    all_take_in_all(&mut guests).await?;
    Ok(guests)
}

async fn all_take_in_all(guests: &mut [Guest]) -> Result<()> {
    for guest in guests.iter() {
        guest.begin_anew();
    }
    all_go_on(guests, SOUND, PICTURES).await
}

async fn all_go_on(guests: &mut [Guest], sound: u64, pictures: u64) -> Result<()> {
    for guest in guests {
        let others: Vec<_> = NAMES
            .into_iter()
            .filter(|name| *name != guest.name)
            .collect();
        guest.takes_in(&others, sound, pictures).await?;
    }
    Ok(())
}

/// Waits until every one has two handlers that are ready and none of them is lost.
async fn all_have_two(cluster: &Cluster, guests: &[Guest]) -> Result<()> {
    let settled = || {
        guests.iter().all(|guest| {
            let handlers = guest.meeting.handlers();
            handlers.len() == 2
                && handlers.iter().all(|handler| {
                    let machine = cluster.machines.iter().find(|m| m.id == handler.id);
                    handler.ready && machine.is_some_and(|machine| !machine.is_lost())
                })
        })
    };
    soon("two handlers each", async {
        while !settled() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Prints the gaps, and judges what was lost of sound.
fn sound_went_on(guests: &[Guest], what: &str) -> Result<()> {
    for guest in guests {
        for other in NAMES.into_iter().filter(|name| *name != guest.name) {
            let (sound, pictures) = (guest.track(other, false), guest.track(other, true));
            println!(
                "{what}: {} heard {other} with {} of {} packets lost, gap {} ms; pictures' gap {} ms",
                guest.name,
                sound.lost,
                sound.lost + sound.frames,
                sound.gap.as_millis(),
                pictures.gap.as_millis(),
            );
            ensure!(
                sound.lost <= LOST_MAX,
                "{} lost {other}: {sound:?}",
                guest.name
            );
            ensure!(sound.again + pictures.again == 0, "something came twice");
        }
    }
    Ok(())
}

async fn outlives(loss: Loss) -> Result<()> {
    let cluster = Cluster::start(3, 100).await?;
    let mut guests = seated(&cluster).await?;
    all_have_two(&cluster, &guests).await?;
    all_take_in_all(&mut guests).await?;
    let home = cluster.home(&guests[0].meeting)?;
    ensure!(home.sessions() == NAMES.len(), "all are at one home");
    for guest in &guests {
        guest.begin_anew();
    }
    home.lose(loss);
    // The others are heard by the spare, and seen by it when the controller or
    // the client has noticed.
    all_go_on(&mut guests, 4 * SOUND, PICTURES).await?;
    all_have_two(&cluster, &guests).await?;
    sound_went_on(&guests, &format!("{loss:?}"))?;
    all_take_in_all(&mut guests).await?;
    for guest in guests {
        guest.leave().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meeting_outlives_the_home_of_all_without_a_word_lost() -> Result<()> {
    outlives(Loss::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meeting_outlives_a_home_that_just_falls_silent() -> Result<()> {
    outlives(Loss::Unplugged).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_at_different_handlers_meet_over_links_and_move_when_theirs_drains() -> Result<()> {
    let cluster = Cluster::start(3, 1).await?;
    let mut guests = seated(&cluster).await?;
    all_have_two(&cluster, &guests).await?;
    let homes: Vec<_> = guests
        .iter()
        .map(|guest| Ok(cluster.home(&guest.meeting)?.id))
        .collect::<Result<_>>()?;
    ensure!(homes[0] != homes[1], "one a handler: {homes:?}");
    ensure!(
        cluster.machines.iter().any(|machine| machine.links() > 0),
        "they are linked"
    );

    let draining = cluster.home(&guests[0].meeting)?;
    for guest in &guests {
        guest.begin_anew();
    }
    draining.drain(playing::DEADLINE).await;
    ensure!(draining.sessions() == 0, "all have left it");
    all_go_on(&mut guests, 2 * SOUND, PICTURES).await?;
    sound_went_on(&guests, "drained")?;
    for guest in guests {
        guest.leave().await;
    }
    Ok(())
}
