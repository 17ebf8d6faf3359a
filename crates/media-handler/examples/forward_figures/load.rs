//! The process beside the one that is measured: real clients, each on a socket
//! of its own, that send and receive as the plan says.

use std::{
    cell::RefCell,
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
    framing,
    v1::{MediaClientMessage, MediaHello, media_client_message},
};
use tokio::{task::LocalSet, time::timeout};

use crate::{
    machine::{LOAD_CORE, cpu_time, stay_on},
    orders::{Entrance, Order, Received, follow, hear, say},
    plan::{Carrier, DATAGRAM_BYTES},
    scene::{Feed, packets_of},
};

/// For one client to enter, with all others doing so.
const ENTER_MAX: Duration = Duration::from_secs(20);
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
    let figures = Rc::new(Figures::default());
    let began = Instant::now();
    // Kept to the end: a session goes with its control stream.
    let mut kept = Vec::new();
    let mut sources = Vec::new();
    for client in &entrance.clients {
        let session = Inside::enter(&entrance, &client.token).await?;
        if client.receives {
            receive(&session.session, &figures, began);
        }
        for publication in &client.publishes {
            sources.push(Source {
                feed: publication.feed,
                stream_id: publication.stream_id.parse()?,
                user: UserId(client.user_id),
                number: StreamNumber::try_from(publication.stream_number)?,
                session: session.session.clone(),
                figures: Rc::clone(&figures),
                began,
            });
        }
        kept.push(session);
    }
    say(&"ready")?;
    let mut orders = follow();
    while let Some(order) = orders.recv().await {
        if order == Order::Start {
            for source in sources.drain(..) {
                tokio::task::spawn_local(async move {
                    if let Err(error) = source.send().await {
                        eprintln!("a source ended: {error:#}");
                    }
                });
            }
        }
        if !order.answer(&figures.take()?)? {
            break;
        }
    }
    Ok(())
}

/// What was counted since the last mark.
#[derive(Debug, Default)]
struct Figures(RefCell<Counts>);

#[derive(Debug, Default)]
struct Counts {
    expected: u64,
    packets: u64,
    bytes: u64,
    /// Of packets, by steps of [`Counts::STEP`]; the last one holds all above.
    latencies: Vec<u32>,
}

impl Counts {
    const STEP: Duration = Duration::from_micros(20);
    const STEPS: usize = 10_000;

    fn percentile(&self, percent: u64) -> Duration {
        let wanted = self.packets * percent / 100;
        let mut seen = 0;
        for (step, count) in (0..).zip(&self.latencies) {
            seen += u64::from(*count);
            if seen > wanted {
                return Self::STEP * step;
            }
        }
        Duration::ZERO
    }
}

impl Figures {
    fn arrived(&self, packets: u64, bytes: usize, latency: Duration) {
        let counts = &mut *self.0.borrow_mut();
        counts.packets += packets;
        counts.bytes += bytes as u64;
        let step = latency.as_micros() / Counts::STEP.as_micros();
        let step = usize::try_from(step)
            .unwrap_or(usize::MAX)
            .min(Counts::STEPS);
        counts.latencies.resize(Counts::STEPS + 1, 0);
        counts.latencies[step] += u32::try_from(packets).unwrap_or(0);
    }

    fn sent(&self, packets: u32, receivers: u32) {
        self.0.borrow_mut().expected += u64::from(packets) * u64::from(receivers);
    }

    fn take(&self) -> anyhow::Result<Received> {
        let counts = std::mem::take(&mut *self.0.borrow_mut());
        Ok(Received {
            cpu: cpu_time()?,
            expected: counts.expected,
            packets: counts.packets,
            bytes: counts.bytes,
            p50: counts.percentile(50),
            p99: counts.percentile(99),
        })
    }
}

/// One of them, with what must stay open.
struct Inside {
    session: WebTransportSession,
    _control: (
        <WebTransportSession as Session>::Send,
        <WebTransportSession as Session>::Recv,
    ),
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
            _control: (send, recv),
        })
    }
}

