//! Somebody in the meeting who plays all the time and writes down what arrives.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use dt_client::{
    Continuity, JoinOptions, Joined, Layout, MediaKind, Meeting, Publication, ReceivedFrame,
};
use dt_token::Role;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::Cluster,
    playing::{Mark, play, soon},
};

/// What came of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    /// Frames that can be decoded.
    pub(crate) frames: u64,
    /// Numbers that never came, between the first and the last that did.
    pub(crate) lost: u64,
    /// Numbers that came twice, or late.
    pub(crate) again: u64,
    /// The longest time between two frames.
    pub(crate) gap: Duration,
    last: Option<(u64, Instant)>,
}

impl Track {
    fn add(&mut self, number: u64) {
        let now = Instant::now();
        if let Some((last, at)) = self.last {
            if number <= last {
                self.again += 1;
                return;
            }
            self.lost += number - last - 1;
            self.gap = self.gap.max(now - at);
        }
        self.frames += 1;
        self.last = Some((number, now));
    }
}

/// By sender, and whether it is a picture.
type Tracks = BTreeMap<(String, bool), Track>;

#[derive(Debug, Default)]
struct Heard {
    tracks: Tracks,
    spoilt: Option<String>,
}

pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) meeting: Meeting,
    heard: Arc<Mutex<Heard>>,
    /// Counts frames, to wait by.
    arrived: watch::Receiver<u64>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Guest {
    pub(crate) async fn join(cluster: &Cluster, name: &'static str, role: Role) -> Result<Self> {
        let options = JoinOptions {
            layout: Some(Layout::grid(2, 2)),
            ..JoinOptions::named(name)
                .publishing(Publication::microphone())
                .publishing(Publication::camera(640, 360, 25))
        };
        let joining = Meeting::join(cluster.access(role)?, options);
        let Joined {
            meeting,
            mut frames,
            publishers,
            ..
        } = soon("a seat", joining).await??;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for publisher in publishers {
            tasks.spawn(play(publisher, name, stop.clone()));
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (count, arrived) = watch::channel(0);
        let notes = Arc::clone(&heard);
        tasks.spawn(async move {
            while let Some(frame) = frames.recv().await {
                note(&notes, &frame);
                count.send_modify(|frames| *frames += 1);
            }
        });
        Ok(Self {
            name,
            meeting,
            heard,
            arrived,
            stop,
            tasks,
        })
    }

    /// Counts from the frames that came last.
    pub(crate) fn begin_anew(&self) {
        self.look(|heard| {
            for track in heard.tracks.values_mut() {
                *track = Track {
                    last: track.last,
                    ..Track::default()
                };
            }
        });
    }

    /// Waits until so many frames of sound and of pictures of each of the others
    /// are there since it [began anew](Self::begin_anew).
    pub(crate) async fn takes_in(
        &mut self,
        others: &[&str],
        sound: u64,
        pictures: u64,
    ) -> Result<()> {
        let heard = Arc::clone(&self.heard);
        let enough = |_: &u64| {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let frames = |who: &str, picture| {
                let track = heard.tracks.get(&(who.to_owned(), picture));
                track.map_or(0, |track| track.frames)
            };
            heard.spoilt.is_some()
                || others
                    .iter()
                    .all(|who| frames(who, false) >= sound && frames(who, true) >= pictures)
        };
        let what = format!("{} takes in {others:?}", self.name);
        let waited = soon(&what, self.arrived.wait_for(enough)).await;
        let waited = waited.map(|frames| frames.map(drop));
        let (tracks, spoilt) = self.look(|heard| (heard.tracks.clone(), heard.spoilt.clone()));
        ensure!(spoilt.is_none(), "{spoilt:?}");
        waited.map_err(|error| error.context(format!("{tracks:#?}")))??;
        Ok(())
    }

    /// What came of one of the others.
    pub(crate) fn track(&self, of: &str, picture: bool) -> Track {
        self.look(|heard| {
            heard
                .tracks
                .get(&(of.to_owned(), picture))
                .cloned()
                .unwrap_or_default()
        })
    }

    fn look<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn leave(mut self) {
        self.stop.cancel();
        self.meeting.leave().await;
        self.tasks.shutdown().await;
    }
}

fn note(notes: &Mutex<Heard>, frame: &ReceivedFrame) {
    let mut heard = notes.lock().unwrap_or_else(PoisonError::into_inner);
    match Mark::of(frame) {
        // What can't be decoded is seen by nobody.
        Ok(_) if frame.continuity != Continuity::Whole => {}
        Ok(mark) => {
            let picture = frame.kind == MediaKind::Video;
            heard
                .tracks
                .entry((mark.sender, picture))
                .or_default()
                .add(mark.number);
        }
        Err(error) => heard.spoilt = Some(error.to_string()),
    }
}
