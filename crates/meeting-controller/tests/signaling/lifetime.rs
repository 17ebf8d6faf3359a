//! What time and other servers bring about.

use std::time::Duration;

use dt_rpc::RpcError;
use dt_store::{Lease, StateStore as _, keys};
use dt_token::Role;
use dt_transport::Session as _;
use dt_wire::v1::{
    ConnectionState, Heartbeat, LeaveReason, client_message::Body as Request, server_message::Body,
};
use tokio::time::sleep;

use crate::bench::Bench;

#[tokio::test(start_paused = true)]
async fn silence_disconnects_and_the_seat_is_kept_five_minutes() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, ben_is) = bench.join("Ben", Role::Guest).await;
    let updated = |b| {
        if let Body::ParticipantUpdated(u) = b {
            Some(u)
        } else {
            None
        }
    };
    let left = |b| {
        if let Body::ParticipantLeft(l) = b {
            Some(l)
        } else {
            None
        }
    };

    for _ in 0..2 {
        sleep(Duration::from_secs(14)).await;
        ana.ask(Request::Heartbeat(Heartbeat {})).await;
    }
    assert_eq!(bench.live().await, Some(2));
    sleep(Duration::from_secs(3)).await;
    let update = ana.push(updated).await;
    assert_eq!(update.participant_id, ben_is.participant_id);
    assert_eq!(update.connection(), ConnectionState::Disconnected);
    assert_eq!(ben.close_code().await, 0);

    for _ in 0..20 {
        sleep(Duration::from_secs(14)).await;
        ana.ask(Request::Heartbeat(Heartbeat {})).await;
    }
    assert_eq!(bench.live().await, Some(2), "the seat is kept");
    sleep(Duration::from_secs(20)).await;
    let left = ana.push(left).await;
    assert_eq!(left.reason(), LeaveReason::ConnectionLost);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(bench.live().await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn rtt_packets_are_echoed_on_their_channel_and_keep_a_session_alive() {
    use bytes::Bytes;
    use dt_wire::framing::{Framed, encode_bytes};

    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    for second in 0..60u8 {
        let packet = [3, second, 9];
        ana.write(encode_bytes(&packet)).await;
        assert_eq!(
            ana.framed().await,
            Some(Framed::Rtt(Bytes::copy_from_slice(&packet)))
        );
        sleep(Duration::from_secs(1)).await;
    }
    ana.session
        .send_datagram(Bytes::from_static(b"ping"))
        .unwrap();
    ana.session
        .send_datagram(Bytes::from_static(b"\x02media"))
        .unwrap();
    ana.session
        .send_datagram(Bytes::from_static(b"\x03rtt"))
        .unwrap();
    assert_eq!(
        ana.session.recv_datagram().await.unwrap(),
        Bytes::from_static(b"\x03rtt")
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_meeting_is_forgotten_and_taken_again_when_assigned() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    ana.ask(Request::Leave(dt_wire::v1::Leave {})).await;
    sleep(Duration::from_secs(50)).await;
    bench.assign(10).await.unwrap();
    sleep(Duration::from_secs(50)).await;
    assert_eq!(
        bench.controller.load(),
        (1, 0),
        "assigned anew, it waits again"
    );
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.controller.load(), (0, 0));
    assert_eq!(
        bench
            .state
            .holder(&keys::meeting_lease(bench.meeting))
            .await
            .unwrap(),
        None
    );
    bench.assign(10).await.unwrap();
    bench.join("Ana", Role::Host).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_lost_its_lease_stops_acting() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    steal_lease(&bench).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(ana.close_code().await, 4);
    assert_eq!(bench.controller.load(), (0, 0));
    assert!(matches!(bench.assign(10).await, Err(RpcError::Fenced(_))));
}

async fn steal_lease(bench: &Bench) {
    let name = keys::meeting_lease(bench.meeting);
    let holder = bench
        .state
        .holder(&name)
        .await
        .unwrap()
        .expect("the lease is held");
    let lease = Lease {
        name: name.clone(),
        owner: holder.owner,
        generation: holder.generation,
    };
    assert!(bench.state.release(&lease).await.unwrap());
    bench
        .state
        .acquire(&name, "somebody else", Duration::from_secs(600))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_is_claimed_again_and_the_meeting_goes_on() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let name = keys::meeting_lease(bench.meeting);
    let holder = bench
        .state
        .holder(&name)
        .await
        .unwrap()
        .expect("the lease is held");
    let lease = Lease {
        name: name.clone(),
        owner: holder.owner,
        generation: holder.generation,
    };
    bench.state.release(&lease).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    assert!(matches!(
        ana.ask(Request::Heartbeat(Heartbeat {})).await,
        Body::Ack(_)
    ));
    let again = bench
        .state
        .holder(&name)
        .await
        .unwrap()
        .expect("the lease is held again");
    assert!(again.generation > holder.generation);
    assert_eq!(bench.live().await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn the_registry_hears_of_the_controller_and_of_its_load() {
    let bench = Bench::new().await;
    assert_eq!(*bench.registry.registrations.lock().unwrap(), 1);
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    sleep(Duration::from_secs(11)).await;
    {
        let heartbeats = bench.registry.heartbeats.lock().unwrap();
        assert_eq!(heartbeats.len(), 2);
        let capacity = heartbeats[1].capacity.unwrap();
        assert_eq!(
            (capacity.current_meetings, capacity.current_participants),
            (1, 1)
        );
    }
    *bench.registry.forgetful.lock().unwrap() = true;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*bench.registry.registrations.lock().unwrap(), 2);
    ana.ask(Request::Heartbeat(Heartbeat {})).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_takes_no_more_meetings_than_it_may() {
    let bench = Bench::with(10, |config| config.meetings_max = 1).await;
    let mut other = bench;
    other.meeting = dt_ids::MeetingId::random();
    assert!(matches!(other.assign(10).await, Err(RpcError::Capacity(_))));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_sessions_and_gives_leases_back() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let controller = std::sync::Arc::clone(&bench.controller);
    let stop = tokio::spawn(async move { controller.shutdown().await });
    assert_eq!(ana.close_code().await, 8);
    stop.await.unwrap();
    assert_eq!(
        bench
            .state
            .holder(&keys::meeting_lease(bench.meeting))
            .await
            .unwrap(),
        None
    );
    assert!(matches!(bench.assign(10).await, Err(RpcError::Capacity(_))));
}
