//! The process that is measured: a media handler behind a real listener, on one
//! runtime of one thread as `darktower up` has it, and its controller.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dt_ids::HandlerId;
use dt_transport::{
    Session as _,
    webtransport::{Listener, ListenerConfig, WebTransportSession},
};
use dt_wire::internal::Endpoint;
use media_handler::{Config, MediaHandler};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};

use crate::{
    counters::Counters,
    machine::{MEASURED_CORE, cpu_time, dropped_packets, resident_bytes, stay_on},
    meeting::Controller,
    orders::{Entrance, Forwarded, Order, Sent, Wire, follow, say},
    scene::Scene,
};

/// Serves what the scene needs until it is told to stop.
pub(crate) fn run(scene: &Scene) -> anyhow::Result<()> {
    stay_on(MEASURED_CORE)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(scene))
}

/// All that were let in, to ask their paths.
type Sessions = Arc<Mutex<Vec<WebTransportSession>>>;

async fn serve(scene: &Scene) -> anyhow::Result<()> {
    let counters = Counters::install()?;
    let sessions = Sessions::default();
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
    let mut controller = Controller::new(&handler, id).await?;
    let mut clients = Vec::new();
    for people in scene.meetings() {
        clients.extend(controller.open(&people).await?);
    }
    say(&Entrance {
        port: listener.local_addr().port(),
        certificate: hash,
        clients,
    })?;
    let (serving, open) = (Arc::clone(&handler), Arc::clone(&sessions));
    tokio::spawn(async move {
        while let Some(incoming) = listener.accept().await {
            let (handler, open) = (Arc::clone(&serving), Arc::clone(&open));
            tokio::spawn(async move {
                if let Ok(session) = incoming.accept().await {
                    locked(&open).push(session.clone());
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
            resident_bytes: resident_bytes()?,
        };
        if !order.answer(&figures)? {
            break;
        }
        if order == Order::Rest {
            say(&Forwarded {
                counts: counters.settled().await?,
                wire: wire(&locked(&sessions))?,
            })?;
        }
    }
    Ok(())
}

fn locked(sessions: &Sessions) -> std::sync::MutexGuard<'_, Vec<WebTransportSession>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all connections and the socket have counted.
fn wire(sessions: &[WebTransportSession]) -> anyhow::Result<Wire> {
    let mut wire = Wire {
        packets_dropped: dropped_packets()?,
        ..Wire::default()
    };
    for session in sessions {
        wire.add(&session.path_stats());
    }
    Ok(wire)
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
