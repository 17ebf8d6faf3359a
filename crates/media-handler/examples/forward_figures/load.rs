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
    DATAGRAM_HEADER_BYTES, DatagramHeader, Extension, Flags, FourCc, Fragmenter, FrameHeader,
    FrameType, GroupItem, GroupParser, OutgoingFrame, StreamHeader,
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
    orders::{Entrance, Order, Publisher, Received, follow, hear, say},
    plan::{BURST_PACKETS, Carrier, DATAGRAM_BYTES, FRAME_BYTES, Plan},
};

/// For one client to enter, with all others doing so.
const ENTER_MAX: Duration = Duration::from_secs(20);
/// Frames of a group of pictures.
const GROUP_FRAMES: u64 = 30;

/// Sends and receives until it is told to stop.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    stay_on(LOAD_CORE)?;
    let entrance: Entrance = hear()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, drive(*plan, entrance))
}

async fn drive(plan: Plan, entrance: Entrance) -> anyhow::Result<()> {
    let figures = Rc::new(Figures::default());
    let began = Instant::now();
    // Kept to the end: a session goes with its control stream.
    let mut kept = Vec::new();
    for token in &entrance.receivers {
        let client = Client::enter(&entrance, token).await?;
        let session = client.session.clone();
        kept.push(client);
        let receiving = receive(plan.carrier, session, Rc::clone(&figures), began);
        tokio::task::spawn_local(receiving);
    }
    let mut sources = Vec::new();
    for publisher in &entrance.sources {
        let client = Client::enter(&entrance, &publisher.token).await?;
        sources.push((client.session.clone(), publisher.clone()));
        kept.push(client);
    }
    say(&"ready")?;
    let mut orders = follow();
    while let Some(order) = orders.recv().await {
        if order == Order::Start {
            for (number, (session, publisher)) in (0..).zip(sources.drain(..)) {
                let source = Source {
                    plan,
                    number,
                    session,
                    publisher,
                    figures: Rc::clone(&figures),
                    began,
                };
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
    bursts: u64,
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

    fn sent(&self) {
        self.0.borrow_mut().bursts += 1;
    }

    fn take(&self) -> anyhow::Result<Received> {
        let counts = std::mem::take(&mut *self.0.borrow_mut());
        Ok(Received {
            cpu: cpu_time()?,
            bursts: counts.bursts,
            packets: counts.packets,
            bytes: counts.bytes,
            p50: counts.percentile(50),
            p99: counts.percentile(99),
        })
    }
}

/// One of them, with what must stay open.
struct Client {
    session: WebTransportSession,
    _control: (
        <WebTransportSession as Session>::Send,
        <WebTransportSession as Session>::Recv,
    ),
}

impl Client {
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

async fn receive(
    carrier: Carrier,
    session: WebTransportSession,
    figures: Rc<Figures>,
    began: Instant,
) {
    match carrier {
        Carrier::Datagrams => {
            while let Ok(datagram) = session.recv_datagram().await {
                let bytes = datagram.len();
                if let Ok(header) = DatagramHeader::parse(&datagram) {
                    figures.arrived(1, bytes, since(began, header.timestamp_us));
                }
            }
        }
        Carrier::Streams => {
            while let Ok(stream) = session.accept_uni().await {
                tokio::task::spawn_local(read(stream, Rc::clone(&figures), began));
            }
        }
    }
}

async fn read<R: RecvStream>(mut stream: R, figures: Rc<Figures>, began: Instant) {
    let mut parser = GroupParser::new(dt_frame::PAYLOAD_BYTES_MAX);
    while let Ok(Some(mut chunk)) = stream.read_chunk(64 << 10).await {
        while let Ok(Some(item)) = parser.next(&mut chunk) {
            if let GroupItem::Frame(header, payload) = item {
                let latency = since(began, header.timestamp_us);
                figures.arrived(u64::from(BURST_PACKETS), payload.len(), latency);
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
    plan: Plan,
    number: u32,
    session: WebTransportSession,
    publisher: Publisher,
    figures: Rc<Figures>,
    began: Instant,
}

impl Source {
    async fn send(self) -> anyhow::Result<()> {
        match self.plan.carrier {
            Carrier::Datagrams => self.send_datagrams().await,
            Carrier::Streams => self.send_streams().await,
        }
    }

    fn ticks(&self) -> tokio::time::Interval {
        let first = tokio::time::Instant::now() + self.plan.phase(self.number);
        let mut ticks = tokio::time::interval_at(first, self.plan.frame_interval());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    async fn send_datagrams(self) -> anyhow::Result<()> {
        let number = StreamNumber::try_from(1)?;
        let mut fragmenter = Fragmenter::new(UserId(self.publisher.user_id), number);
        let room = DATAGRAM_BYTES - DATAGRAM_HEADER_BYTES;
        let payload = Bytes::from(vec![0x5a; room * BURST_PACKETS as usize]);
        let mut ticks = self.ticks();
        for frame in 0u64.. {
            ticks.tick().await;
            let frame = OutgoingFrame {
                frame_type: frame_type(frame),
                timestamp_us: self.now_us(),
                discardable: false,
                extension: extension(frame),
                payload: payload.clone(),
            };
            for datagram in fragmenter.cut(&frame, DATAGRAM_BYTES)? {
                self.session.send_datagram(datagram.to_bytes())?;
            }
            self.figures.sent();
        }
        Ok(())
    }

    async fn send_streams(self) -> anyhow::Result<()> {
        let stream_id: StreamId = self.publisher.stream_id.parse()?;
        let payload = Bytes::from(vec![0x5a; FRAME_BYTES]);
        let mut ticks = self.ticks();
        let mut stream = None;
        for frame in 0u64.. {
            ticks.tick().await;
            if frame.is_multiple_of(GROUP_FRAMES) {
                let mut opened = self.session.open_uni().await?;
                let header = StreamHeader {
                    stream_id,
                    codec: FourCc::Vp8,
                    encoding: Encoding::MIN,
                    screen: false,
                    group: u32::try_from(frame / GROUP_FRAMES)?,
                };
                opened
                    .write(Bytes::copy_from_slice(&header.write()))
                    .await?;
                if let Some(mut before) = stream.replace(opened) {
                    SendStream::finish(&mut before)?;
                }
            }
            let header = FrameHeader {
                frame_type: frame_type(frame),
                stream_id,
                timestamp_us: self.now_us(),
                sequence: frame,
                payload_bytes: u32::try_from(payload.len())?,
                flags: Flags::WHOLE,
                extension: extension(frame),
            };
            let mut chunks = [Bytes::copy_from_slice(&header.write()), payload.clone()];
            if let Some(stream) = &mut stream {
                stream.write_chunks(&mut chunks).await?;
            }
            self.figures.sent();
        }
        Ok(())
    }
}

fn frame_type(frame: u64) -> FrameType {
    if frame.is_multiple_of(GROUP_FRAMES) {
        FrameType::VideoKey
    } else {
        FrameType::VideoDelta
    }
}

#[allow(clippy::cast_possible_truncation)] // both count around
fn extension(frame: u64) -> Extension {
    Extension::video(Encoding::MIN, 0, frame as u8, (frame / GROUP_FRAMES) as u16)
}
