//! Echoes streams and datagrams: `cargo run --example echo_server`, and then
//! `cargo run --example echo_client` with the arguments it prints.

use std::{error::Error, fmt::Write as _, sync::Arc};

use dt_transport::{
    RecvStream, SendStream, Session, SessionError,
    webtransport::{Listener, ListenerConfig, WebTransportSession},
};
use rustls::{
    crypto::ring::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

/// Shows the same certificate to everybody.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let hash = Sha256::digest(made.cert.der());
    let hash = hash.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let key = any_supported_type(&made.signing_key.into())?;
    let certificate = One(Arc::new(CertifiedKey::new(vec![made.cert.into()], key)));

    let address = "127.0.0.1:4433".parse()?;
    let listener = Listener::bind(ListenerConfig::new(address, Arc::new(certificate)))?;
    println!("https://{} {hash}", listener.local_addr());
    while let Some(incoming) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(session) = incoming.accept().await {
                let end = tokio::join!(streams(&session), datagrams(&session)).0;
                println!("{end}");
            }
        });
    }
    Ok(())
}

/// One stream after the other, to keep it short; returns why the session ended.
async fn streams(session: &WebTransportSession) -> SessionError {
    loop {
        let (mut send, mut recv) = match session.accept_bi().await {
            Ok(both) => both,
            Err(end) => return end,
        };
        while let Ok(Some(chunk)) = recv.read_chunk(1 << 16).await {
            if send.write(chunk).await.is_err() {
                break;
            }
        }
        // Fails when it was reset meanwhile.
        let _ = send.finish();
    }
}

async fn datagrams(session: &WebTransportSession) {
    while let Ok(datagram) = session.recv_datagram().await {
        // One that is too large for the way back is left out.
        let _ = session.send_datagram(datagram);
    }
}
