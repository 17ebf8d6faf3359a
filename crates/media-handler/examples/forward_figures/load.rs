//! The process beside the one that is measured: real clients, each on a socket
//! of its own, that send and receive as the plan says.

use std::{
    cell::Cell,
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, Fragmenter, FrameHeader, FrameType,
    GroupItem, GroupParser, OutgoingFrame, StreamHeader,
};
use dt_ids::{Encoding, StreamId, StreamNumber, UserId};
use dt_transport::{
    RecvStream, SendStream, Session,
    webtransport::{Connector, ConnectorConfig, Trust, WebTransportSession},
};
use dt_wire::{
    framing::{self, Framed},
    v1::{
        MediaClientMessage, MediaHello, MediaServerMessage, media_client_message,
        media_server_message,
    },
};
use tokio::{task::LocalSet, time::timeout};

use crate::{
    counting::{Figures, Own, Seen, now_us},
    machine::{LOAD_CORE, dropped_packets, stay_on},
    orders::{Entrance, Order, Settled, Wire, follow, hear, say},
    plan::{Carrier, DATAGRAM_BYTES},
    scene::{Feed, packets_of},
};

/// For one client to enter, with all others doing so.
const ENTER_MAX: Duration = Duration::from_secs(20);
/// All is quiet when nothing was sent and nothing came for so long: longer than a
/// handler lets a frame wait, and a connection waits before it sends again.
const QUIET: Duration = Duration::from_secs(1);
/// Longer than this is not waited for it.
const QUIET_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked.
const QUIET_LOOK: Duration = Duration::from_millis(20);
/// Somebody who speaks all the time.
const VOICE: AudioLevel = AudioLevel {
    voice: true,
    below_overload_db: 20,
};

/// Sends and receives until it is told to stop.
pub(crate) fn run() -> anyhow::Result<()> {
    stay_on(LOAD_CORE)?;
    let entrance: Entrance = hear()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, drive(entrance))
}

async fn drive(entrance: Entrance) -> anyhow::Result<()> {
    let figures = Rc::new(Figures::new(own(&entrance)?));
    // Kept to the end: a session goes with its control stream.
    let mut kept = Vec::new();
    let mut sources = Vec::new();
    for client in &entrance.clients {
        let session = Inside::enter(&entrance, &client.token).await?;
        if client.receives {
            receive(&session.session, &figures);
        }
        let mut asked = HashMap::new();
        for publication in &client.publishes {
            let key_wanted = Rc::<Cell<bool>>::default();
            asked.insert(publication.stream_id.clone(), Rc::clone(&key_wanted));
            sources.push(Source {
                feed: publication.feed,
                key_wanted,
                stream_id: publication.stream_id.parse()?,
                user: UserId(client.user_id),
                number: StreamNumber::try_from(publication.stream_number)?,
                session: session.session.clone(),
                figures: Rc::clone(&figures),
            });
        }
        tokio::task::spawn_local(obey(session.control, asked));
        kept.push((session.session, session.requests));
    }
    say(&"ready")?;
    let mut orders = follow();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Start => {
                for source in sources.drain(..) {
                    tokio::task::spawn_local(async move {
                        if let Err(error) = source.send().await {
                            eprintln!("a source ended: {error:#}");
                        }
                    });
                }
                say(&figures.mark(now_us())?)?;
            }
            Order::Mark { since_us } => say(&figures.mark(since_us)?)?,
            Order::Rest => {
                say(&figures.look()?)?;
                figures.stop_sending();
                let last_after = become_quiet(&figures).await;
                say(&Settled {
                    last_after,
                    wire: wire(&kept)?,
                    ..figures.settled()
                })?;
            }
            Order::Stop => {
                say(&figures.look()?)?;
                break;
            }
        }
    }
    Ok(())
}

fn own(entrance: &Entrance) -> anyhow::Result<Own> {
    let mut own = Own::default();
    for client in &entrance.clients {
        own.users.insert(UserId(client.user_id));
        for publication in &client.publishes {
            own.streams.insert(publication.stream_id.parse()?);
        }
    }
    Ok(own)
}

