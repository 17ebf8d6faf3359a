//! Publishes a VP8 clip in an IVF file to a meeting, in a loop, until Ctrl-C.
//!
//! ```text
//! cargo run -p dt-client --example publish_clip -- http://127.0.0.1:8080/m/CODE clip.ivf
//! ```

use anyhow::Context as _;
use dt_client::{
    Api, JoinOptions, Joined, MediaFrame, Meeting, MeetingLink, Publication, Publisher, Sent,
    clip::Clip, now_us,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: publish_clip LINK CLIP.ivf";
    let link: MeetingLink = arguments.next().context(usage)?.parse()?;
    let file = std::fs::read(arguments.next().context(usage)?)?;
    let clip = Clip::from_ivf(&file.into())?;

    let access = Api::new(&link.api_url())?.guest_access(link.key()).await?;
    let camera = Publication::camera(clip.width(), clip.height(), 30);
    let options = JoinOptions::named("Clip").publishing(camera);
    let Joined {
        meeting,
        mut publishers,
        ..
    } = Meeting::join(access, options).await?;
    let publisher = publishers.pop().context("one stream was published")?;
    tokio::select! {
        () = play(&clip, publisher) => {}
        end = meeting.ended() => println!("Over: {end}."),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    meeting.leave().await;
    Ok(())
}

/// Sends while somebody watches, and begins with a key frame whenever asked to.
async fn play(clip: &Clip, mut publisher: Publisher) {
    let mut tick = tokio::time::interval(clip.frame_duration());
    let mut place = 0;
    loop {
        if !publisher.is_active() {
            if !publisher.directive_changed().await {
                return;
            }
            continue;
        }
        tick.tick().await;
        if publisher.take_key_frame_request() {
            place = clip.key_frame_from(place);
        }
        let frame = &clip.frames()[place];
        let sent = publisher.send(&MediaFrame::video(
            now_us(),
            frame.key,
            frame.payload.clone(),
        ));
        place = match sent {
            Sent::NeedsKeyFrame => clip.key_frame_from(place),
            Sent::Queued | Sent::Paused | Sent::TooLong => (place + 1) % clip.frames().len(),
        };
    }
}
