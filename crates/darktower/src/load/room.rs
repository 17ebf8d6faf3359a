//! One room: its meeting, its participants, and what they measure.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dt_client::{
    Api, Event, JoinOptions, Joined, Layout, Meeting, MeetingAccess, NewMeeting, Publisher,
    ReceivedFrame, Secret,
};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    DRAIN, LoadArgs, payload,
    sending::{self, Pace},
};
use crate::{
    bot::{
        self,
        ledger::{KnownPayloads, Ledger},
    },
    meeting_link::{self, settings},
};

/// Tokens that the API gives at once.
const TOKENS_AT_ONCE: u32 = 100;
/// Participants that join at the same time.
const JOINS_AT_ONCE: usize = 8;
/// How long media may take to be ready after a join.
const READY_MAX: Duration = Duration::from_secs(10);

/// How long it may take until all hold the keys of all.
const KEYS_MAX: Duration = Duration::from_secs(30);

/// A room in which everybody has joined.
pub(super) struct Room {
    api: Api,
    key: String,
    host_token: Option<Secret>,
    joins: Vec<Duration>,
    publishers: Vec<Sender>,
    subscribers: Vec<Receiver>,
    args: LoadArgs,
}

struct Sender {
    meeting: Meeting,
    publisher: Publisher,
}

struct Receiver {
    meeting: Meeting,
    frames: mpsc::Receiver<ReceivedFrame>,
}

/// What a room measured.
pub(super) struct Outcome {
    pub(super) joins: Vec<Duration>,
    pub(super) sent_frames: u64,
    pub(super) sent_bytes: u64,
    /// Each picture at each subscriber, in whichever encoding.
    pub(super) expected_frames: u64,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) decrypt_failures: u64,
    /// Participants whose session did not last.
    pub(super) gone: u64,
    /// Frames that could not be sent although somebody wanted them.
    pub(super) not_sent: u64,
}

