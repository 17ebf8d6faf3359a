//! The process that is measured: a media handler behind a real listener, on one
//! runtime of one thread as `darktower up` has it, and its controller.

use std::{sync::Arc, time::Duration};

use dt_frame::SlotLabel;
use dt_ids::{ControllerId, HandlerId, MeetingId, ParticipantId, Slot, StreamId, UserId};
use dt_rpc::MediaHandler as _;
use dt_token::connection::{self, ConnectionClaims, ConnectionKey};
use dt_transport::webtransport::{Listener, ListenerConfig};
use dt_wire::{
    internal::{
        Destination, Endpoint, Generation, RegisterController, RegisterParticipant,
        RouteMediaCommand,
    },
    v1::{MediaStream, StreamMetadata, StreamType},
};
use media_handler::{Config, MediaHandler};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};

use crate::{
    machine::{MEASURED_CORE, cpu_time, stay_on},
    orders::{Entrance, Publisher, Sent, follow, say},
    plan::Plan,
};

/// Serves what the plan needs until it is told to stop.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    stay_on(MEASURED_CORE)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(plan))
}

async fn serve(plan: &Plan) -> anyhow::Result<()> {
    let id = HandlerId::random();
    let mut config = Config::new(id, Endpoint::default());
    if let Some(wait_max) = number("WAIT_US") {
        config.gather.wait_max = Duration::from_micros(wait_max);
    }
    if let Some(percent) = number("BUSY_PERCENT") {
        config.gather.busy_percent = u32::try_from(percent)?;
    }
    let handler = MediaHandler::new(config);
    let (certificate, hash) = certificate()?;
    let listener = Listener::bind(ListenerConfig::new(
        "127.0.0.1:0".parse()?,
        Arc::new(certificate),
    ))?;
    let mut meeting = Meeting::new(&handler, id).await?;
    let mut sources = Vec::new();
    for number in 0..plan.sources() {
        sources.push(meeting.publisher(u64::from(number) + 1).await?);
    }
    let mut receivers = Vec::new();
    for number in 0..plan.receivers {
        receivers.push(
            meeting
                .register(u64::from(plan.sources() + number) + 1, Vec::new())
                .await?,
        );
    }
    for (number, source) in (0..).zip(&sources) {
        meeting.route(&source.stream_id, number, &receivers).await?;
    }
    say(&Entrance {
        port: listener.local_addr().port(),
        certificate: hash,
        receivers: receivers.iter().map(|p| meeting.token(*p)).collect(),
        sources,
    })?;
    let serving = Arc::clone(&handler);
    tokio::spawn(async move {
        while let Some(incoming) = listener.accept().await {
            let handler = Arc::clone(&serving);
            tokio::spawn(async move {
                if let Ok(session) = incoming.accept().await {
                    handler.serve(session).await;
                }
            });
        }
    });
    let mut orders = follow();
    while let Some(order) = orders.recv().await {
        let figures = Sent {
            cpu: cpu_time()?,
            packets: 0,
        };
        if !order.answer(&figures)? {
            break;
        }
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[derive(Debug)]
struct Certificate(Arc<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn certificate() -> anyhow::Result<(Certificate, [u8; 32])> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let der = made.cert.der().clone();
    let hash = Sha256::digest(&der).into();
    let key = made.signing_key.serialize_der();
    let key = key
        .try_into()
        .map_err(|error: &str| anyhow::anyhow!(error))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    Ok((
        Certificate(Arc::new(CertifiedKey::new(vec![der], key))),
        hash,
    ))
}

/// What a meeting controller says.
struct Meeting<'a> {
    handler: &'a MediaHandler,
    handler_id: HandlerId,
    key: ConnectionKey,
    id: MeetingId,
    counter: u64,
}

impl<'a> Meeting<'a> {
    async fn new(handler: &'a MediaHandler, handler_id: HandlerId) -> anyhow::Result<Self> {
        let controller_id = ControllerId::random().to_string();
        let answer = handler
            .register_controller(RegisterController { controller_id })
            .await?;
        Ok(Self {
            handler,
            handler_id,
            key: ConnectionKey::try_from(&answer.connection_token_key[..])?,
            id: MeetingId::random(),
            counter: 0,
        })
    }

    fn generation(&mut self) -> Option<Generation> {
        self.counter += 1;
        Some(Generation {
            lease: 1,
            counter: self.counter,
        })
    }

    async fn register(
        &mut self,
        user_id: u64,
        streams: Vec<MediaStream>,
    ) -> anyhow::Result<ParticipantId> {
        let participant = ParticipantId::random();
        let request = RegisterParticipant {
            participant_id: participant.to_string(),
            meeting_id: self.id.to_string(),
            user_id: UserId(user_id).0,
            streams,
            generation: self.generation(),
        };
        self.handler.register_participant(request).await?;
        Ok(participant)
    }

    async fn publisher(&mut self, user_id: u64) -> anyhow::Result<Publisher> {
        let stream_id = StreamId::random().to_string();
        let camera = MediaStream {
            stream_id: stream_id.clone(),
            stream_type: StreamType::VideoCamera.into(),
            stream_number: 1,
            metadata: Some(StreamMetadata {
                codec: "vp08".to_owned(),
                ..StreamMetadata::default()
            }),
            ..MediaStream::default()
        };
        let participant = self.register(user_id, vec![camera]).await?;
        Ok(Publisher {
            token: self.token(participant),
            user_id,
            stream_id,
        })
    }

    /// Everybody has the source at another place of a grid of nine.
    async fn route(
        &mut self,
        stream_id: &str,
        number: u32,
        to: &[ParticipantId],
    ) -> anyhow::Result<()> {
        let destination = |(place, participant): (u32, &ParticipantId)| {
            let slot = Slot::try_from(1 + number / 9 * 9 + (number + place) % 9)?;
            anyhow::Ok(Destination {
                participant_id: participant.to_string(),
                stream_number: SlotLabel::new(1, slot).to_bits(),
                ..Destination::default()
            })
        };
        let destinations: anyhow::Result<_> = (0..).zip(to).map(destination).collect();
        let request = RouteMediaCommand {
            source_stream_id: stream_id.to_owned(),
            meeting_id: self.id.to_string(),
            generation: self.generation(),
            destinations: destinations?,
            ..RouteMediaCommand::default()
        };
        self.handler.route_media(request).await?;
        Ok(())
    }

    fn token(&self, participant: ParticipantId) -> String {
        let now = std::time::SystemTime::now().into();
        let claims = ConnectionClaims::new(self.id, participant, self.handler_id, now);
        connection::mint(&self.key, &claims)
    }
}
