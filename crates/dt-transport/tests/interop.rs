//! Against another implementation of HTTP/3 WebTransport: aioquic, as a client of
//! ours and as a server to ours.
//!
//! Python with aioquic is named by `DARKTOWER_INTEROP_PYTHON`, which
//! `scripts/test.sh` sets (`scripts/need.sh interop` installs it). Without it the
//! tests say that they were left out.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "support/pair.rs"]
mod pair;

use std::{process::Stdio, time::Duration};

use bytes::Bytes;
use dt_transport::{
    RecvStream, SendStream, Session, SessionError,
    webtransport::{Trust, WebTransportSession, connect},
};
use pair::Server;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const LARGE: usize = 100 << 10;

/// The other implementation, killed with its test.
struct Peer {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// `None` without Python.
    fn start(arguments: &[&str]) -> Option<Self> {
        let Ok(python) = std::env::var("DARKTOWER_INTEROP_PYTHON") else {
            eprintln!(
                "SKIPPED: no interoperability test without DARKTOWER_INTEROP_PYTHON \
                 (scripts/need.sh interop)"
            );
            return None;
        };
        let mut child = Command::new(python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/interop/peer.py"
            ))
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self {
            _child: child,
            lines,
        })
    }

    async fn says(&mut self) -> Value {
        let line = timeout(DEADLINE, self.lines.next_line()).await.unwrap();
        serde_json::from_str(&line.unwrap().expect("the peer gave up")).unwrap()
    }
}

async fn read_all(recv: &mut impl RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = recv.read_chunk(1 << 16).await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

/// Echoes what the peer sends, one of each kind.
async fn echo(session: &WebTransportSession) {
    let bidi = async {
        let (mut send, mut recv) = session.accept_bi().await.unwrap();
        let all = read_all(&mut recv).await;
        send.write(all.into()).await.unwrap();
        send.finish().unwrap();
    };
    let uni = async {
        let mut recv = session.accept_uni().await.unwrap();
        let all = read_all(&mut recv).await;
        let mut send = session.open_uni().await.unwrap();
        send.write(all.into()).await.unwrap();
        send.finish().unwrap();
    };
    let datagram = async {
        let datagram = session.recv_datagram().await.unwrap();
        session.send_datagram(datagram).unwrap();
    };
    tokio::join!(bidi, uni, datagram);
}

/// Sends one of each kind and takes the echo.
async fn ask(session: &WebTransportSession) {
    let large = Bytes::from(vec![b'r'; LARGE]);
    let (mut send, mut recv) = session.open_bi().await.unwrap();
    send.write(large.clone()).await.unwrap();
    send.finish().unwrap();
    assert_eq!(read_all(&mut recv).await, large);
    let mut send = session.open_uni().await.unwrap();
    send.write(large.clone()).await.unwrap();
    send.finish().unwrap();
    let mut recv = session.accept_uni().await.unwrap();
    assert_eq!(read_all(&mut recv).await, large);
    let datagram = Bytes::from_static(b"rust datagram");
    session.send_datagram(datagram.clone()).unwrap();
    assert_eq!(session.recv_datagram().await.unwrap(), datagram);
}

/// Everything over one session, up to its end by one side or the other.
async fn exchange(session: WebTransportSession, peer: &mut Peer, closer: &str) -> Value {
    timeout(DEADLINE, echo(&session)).await.unwrap();
    if closer == "python" {
        timeout(DEADLINE, ask(&session)).await.unwrap();
        session
            .send_datagram(Bytes::from_static(b"enough"))
            .unwrap();
        let end = timeout(DEADLINE, session.closed()).await.unwrap();
        let expected = SessionError::ClosedByPeer {
            code: 70000,
            reason: "von Python, größer".into(),
        };
        assert_eq!(end, expected);
    } else {
        timeout(DEADLINE, ask(&session)).await.unwrap();
        session.close(6, "aus Rust, größer");
        timeout(DEADLINE, session.closed()).await.unwrap();
    }
    let seen = peer.says().await;
    for kind in ["bidi", "uni", "datagram"] {
        assert_eq!(seen["echoed"][kind], true, "{kind}");
    }
    if closer == "rust" {
        assert_eq!(seen["close"][0], 6);
        assert_eq!(seen["close"][1], "aus Rust, größer");
    }
    seen
}

#[tokio::test]
async fn another_client_speaks_with_our_server_in_every_way_and_either_may_close() {
    for closer in ["python", "rust"] {
        let server = Server::with(|_| {});
        let files = tempfile::tempdir().unwrap();
        let (certificate, _) = server.certificate.write_to(files.path());
        let port = server.address().port().to_string();
        let Some(mut peer) = Peer::start(&["client", &port, &certificate, closer]) else {
            return;
        };
        let incoming = timeout(DEADLINE, server.listener.accept()).await.unwrap();
        let incoming = incoming.unwrap();
        assert_eq!(incoming.info().path, "/interop");
        assert_eq!(incoming.query(), Some("from=aioquic"));
        assert_eq!(incoming.headers()["x-interop"], "aioquic");
        assert_eq!(incoming.protocols(), ["first", "second"]);
        let session = incoming.accept_protocol("second").await.unwrap();
        let seen = exchange(session, &mut peer, closer).await;
        assert_eq!(seen["headers"][":status"], "200");
        assert_eq!(seen["headers"]["wt-protocol"], "\"second\"");
    }
}

#[tokio::test]
async fn our_client_speaks_with_another_server_in_every_way_and_either_may_close() {
    for closer in ["python", "rust"] {
        let files = tempfile::tempdir().unwrap();
        let made = pair::Certificate::new();
        let (certificate, key) = made.write_to(files.path());
        let Some(mut peer) = Peer::start(&["server", &certificate, &key, closer]) else {
            return;
        };
        let port = peer.says().await["port"].clone();
        let session = connect(format!("https://localhost:{port}/interop"))
            .trust(Trust::Roots(vec![made.der()]))
            .header("x-interop", "rust")
            .protocol("first")
            .protocol("second")
            .await
            .unwrap();
        assert_eq!(session.info().protocol.as_deref(), Some("second"));
        let seen = exchange(session, &mut peer, closer).await;
        assert_eq!(seen["headers"]["x-interop"], "rust");
        assert_eq!(seen["headers"][":path"], "/interop");
    }
}