/// Waits for what is under way; how long after now the last of it came. `None` when
/// there was no end of it in time.
async fn become_quiet(figures: &Figures) -> Option<Duration> {
    let began = Instant::now();
    let (mut before, mut changed) = (figures.settled(), Duration::ZERO);
    while began.elapsed() < QUIET_WITHIN {
        tokio::time::sleep(QUIET_LOOK).await;
        let counts = figures.settled();
        if counts != before {
            (before, changed) = (counts, began.elapsed());
        }
        if began.elapsed() >= changed + QUIET {
            return Some(changed);
        }
    }
    None
}

/// What the connections and sockets of all clients have counted.
fn wire(clients: &[Kept]) -> anyhow::Result<Wire> {
    let mut wire = Wire {
        packets_dropped: dropped_packets()?,
        ..Wire::default()
    };
    for (session, _) in clients {
        wire.add(&session.path_stats());
    }
    Ok(wire)
}

/// What lasts as long as a client.
type Kept = (WebTransportSession, <WebTransportSession as Session>::Send);

/// One that was let in, with its control stream.
struct Inside {
    session: WebTransportSession,
    requests: <WebTransportSession as Session>::Send,
    control: <WebTransportSession as Session>::Recv,
}

impl Inside {
    async fn enter(entrance: &Entrance, token: &str) -> anyhow::Result<Self> {
        timeout(ENTER_MAX, Self::dial(entrance, token))
            .await
            .context("a client could not enter in time")?
    }

    async fn dial(entrance: &Entrance, token: &str) -> anyhow::Result<Self> {
        let connector = Connector::new(ConnectorConfig {
            trust: Trust::CertificateHashes(vec![entrance.certificate]),
            ..ConnectorConfig::default()
        });
        let url = format!("https://127.0.0.1:{}/mh/0", entrance.port).parse()?;
        let session = connector.connect(&url).await?;
        let (mut send, mut recv) = session.open_bi().await?;
        let hello = media_client_message::Body::Hello(MediaHello {
            connection_token: token.to_owned(),
        });
        send.write(framing::encode(&MediaClientMessage::new(1, hello)))
            .await?;
        // The answer is a welcome, for the session stays open.
        let answer = recv.read_chunk(1 << 10).await?;
        anyhow::ensure!(answer.is_some(), "the handler let a client not in");
        Ok(Self {
            session,
            requests: send,
            control: recv,
        })
    }
}

/// Bytes of one message from a handler at most.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Makes the next frame of a stream one that can be begun with when the handler asks
/// for it. What else it says is not for a load.
async fn obey<R: RecvStream>(mut control: R, asked: HashMap<String, Rc<Cell<bool>>>) {
    let mut decoder = framing::Decoder::new(MESSAGE_BYTES_MAX);
    while let Ok(Some(chunk)) = control.read_chunk(4 << 10).await {
        decoder.push(&chunk);
        while let Ok(Some(framed)) = decoder.next() {
            let Framed::Message(message) = framed else {
                continue;
            };
            if let Ok((_, media_server_message::Body::RequestKeyframe(request))) =
                MediaServerMessage::read(&message)
                && let Some(wanted) = asked.get(&request.stream_id)
            {
                wanted.set(true);
            }
        }
    }
}

/// Counts what comes by either carrier.
fn receive(session: &WebTransportSession, figures: &Rc<Figures>) {
    let (by_datagram, counts) = (session.clone(), Rc::clone(figures));
    tokio::task::spawn_local(async move {
        let mut seen = Seen::default();
        while let Ok(datagram) = by_datagram.recv_datagram().await {
            match DatagramHeader::parse(&datagram) {
                Ok(header) => counts.datagram(&header, datagram.len(), &mut seen),
                Err(_) => counts.padding(),
            }
        }
    });
    let (by_stream, counts) = (session.clone(), Rc::clone(figures));
    tokio::task::spawn_local(async move {
        while let Ok(stream) = by_stream.accept_uni().await {
            tokio::task::spawn_local(read(stream, Rc::clone(&counts)));
        }
    });
}

async fn read<R: RecvStream>(mut stream: R, figures: Rc<Figures>) {
    let mut parser = GroupParser::new(dt_frame::PAYLOAD_BYTES_MAX);
    while let Ok(Some(mut chunk)) = stream.read_chunk(64 << 10).await {
        while let Ok(Some(item)) = parser.next(&mut chunk) {
            if let GroupItem::Frame(header, payload) = item {
                let packets = packets_of(payload.len());
                figures.frame(&header, packets, payload.len());
            }
        }
    }
}

