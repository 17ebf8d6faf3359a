//! More is asked for than the threads may do: who is not served is named in the
//! answer, and everything else goes on. What is asked for is counted, so that this
//! does not depend on the machine.

use std::time::Duration;

use dt_wire::internal::RouteMediaResponse;
use media_handler::ProcessingConfig;

use super::*;

/// Room for one mix of one voice, and for nothing beside it.
fn narrow(config: &mut media_handler::Config) {
    config.processing = ProcessingConfig {
        threads_max: 1,
        busy_max: Duration::from_millis(30),
    };
}

/// One microphone goes to each of these in their own way.
async fn order(
    world: &mut World,
    from: &Person,
    to: &[(&Person, Option<RoutingOptions>)],
) -> RouteMediaResponse {
    let request = RouteMediaCommand {
        source_stream_id: from.microphone.to_string(),
        meeting_id: world.meeting.to_string(),
        generation: world.generation(),
        destinations: to
            .iter()
            .map(|(person, options)| Destination {
                participant_id: person.participant.to_string(),
                stream_number: label(MIX).to_bits(),
                options: options.clone(),
                ..Destination::default()
            })
            .collect(),
        ..RouteMediaCommand::default()
    };
    world.handler.route_media(request).await.unwrap()
}

/// The next packets are those that this one sends, as they are.
async fn hears_plain(client: &Client, from: &Person) {
    for _ in 0..20 {
        let (header, _) = next(client).await;
        assert_eq!(header.user_id, from.user);
    }
}

#[tokio::test]
async fn who_can_not_be_served_is_named_and_disturbs_nobody() {
    let mut world = World::with(narrow).await;
    let people = people(&mut world, 4).await;
    let clients = join(&mut world, &people).await;
    let _voice = talk(&clients[0], TONES[0], Oddity::default());
    let served = order(&mut world, &people[0], &[(&people[1], mixed())]).await;
    assert!(served.not_made_anew_ids.is_empty(), "{served:?}");
    listen(&clients[1], &mut Ear::new(), &TONES[..1], &TONES[1..]).await;

    // One voice by itself is too much beside it.
    let wanted = [
        (&people[1], mixed()),
        (&people[2], encoded(12_000, "opus")),
        (&people[3], None),
    ];
    let answer = order(&mut world, &people[0], &wanted).await;
    let named = [people[2].participant.to_string()];
    assert_eq!(answer.not_made_anew_ids, named);
    listen(&clients[1], &mut Ear::new(), &TONES[..1], &TONES[1..]).await;
    hears_plain(&clients[3], &people[0]).await;

    // What the controller does then: it goes there as it is.
    let wanted = [(&people[1], mixed()), (&people[2], None)];
    let answer = order(&mut world, &people[0], &wanted).await;
    assert!(answer.not_made_anew_ids.is_empty(), "{answer:?}");
    hears_plain(&clients[2], &people[0]).await;

    // When the mix is over there is room for the other.
    let wanted = [(&people[2], encoded(12_000, "opus"))];
    let answer = order(&mut world, &people[0], &wanted).await;
    assert!(answer.not_made_anew_ids.is_empty(), "{answer:?}");
    listen(&clients[2], &mut Ear::new(), &TONES[..1], &TONES[1..]).await;
}

#[tokio::test]
async fn a_handler_that_may_make_nothing_forwards_as_ever() {
    let none = |config: &mut media_handler::Config| {
        config.processing.threads_max = 0;
    };
    let mut world = World::with(none).await;
    let people = people(&mut world, 3).await;
    let clients = join(&mut world, &people).await;
    let _voice = talk(&clients[0], TONES[0], Oddity::default());
    let wanted = [(&people[1], mixed()), (&people[2], None)];
    let answer = order(&mut world, &people[0], &wanted).await;
    assert_eq!(
        answer.not_made_anew_ids,
        [people[1].participant.to_string()]
    );
    hears_plain(&clients[2], &people[0]).await;
    for person in &people {
        world.unregister(person).await;
    }
    drop(clients);
    world.all_served().await;
}
