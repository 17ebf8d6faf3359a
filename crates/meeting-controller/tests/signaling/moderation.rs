//! What hosts may do.

use dt_rpc::{MeetingController as _, RpcError};
use dt_token::Role;
use dt_wire::{
    internal::EndMeetingCall,
    v1::{
        EndMeeting, ErrorCode, JoinRequest, LeaveReason, RemoveParticipant, SetSpotlight,
        client_message::Body as Request, server_message::Body,
    },
};

use crate::bench::{Bench, code, eventually};

#[tokio::test(start_paused = true)]
async fn a_removed_participant_is_told_and_stays_out() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let mut eve = bench.connect().await;
    let request = bench.join_request("Eve", Role::Guest);
    let welcome = eve.join(request.clone()).await;
    let id = welcome.participant_id;
    let remove = Request::RemoveParticipant(RemoveParticipant {
        participant_id: id.clone(),
    });

    assert_eq!(
        code(&eve.refused(remove.clone()).await),
        ErrorCode::Forbidden
    );
    assert!(matches!(ana.ask(remove.clone()).await, Body::Ack(_)));
    let left = eve
        .push(|b| {
            if let Body::ParticipantLeft(l) = b {
                Some(l)
            } else {
                None
            }
        })
        .await;
    assert_eq!(
        (left.participant_id.as_str(), left.reason()),
        (&*id, LeaveReason::Kicked)
    );
    assert_eq!(eve.close_code().await, 6);
    eventually("her media session is closed", || {
        bench.handler.unregistered.lock().unwrap().contains(&id)
    })
    .await;
    assert_eq!(code(&ana.refused(remove).await), ErrorCode::NotFound);

    let resume = JoinRequest {
        resume_token: welcome.resume_token,
        ..request.clone()
    };
    let mut back = bench.connect().await;
    let error = back.refused(Request::JoinRequest(resume)).await;
    assert_eq!(code(&error), ErrorCode::Unauthorized, "the seat is gone");
    let mut back = bench.connect().await;
    let error = back.refused(Request::JoinRequest(request)).await;
    assert_eq!(code(&error), ErrorCode::Forbidden, "the join token is void");
}

#[tokio::test(start_paused = true)]
async fn the_host_ends_the_meeting_for_everybody_and_for_good() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, ben_is) = bench.join("Ben", Role::Guest).await;
    let end = Request::EndMeeting(EndMeeting {});
    assert_eq!(code(&ben.refused(end.clone()).await), ErrorCode::Forbidden);
    assert!(matches!(ana.ask(end).await, Body::Ack(_)));
    let left = ben
        .push(|b| {
            if let Body::ParticipantLeft(l) = b {
                Some(l)
            } else {
                None
            }
        })
        .await;
    assert_eq!(left.participant_id, ben_is.participant_id);
    assert_eq!(left.reason(), LeaveReason::MeetingEnded);
    assert_eq!((ana.close_code().await, ben.close_code().await), (7, 7));

    let mut late = bench.connect().await;
    let error = late
        .refused(Request::JoinRequest(bench.join_request("Cem", Role::Host)))
        .await;
    assert_eq!(code(&error), ErrorCode::NotFound);
    assert_eq!(error.message, "Meeting has ended");
    assert!(matches!(bench.assign(10).await, Err(RpcError::NotFound(_))));
    assert_eq!(bench.live().await, None);
    assert_eq!(bench.controller.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_meeting_ended_over_the_api_ends_here_too() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let request = EndMeetingCall {
        meeting_id: bench.meeting.to_string(),
    };
    bench.controller.end_meeting(request).await.unwrap();
    assert_eq!(ana.close_code().await, 7);
    assert!(matches!(bench.assign(10).await, Err(RpcError::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn the_host_puts_somebody_into_the_spotlight_and_everybody_learns_it() {
    let bench = Bench::new().await;
    let (mut ana, _) = bench.join("Ana", Role::Host).await;
    let (mut ben, ben_is) = bench.join("Ben", Role::Guest).await;
    let light = Request::SetSpotlight(SetSpotlight {
        participant_ids: vec![ben_is.participant_id.clone()],
    });
    assert_eq!(
        code(&ben.refused(light.clone()).await),
        ErrorCode::Forbidden
    );
    assert!(matches!(ana.ask(light).await, Body::Ack(_)));
    let lit = |b| {
        if let Body::MeetingUpdated(updated) = b {
            updated.meeting.map(|m| m.spotlight_user_ids)
        } else {
            None
        }
    };
    assert_eq!(ben.push(lit).await, [ben_is.user_id]);
    let (_cem, cem_is) = bench.join("Cem", Role::Guest).await;
    let meeting = cem_is.meeting.expect("it says what it is");
    assert_eq!(meeting.spotlight_user_ids, [ben_is.user_id]);
}