/// Counts what comes by either carrier.
fn receive(session: &WebTransportSession, figures: &Rc<Figures>, began: Instant) {
    let (by_datagram, counts) = (session.clone(), Rc::clone(figures));
    tokio::task::spawn_local(async move {
        while let Ok(datagram) = by_datagram.recv_datagram().await {
            if let Ok(header) = DatagramHeader::parse(&datagram) {
                counts.arrived(1, datagram.len(), since(began, header.timestamp_us));
            }
        }
    });
    let (by_stream, counts) = (session.clone(), Rc::clone(figures));
    tokio::task::spawn_local(async move {
        while let Ok(stream) = by_stream.accept_uni().await {
            tokio::task::spawn_local(read(stream, Rc::clone(&counts), began));
        }
    });
}

async fn read<R: RecvStream>(mut stream: R, figures: Rc<Figures>, began: Instant) {
    let mut parser = GroupParser::new(dt_frame::PAYLOAD_BYTES_MAX);
    while let Ok(Some(mut chunk)) = stream.read_chunk(64 << 10).await {
        while let Ok(Some(item)) = parser.next(&mut chunk) {
            if let GroupItem::Frame(header, payload) = item {
                let latency = since(began, header.timestamp_us);
                let packets = packets_of(payload.len());
                figures.arrived(u64::from(packets), payload.len(), latency);
            }
        }
    }
}

fn since(began: Instant, timestamp_us: u64) -> Duration {
    began
        .elapsed()
        .saturating_sub(Duration::from_micros(timestamp_us))
}

struct Source {
    feed: Feed,
    stream_id: StreamId,
    user: UserId,
    number: StreamNumber,
    session: WebTransportSession,
    figures: Rc<Figures>,
    began: Instant,
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

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    async fn send_datagrams(self) -> anyhow::Result<()> {
        let mut fragmenter = Fragmenter::new(self.user, self.number);
        let payload = Bytes::from(vec![0x5a; self.feed.frame_bytes]);
        let mut ticks = self.ticks();
        for frame in 0u64.. {
            ticks.tick().await;
            let frame = OutgoingFrame {
                frame_type: self.frame_type(frame),
                timestamp_us: self.now_us(),
                discardable: false,
                extension: self.extension(frame),
                payload: payload.clone(),
            };
            let mut packets = 0;
            for datagram in fragmenter.cut(&frame, DATAGRAM_BYTES)? {
                self.session.send_datagram(datagram.to_bytes())?;
                packets += 1;
            }
            self.figures.sent(packets, self.feed.receivers);
        }
        Ok(())
    }

    async fn send_streams(self) -> anyhow::Result<()> {
        let payload = Bytes::from(vec![0x5a; self.feed.frame_bytes]);
        let mut ticks = self.ticks();
        let mut stream = None;
        for frame in 0u64.. {
            ticks.tick().await;
            if frame.is_multiple_of(self.feed.group_frames) {
                let mut opened = self.session.open_uni().await?;
                let header = StreamHeader {
                    stream_id: self.stream_id,
                    codec: FourCc::Vp8,
                    encoding: Encoding::MIN,
                    screen: false,
                    group: u32::try_from(frame / self.feed.group_frames)?,
                };
                opened
                    .write(Bytes::copy_from_slice(&header.write()))
                    .await?;
                if let Some(mut before) = stream.replace(opened) {
                    SendStream::finish(&mut before)?;
                }
            }
            let header = FrameHeader {
                frame_type: self.frame_type(frame),
                stream_id: self.stream_id,
                timestamp_us: self.now_us(),
                sequence: frame,
                payload_bytes: u32::try_from(payload.len())?,
                flags: Flags::WHOLE,
                extension: self.extension(frame),
            };
            let mut chunks = [Bytes::copy_from_slice(&header.write()), payload.clone()];
            if let Some(stream) = &mut stream {
                stream.write_chunks(&mut chunks).await?;
            }
            let packets = packets_of(payload.len());
            self.figures.sent(packets, self.feed.receivers);
        }
        Ok(())
    }

    const fn frame_type(&self, frame: u64) -> FrameType {
        if self.feed.sound {
            FrameType::Audio
        } else if frame.is_multiple_of(self.feed.group_frames) {
            FrameType::VideoKey
        } else {
            FrameType::VideoDelta
        }
    }

    #[allow(clippy::cast_possible_truncation)] // both count around
    const fn extension(&self, frame: u64) -> Extension {
        let group = (frame / self.feed.group_frames) as u16;
        if self.feed.sound {
            Extension::audio(VOICE, group)
        } else {
            Extension::video(Encoding::MIN, 0, frame as u8, group)
        }
    }
}