impl Room {
    /// Makes the meeting and lets everybody join.
    pub(super) async fn open(api: &Api, args: &LoadArgs) -> anyhow::Result<Self> {
        let people = args.publishers + args.subscribers;
        let access = api
            .create_meeting(&NewMeeting {
                display_name: Some("Load".to_owned()),
                max_participants: Some(people.max(2)),
                settings: Some(settings(args.no_e2ee)),
            })
            .await?;
        meeting_link::check(&access, args.no_e2ee)?;
        let mut room = Self {
            api: api.clone(),
            key: access.meeting_code.clone(),
            host_token: access.host_token.clone(),
            joins: Vec::new(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            args: args.clone(),
        };
        let mut tokens = room.tokens(people).await?;
        let publishing = tokens.split_off(args.subscribers as usize);
        let accesses = |tokens: Vec<Secret>| {
            let access = access.clone();
            tokens.into_iter().map(move |join_token| MeetingAccess {
                join_token,
                ..access.clone()
            })
        };
        let publish = sending::publication(args);
        let options = |number: usize| JoinOptions {
            layout: None,
            encryption: bot::encryption(args.no_e2ee),
            transport: args.transport.into(),
            ..JoinOptions::named(format!("Publisher {number}")).publishing(publish.clone())
        };
        for (joined, took) in join_all(accesses(publishing), options).await? {
            room.joins.push(took);
            let publisher = joined.publishers.into_iter().next();
            room.publishers.push(Sender {
                meeting: joined.meeting,
                publisher: publisher.context("a join without its publisher")?,
            });
        }
        let side = (1..)
            .find(|side| side * side >= args.publishers)
            .unwrap_or(1);
        let options = |number: usize| JoinOptions {
            layout: Some(Layout {
                audio: 1,
                ..Layout::grid(side, side)
            }),
            encryption: bot::encryption(args.no_e2ee),
            transport: args.transport.into(),
            ..JoinOptions::named(format!("Subscriber {number}"))
        };
        for (joined, took) in join_all(accesses(tokens), options).await? {
            room.joins.push(took);
            room.subscribers.push(Receiver {
                meeting: joined.meeting,
                frames: joined.frames,
            });
        }
        room.wait_until_wanted().await?;
        if !args.no_e2ee {
            room.wait_for_keys(people as usize).await?;
        }
        Ok(room)
    }

    /// One join token a participant.
    async fn tokens(&self, people: u32) -> anyhow::Result<Vec<Secret>> {
        let host_token = self
            .host_token
            .as_ref()
            .context("the API gave no host token")?;
        let mut tokens = Vec::new();
        let mut left = people;
        while left > 0 {
            let count = left.min(TOKENS_AT_ONCE);
            let access = self.api.guests_access(&self.key, host_token, count).await?;
            if access.join_tokens.is_empty() {
                tokens.push(access.join_token);
                left -= 1;
            } else {
                left = left.saturating_sub(u32::try_from(access.join_tokens.len()).unwrap_or(left));
                tokens.extend(access.join_tokens);
            }
        }
        tokens.truncate(people as usize);
        Ok(tokens)
    }

    /// Waits until every publisher is told to send.
    async fn wait_until_wanted(&mut self) -> anyhow::Result<()> {
        if self.subscribers.is_empty() {
            return Ok(());
        }
        for sender in &mut self.publishers {
            let wanted = async {
                while !sender.publisher.is_active() {
                    if !sender.publisher.directive_changed().await {
                        return false;
                    }
                }
                true
            };
            let wanted = tokio::time::timeout(READY_MAX, wanted).await;
            anyhow::ensure!(wanted == Ok(true), "nobody asked a publisher to send");
        }
        Ok(())
    }

    /// Waits until everybody holds the same keys as all others.
    async fn wait_for_keys(&self, people: usize) -> anyhow::Result<()> {
        let senders = self.publishers.iter().map(|sender| &sender.meeting);
        let receivers = self.subscribers.iter().map(|receiver| &receiver.meeting);
        for meeting in senders.chain(receivers) {
            let complete = meeting
                .encryption_where(|now| now.position.is_some() && now.members.len() == people);
            let complete = tokio::time::timeout(KEYS_MAX, complete).await;
            anyhow::ensure!(
                matches!(complete, Ok(Some(_))),
                "somebody did not get the keys of all"
            );
        }
        Ok(())
    }

    /// Sends from `go` on until told to stop, and measures.
    pub(super) async fn run(self, go: tokio::time::Instant, stop: CancellationToken) -> Outcome {
        let begun = go.into_std();
        let drained = CancellationToken::new();
        let mut senders = JoinSet::new();
        let mut receivers = JoinSet::new();
        let subscribers = self.subscribers.len() as u64;
        for receiver in self.subscribers {
            receivers.spawn(receive(receiver, begun, drained.clone()));
        }
        let publishers = self.publishers.len() as u64;
        for (place, sender) in (0..).zip(self.publishers) {
            let pace = Pace::new(&self.args, place, publishers);
            let Sender { meeting, publisher } = sender;
            senders.spawn(sending::send(meeting, publisher, pace, go, stop.clone()));
        }
        let mut outcome = Outcome {
            joins: self.joins,
            sent_frames: 0,
            sent_bytes: 0,
            expected_frames: 0,
            ledgers: Vec::new(),
            decrypt_failures: 0,
            gone: 0,
            not_sent: 0,
        };
        let mut meetings = Vec::new();
        while let Some(Ok((meeting, counts))) = senders.join_next().await {
            outcome.sent_frames += counts.frames;
            outcome.expected_frames += counts.pictures * subscribers;
            outcome.sent_bytes += counts.bytes;
            outcome.not_sent += counts.not_sent;
            outcome.gone += u64::from(has_ended(&meeting));
            meetings.push(meeting);
        }
        tokio::time::sleep(DRAIN).await;
        drained.cancel();
        while let Some(Ok((meeting, ledger))) = receivers.join_next().await {
            outcome.gone += u64::from(has_ended(&meeting));
            outcome.decrypt_failures += meeting.receive_stats().decrypt_failures;
            outcome.ledgers.push(ledger);
            meetings.push(meeting);
        }
        if let Some(host_token) = &self.host_token {
            // The meeting would end by itself; this frees its seats at once.
            let _ = self.api.end_meeting(&self.key, host_token).await;
        }
        outcome
    }
}

fn has_ended(meeting: &Meeting) -> bool {
    matches!(meeting.phase(), dt_client::Phase::Ended(_))
}

/// Joins a few at a time; gives them in any order, with the time each took.
async fn join_all(
    accesses: impl Iterator<Item = MeetingAccess>,
    options: impl Fn(usize) -> JoinOptions,
) -> anyhow::Result<Vec<(Joined, Duration)>> {
    let mut joined = Vec::new();
    let mut joining = JoinSet::new();
    let permits = Arc::new(tokio::sync::Semaphore::new(JOINS_AT_ONCE));
    for (number, access) in (1..).zip(accesses) {
        let (permits, options) = (Arc::clone(&permits), options(number));
        joining.spawn(async move {
            let _permit = permits.acquire_owned().await?;
            let begun = Instant::now();
            let mut joined = Meeting::join(access, options).await?;
            let took = begun.elapsed();
            let ready = tokio::time::timeout(READY_MAX, media_ready(&mut joined.events));
            anyhow::ensure!(ready.await == Ok(true), "media did not become ready");
            Ok((joined, took))
        });
    }
    while let Some(result) = joining.join_next().await {
        joined.push(result??);
    }
    Ok(joined)
}

async fn media_ready(events: &mut broadcast::Receiver<Event>) -> bool {
    loop {
        match events.recv().await {
            Ok(Event::MediaReady) => return true,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return false,
        }
    }
}

async fn receive(
    receiver: Receiver,
    begun: Instant,
    drained: CancellationToken,
) -> (Meeting, Ledger) {
    let Receiver {
        meeting,
        mut frames,
    } = receiver;
    let mut ledger = Ledger::new(begun, KnownPayloads::default());
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            taken = frames.recv_many(&mut batch, 64) => {
                if taken == 0 {
                    break;
                }
                let now = Instant::now();
                for frame in batch.drain(..) {
                    let sound = payload::is_sound(&frame.payload);
                    ledger.receive_checked(&frame, now, sound);
                }
            }
            () = drained.cancelled() => break,
        }
    }
    (meeting, ledger)
}