struct Source {
    feed: Feed,
    /// The handler asks for a frame to begin with.
    key_wanted: Rc<Cell<bool>>,
    stream_id: StreamId,
    user: UserId,
    number: StreamNumber,
    session: WebTransportSession,
    figures: Rc<Figures>,
}

impl Source {
    async fn send(self) -> anyhow::Result<()> {
        match self.feed.carrier {
            Carrier::Datagrams => self.send_datagrams().await,
            Carrier::Streams => self.send_streams().await,
        }
    }

    fn ticks(&self) -> tokio::time::Interval {
        let first = tokio::time::Instant::now() + self.feed.phase;
        let mut ticks = tokio::time::interval_at(first, self.feed.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }

    /// The group of a frame, and whether the frame begins it.
    fn place(&self, frame: u64, before: Option<(u64, u64)>) -> (u64, u64) {
        let wanted = self.key_wanted.take();
        match before {
            None => (0, frame),
            Some((group, began)) if frame - began < self.feed.group_frames && !wanted => {
                (group, began)
            }
            Some((group, _)) => (group + 1, frame),
        }
    }

    async fn send_datagrams(self) -> anyhow::Result<()> {
        let mut fragmenter = Fragmenter::new(self.user, self.number);
        let payload = Bytes::from(vec![0x5a; self.feed.frame_bytes]);
        let mut ticks = self.ticks();
        let mut place = None;
        for frame in 0u64.. {
            ticks.tick().await;
            if !self.figures.is_sending() {
                break;
            }
            let (group, began) = *place.insert(self.place(frame, place));
            let frame = OutgoingFrame {
                frame_type: self.frame_type(frame == began),
                timestamp_us: now_us(),
                discardable: false,
                extension: self.extension(frame, group),
                payload: payload.clone(),
            };
            let stamp = frame.timestamp_us;
            for datagram in fragmenter.cut(&frame, DATAGRAM_BYTES)? {
                self.figures
                    .sent(Carrier::Datagrams, 1, self.feed.receivers, stamp);
                self.session.send_datagram(datagram.to_bytes())?;
            }
        }
        Ok(())
    }

    async fn send_streams(self) -> anyhow::Result<()> {
        let payload = Bytes::from(vec![0x5a; self.feed.frame_bytes]);
        let mut ticks = self.ticks();
        let mut stream = None;
        let mut place = None;
        for frame in 0u64.. {
            ticks.tick().await;
            if !self.figures.is_sending() {
                break;
            }
            let (group, began) = *place.insert(self.place(frame, place));
            if frame == began {
                let mut opened = self.session.open_uni().await?;
                let header = StreamHeader {
                    stream_id: self.stream_id,
                    codec: FourCc::Vp8,
                    encoding: Encoding::MIN,
                    screen: false,
                    group: u32::try_from(group)?,
                };
                opened
                    .write(Bytes::copy_from_slice(&header.write()))
                    .await?;
                if let Some(mut before) = stream.replace(opened) {
                    SendStream::finish(&mut before)?;
                }
            }
            let header = FrameHeader {
                frame_type: self.frame_type(frame == began),
                stream_id: self.stream_id,
                timestamp_us: now_us(),
                sequence: frame,
                payload_bytes: u32::try_from(payload.len())?,
                flags: Flags::WHOLE,
                extension: self.extension(frame, group),
            };
            let mut chunks = [Bytes::copy_from_slice(&header.write()), payload.clone()];
            let packets = packets_of(payload.len());
            let stamp = header.timestamp_us;
            self.figures
                .sent(Carrier::Streams, packets, self.feed.receivers, stamp);
            if let Some(stream) = &mut stream {
                stream.write_chunks(&mut chunks).await?;
            }
        }
        if let Some(stream) = &mut stream {
            SendStream::finish(stream)?;
        }
        Ok(())
    }

    const fn frame_type(&self, begins: bool) -> FrameType {
        if self.feed.sound {
            FrameType::Audio
        } else if begins {
            FrameType::VideoKey
        } else {
            FrameType::VideoDelta
        }
    }

    #[allow(clippy::cast_possible_truncation)] // both count around
    const fn extension(&self, frame: u64, group: u64) -> Extension {
        if self.feed.sound {
            Extension::audio(VOICE, group as u16)
        } else {
            Extension::video(Encoding::MIN, 0, frame as u8, group as u16)
        }
    }
}
