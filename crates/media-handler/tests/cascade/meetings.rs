//! Media over links, as people at their ends see it.

use dt_frame::FrameType;
use dt_transport::SendStream;
use dt_wire::{internal::handler_event::Event, v1::media_server_message::Body};

use crate::{
    support::{Client, label},
    world::{Net, Order, listen, next},
};

/// One person at the first handler whom one at the last one gets.
async fn joined(net: &mut Net, along: &[usize]) -> (Client, Client) {
    let last = *along.last().unwrap();
    let sender = net.at[along[0]].person(1).await;
    let receiver = net.at[last].person(2).await;
    net.chain(&sender, along, &[receiver]).await;
    let a = net.at[along[0]].join(&sender).await;
    let b = net.at[last].join(&receiver).await;
    (a, b)
}

async fn sound_and_pictures_arrive(along: &[usize]) {
    let mut net = Net::new(along.len()).await;
    let (mut a, mut b) = joined(&mut net, along).await;
    // Those in the middle have no session that would start them.
    net.linked(1).await;
    let last = *along.last().unwrap();
    let mut events = listen(&net.at[last]).await;
    let heard = loop {
        let said = a.say();
        if let Some(heard) = b.hear_within(50).await {
            assert!(heard.sequence <= said.sequence);
            break heard;
        }
    };
    assert_eq!(heard.label(), Some(label(11)));
    let microphone = a.person.microphone.to_string();
    next(&mut events, |event| match event {
        Event::Flow(flow) if flow.stream_id == microphone => Some(flow.arriving),
        _ => None,
    })
    .await;

    let mut group = a.open_group(3).await;
    let key = a.show(&mut group, FrameType::VideoKey, 50_000).await;
    let mut seen = b.watch().await;
    assert_eq!(seen.header().await, a.group_header(3));
    let (header, payload) = seen.frame().await;
    assert_eq!((header, payload.len()), (key, 50_000));
    for bytes in [10, 20, 30] {
        let sent = a.show(&mut group, FrameType::VideoDelta, bytes).await;
        assert_eq!(seen.frame().await.0, sent);
    }
    group.finish().unwrap();
    assert_eq!(seen.next().await, Ok(None));
    let camera = a.person.camera.to_string();
    next(&mut events, |event| match event {
        Event::Flow(flow) if flow.stream_id == camera => flow.arriving.then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_handlers_pass_on_both_carriers() {
    sound_and_pictures_arrive(&[0, 1]).await;
}

#[tokio::test(start_paused = true)]
async fn three_in_a_row_do_too() {
    sound_and_pictures_arrive(&[0, 1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_a_key_frame_goes_up_all_links() {
    let mut net = Net::new(3).await;
    let (mut a, mut b) = joined(&mut net, &[0, 1, 2]).await;
    net.linked(1).await;
    let mut group = a.open_group(1).await;
    a.show(&mut group, FrameType::VideoKey, 100).await;
    let mut seen = b.watch().await;
    seen.header().await;
    b.ask(a.person.camera).await;
    let (_, body) = a.control.message().await.unwrap();
    let Body::RequestKeyframe(request) = body else {
        panic!("a request is expected, not {body:?}");
    };
    assert_eq!(request.stream_id, a.person.camera.to_string());
}

#[tokio::test(start_paused = true)]
async fn the_controller_hears_of_demand_where_the_sender_is_and_not_beyond() {
    let mut net = Net::new(2).await;
    let mut near = listen(&net.at[0]).await;
    let mut far = listen(&net.at[1]).await;
    let (a, _b) = joined(&mut net, &[0, 1]).await;
    let camera = a.person.camera.to_string();
    let of = |event: &Event| match event {
        Event::Demand(demand) if demand.stream_id == camera => Some(demand.encodings.len()),
        _ => None,
    };
    assert_eq!(next(&mut near, of).await, 1);
    // Nobody beyond looks any more.
    let sender = a.person;
    let mut order = Order::of(&sender, 0);
    let (from, route) = (net.id(0), net.route_to(1));
    order.inlet(&sender, from, route, from, 1);
    order.send(&mut net.at[1]).await.unwrap();
    assert_eq!(next(&mut near, of).await, 0);
    // Up to here the other one has said nothing about it.
    let mut other = listen(&net.at[1]).await;
    while let Ok(event) = far.try_recv() {
        assert_eq!(of(&event.event.unwrap()), None);
    }
    while let Ok(event) = other.try_recv() {
        assert_eq!(of(&event.event.unwrap()), None);
    }
}

#[tokio::test(start_paused = true)]
async fn who_speaks_is_known_beyond_a_link() {
    let mut net = Net::new(2).await;
    let mut far = listen(&net.at[1]).await;
    let (mut a, _b) = joined(&mut net, &[0, 1]).await;
    net.linked(1).await;
    let speaker = a.person.participant.to_string();
    let talk = async {
        loop {
            a.say();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let named = next(&mut far, |event| match event {
        Event::Speakers(list) => list.participant_ids.contains(&speaker).then_some(()),
        _ => None,
    });
    tokio::select! {
        () = named => {}
        () = talk => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_breaks_comes_back_and_media_goes_on() {
    let mut net = Net::new(2).await;
    let (mut a, mut b) = joined(&mut net, &[0, 1]).await;
    net.linked(1).await;
    let mut group = a.open_group(1).await;
    a.show(&mut group, FrameType::VideoKey, 100).await;
    let mut seen = b.watch().await;
    seen.header().await;
    seen.frame().await;
    net.links.sever();
    assert!(seen.next().await.is_err(), "its group has broken off");
    net.linked(1).await;
    // The kept group comes over the new one, and what follows.
    let mut again = b.watch().await;
    again.header().await;
    again.frame().await;
    let sent = a.show(&mut group, FrameType::VideoDelta, 10).await;
    assert_eq!(again.frame().await.0, sent);
}

#[tokio::test(start_paused = true)]
async fn one_link_serves_all_meetings_both_ways() {
    let mut net = Net::new(2).await;
    let (a, b) = joined(&mut net, &[0, 1]).await;
    net.chain(&b.person, &[1, 0], &[a.person]).await;
    net.linked(1).await;
    let (mut a, mut b) = (a, b);
    for _ in 0..2 {
        loop {
            b.say();
            if a.hear_within(50).await.is_some() {
                break;
            }
        }
        std::mem::swap(&mut a, &mut b);
    }
    assert_eq!(net.at[0].handler.link_count(), 1);
    assert_eq!(net.at[1].handler.link_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_a_sender_moves_its_receivers_miss_no_frame() {
    let mut net = Net::new(3).await;
    // At handler 0 to begin with, seen at 2; moves to 1.
    let (mut a, mut b) = joined(&mut net, &[0, 2]).await;
    let person = a.person;
    net.at[1].register(&person).await;
    let mut moved = net.at[1].join(&person).await;
    let mut old = a.open_group(1).await;
    let mut sent = vec![a.show(&mut old, FrameType::VideoKey, 100).await];
    let mut seen = b.watch().await;
    seen.header().await;
    let mut got = vec![seen.frame().await.0];
    // From now on the same goes to both.
    let mut new = moved.open_group(2).await;
    let mut next_old = a.open_group(2).await;
    let (header, payload) = a.frame(FrameType::VideoKey, 200);
    for stream in [&mut new, &mut next_old] {
        let bytes = bytes::Bytes::copy_from_slice(&header.write());
        stream
            .write_chunks(&mut [bytes, payload.clone()])
            .await
            .unwrap();
    }
    sent.push(header);
    // And it comes to the receivers from there.
    let (to, from, route) = (net.id(2), net.id(1), net.route_to(2));
    let mut beyond = Order::of(&person, 0);
    beyond.outlet(to, route, from, 1);
    beyond.send(&mut net.at[1]).await.unwrap();
    let mut here = Order::of(&person, 0);
    here.inlet(&person, from, route, from, 1);
    here.people(&[b.person], 10);
    let mut events = listen(&net.at[2]).await;
    here.send(&mut net.at[2]).await.unwrap();
    let camera = person.camera.to_string();
    let mut flow = 0;
    next(&mut events, |event| match event {
        Event::Flow(of) if of.stream_id == camera && of.arriving => {
            flow += 1;
            // What arrived before, and that the new one has taken over.
            (flow == 2).then_some(())
        }
        _ => None,
    })
    .await;
    for n in 0..20 {
        let (header, payload) = a.frame(FrameType::VideoDelta, 50);
        let bytes = bytes::Bytes::copy_from_slice(&header.write());
        new.write_chunks(&mut [bytes.clone(), payload.clone()])
            .await
            .unwrap();
        if n < 10 {
            next_old.write_chunks(&mut [bytes, payload]).await.unwrap();
        } else if n == 10 {
            // The old way ends in the middle of a group.
            next_old.reset(0);
            Order::of(&person, 0).send(&mut net.at[0]).await.unwrap();
        }
        sent.push(header);
    }
    let mut seen = b.watch().await;
    seen.header().await;
    while got.len() < sent.len() {
        got.push(seen.frame().await.0);
    }
    assert_eq!(got, sent);
}
