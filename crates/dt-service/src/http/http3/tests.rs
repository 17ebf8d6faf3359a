//! Clients that don't keep to the rules, over real sockets, byte by byte.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    body::to_bytes,
    extract::{ConnectInfo, Request},
    routing::{get, post},
};
use quinn::{ClientConfig, Connection, crypto::rustls::QuicClientConfig};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::task::JoinHandle;

use super::*;
use crate::http::{BODY_BYTES_MAX, Origin, api};

const DEADLINE: Duration = Duration::from_secs(20);
/// `GET https://localhost/where` in QPACK, from the static table where it can be.
const GET_WHERE: &[u8] = b"\x00\x00\xd1\xd7\x51\x06/where\x50\x09localhost";
/// `POST https://localhost/echo`.
const POST_ECHO: &[u8] = b"\x00\x00\xd4\xd7\x51\x05/echo\x50\x09localhost";

/// A server and a way to it.
struct Fixture {
    client: Endpoint,
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

impl Fixture {
    fn start(bounds: Bounds) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from(made.cert);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = &[&rustls::version::TLS13];
        let mut tls = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut trusting = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        trusting.alpn_protocols = vec![b"h3".to_vec()];
        let mut client = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let trusting = QuicClientConfig::try_from(trusting).unwrap();
        client.set_default_client_config(ClientConfig::new(Arc::new(trusting)));

        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve_within(
            socket,
            router(),
            Arc::new(tls),
            443,
            stop.clone(),
            DEADLINE,
            bounds,
        ));
        Self {
            client,
            address,
            stop,
            server,
        }
    }

    /// A connection whose settings were sent, as every client does first.
    async fn connect(&self) -> Connection {
        let connecting = self.client.connect(self.address, "localhost").unwrap();
        let connection = connecting.await.unwrap();
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(b"\x00\x04\x00").await.unwrap();
        // Dropped it would end, which ends the connection.
        std::mem::forget(control);
        connection
    }

    async fn still_answers(&self) {
        let connection = self.connect().await;
        assert!(ask(&connection, &headers(GET_WHERE)).await.is_answer());
    }
}

fn router() -> Router {
    api(Router::new()
        .route(
            "/where",
            get(
                |ConnectInfo(peer): ConnectInfo<SocketAddr>, origin: Origin| async move {
                    format!("{origin} {}", peer.ip())
                },
            ),
        )
        .route("/echo", post(|body: String| async move { body }))
        .route(
            "/forever",
            get(|_: Request| async { std::future::pending::<()>().await }),
        ))
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap() | 0x8000_0000;
    [&[kind], &length.to_be_bytes()[..], payload].concat()
}

fn headers(fields: &[u8]) -> Vec<u8> {
    frame(1, fields)
}

#[derive(Debug)]
enum Outcome {
    /// The bytes of the answer: header and data.
    Answer(Vec<u8>),
    Reset(u64),
    Closed(u64),
}

impl Outcome {
    fn is_answer(&self) -> bool {
        matches!(self, Self::Answer(bytes) if bytes.first() == Some(&1))
    }

    fn contains(&self, text: &str) -> bool {
        matches!(self, Self::Answer(bytes) if bytes.windows(text.len()).any(|w| w == text.as_bytes()))
    }
}

async fn outcome(mut recv: quinn::RecvStream) -> Outcome {
    let read = timeout(DEADLINE, recv.read_to_end(1 << 20)).await.unwrap();
    match read {
        Ok(bytes) => Outcome::Answer(bytes),
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => {
            Outcome::Reset(code.into_inner())
        }
        Err(quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(lost))) => {
            Outcome::Closed(code_of(&lost))
        }
        Err(error) => panic!("{error}"),
    }
}

fn code_of(lost: &quinn::ConnectionError) -> u64 {
    match lost {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

/// Sends bytes on a stream of their own, ends it, and reads what comes back.
async fn ask(connection: &Connection, bytes: &[u8]) -> Outcome {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    // Refused early, the rest can't be sent; what is read says why.
    if send.write_all(bytes).await.is_ok() {
        let _ = send.finish();
    }
    outcome(recv).await
}

#[tokio::test]
async fn a_request_is_answered_with_the_client_s_address_and_origin_known() {
    let fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    let answer = ask(&connection, &headers(GET_WHERE)).await;
    assert!(answer.contains("https://localhost 127.0.0.1"), "{answer:?}");
}

#[tokio::test]
async fn a_body_in_pieces_arrives_whole_and_an_empty_piece_does_not_end_it() {
    let fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    let request = [
        headers(POST_ECHO),
        frame(0, b"one, "),
        frame(0, b""),
        frame(0x21, b"grease"),
        frame(0, b"two"),
    ]
    .concat();
    let answer = ask(&connection, &request).await;
    assert!(answer.contains("one, two"), "{answer:?}");
}

#[tokio::test]
async fn a_body_of_another_length_than_was_said_is_refused() {
    let fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    // content-length has number 4 in the static table.
    let fields = [POST_ECHO, b"\x54\x019"].concat();
    for body in ["12345678", "1234567890"] {
        let request = [headers(&fields), frame(0, body.as_bytes())].concat();
        let answer = ask(&connection, &request).await;
        assert!(!answer.contains(body), "{answer:?}");
    }
    let request = [headers(&fields), frame(0, b"123456789")].concat();
    assert!(ask(&connection, &request).await.contains("123456789"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_was_sent() {
    let fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    let (mut send, recv) = connection.open_bi().await.unwrap();
    let start = [
        headers(POST_ECHO),
        b"\x00\xc0\x00\x00\x01\x00\x00\x00\x00".to_vec(),
    ]
    .concat();
    send.write_all(&start).await.unwrap();
    let sending = async {
        let mut sent = 0;
        while send.write_all(&[b'x'; 1024]).await.is_ok() {
            sent += 1024;
        }
        sent
    };
    let sent = timeout(DEADLINE, sending).await.unwrap();
    let most = BODY_BYTES_MAX + STREAM_WINDOW_BYTES as usize * 3;
    assert!(sent <= most, "{sent} bytes were taken");
    let answer = outcome(recv).await;
    assert!(answer.is_answer(), "{answer:?}");
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    // A little too large, decoded: answered. The name is "a", the value all of it.
    let value = vec![b'v'; 20_000];
    let length = [0x7f_u8, 0xa1, 0x9b, 0x01];
    let fields = [GET_WHERE, &[0x21, b'a'], &length, &value].concat();
    let answer = ask(&connection, &headers(&fields)).await;
    assert!(
        answer.is_answer() && !answer.contains("localhost"),
        "{answer:?}"
    );
    // Far too large: not even read.
    let answer = ask(&connection, b"\x01\xff\xff\xff\xff\xff\xff\xff\xff").await;
    assert!(matches!(answer, Outcome::Reset(0x107)), "{answer:?}");
    assert!(ask(&connection, &headers(GET_WHERE)).await.is_answer());
}

#[tokio::test]
async fn a_header_that_never_ends_is_given_up_and_holds_up_nobody() {
    let fixture = Fixture::start(Bounds {
        header: Duration::from_millis(300),
        ..Bounds::default()
    });
    let connection = fixture.connect().await;
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&headers(GET_WHERE)[..9]).await.unwrap();
    assert!(ask(&connection, &headers(GET_WHERE)).await.is_answer());
    let given_up = outcome(recv).await;
    assert!(matches!(given_up, Outcome::Reset(0x10d)), "{given_up:?}");
    assert!(ask(&connection, &headers(GET_WHERE)).await.is_answer());
}

#[tokio::test]
async fn requests_that_are_never_finished_are_bounded_and_others_are_served() {
    let fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    let mut open = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&headers(POST_ECHO)).await.unwrap();
        open.push((send, recv));
    }
    let one_more = timeout(Duration::from_millis(200), connection.open_bi()).await;
    assert!(one_more.is_err(), "a stream above the limit was granted");
    fixture.still_answers().await;
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_harms_no_other() {
    let fixture = Fixture::start(Bounds {
        without_request_max: 20,
        ..Bounds::default()
    });
    let other = fixture.connect().await;
    let connection = fixture.connect().await;
    let flood = async {
        loop {
            let Ok((mut send, _recv)) = connection.open_bi().await else {
                break;
            };
            if send.write_all(b"\x01\x20").await.is_err() {
                break;
            }
            let _ = send.reset(VarInt::from_u32(0x10c));
        }
        code_of(&connection.closed().await)
    };
    assert_eq!(timeout(DEADLINE, flood).await.unwrap(), 0x107);
    assert!(ask(&other, &headers(GET_WHERE)).await.is_answer());
    fixture.still_answers().await;
}

#[tokio::test]
async fn nonsense_ends_its_own_connection_only() {
    let fixture = Fixture::start(Bounds::default());
    for (nonsense, code) in [
        (frame(1, b"\xff\xff\xff\xff\xff"), 0x200),
        (frame(0, b"data first"), 0x105),
        (frame(4, b""), 0x105),
    ] {
        let connection = fixture.connect().await;
        let answer = ask(&connection, &nonsense).await;
        assert!(
            matches!(answer, Outcome::Closed(c) if c == code),
            "{answer:?}"
        );
    }
    fixture.still_answers().await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_ended_although_it_is_kept_alive() {
    let fixture = Fixture::start(Bounds {
        unused: Duration::from_millis(200),
        ..Bounds::default()
    });
    let connection = fixture.connect().await;
    let lost = timeout(DEADLINE, connection.closed()).await.unwrap();
    assert_eq!(code_of(&lost), 0x100);
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_does_not_keep_its_place() {
    let fixture = Fixture::start(Bounds {
        handshake: Duration::from_secs(1),
        half_open_max: 1,
        ..Bounds::default()
    });
    // The first packet of a client that is never heard of again.
    let relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    relay.set_nonblocking(true).unwrap();
    let relay = tokio::net::UdpSocket::from_std(relay).unwrap();
    let silent = fixture
        .client
        .connect(relay.local_addr().unwrap(), "localhost");
    let mut packet = [0; 2048];
    let length = relay.recv(&mut packet).await.unwrap();
    relay
        .send_to(&packet[..length], fixture.address)
        .await
        .unwrap();
    // Once it is answered it has the only place.
    relay.recv(&mut packet).await.unwrap();
    drop(silent);
    let connecting = || {
        fixture
            .client
            .connect(fixture.address, "localhost")
            .unwrap()
    };
    assert!(connecting().await.is_err(), "there was a second place");
    let again = async { while connecting().await.is_err() {} };
    timeout(DEADLINE, again).await.unwrap();
    fixture.still_answers().await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_server_stops() {
    let fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    let (mut send, recv) = connection.open_bi().await.unwrap();
    let request = [headers(POST_ECHO), frame(0, b"late")].concat();
    send.write_all(&request[..request.len() - 1]).await.unwrap();
    // Behind it is a whole one, so that the server surely has the first.
    assert!(ask(&connection, &headers(GET_WHERE)).await.is_answer());
    fixture.stop.cancel();
    send.write_all(b"e").await.unwrap();
    send.finish().unwrap();
    let answer = outcome(recv).await;
    assert!(answer.contains("late"), "{answer:?}");
    connection.close(VarInt::from_u32(0x100), b"");
    timeout(DEADLINE, fixture.server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_stop_the_server_from_stopping() {
    let mut fixture = Fixture::start(Bounds::default());
    let connection = fixture.connect().await;
    let forever = b"\x00\x00\xd1\xd7\x51\x08/forever\x50\x09localhost";
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&headers(forever)).await.unwrap();
    assert!(ask(&connection, &headers(GET_WHERE)).await.is_answer());
    // It is cut off with the task that serves.
    fixture.server.abort();
    assert!((&mut fixture.server).await.unwrap_err().is_cancelled());
    let lost = timeout(DEADLINE, connection.closed()).await.unwrap();
    assert_eq!(code_of(&lost), 0x100);
}

#[tokio::test]
async fn answers_of_the_tcp_entrance_name_the_port_for_http3() {
    let request = http::Request::get("/nowhere").body(axum::body::Body::empty());
    let answer = announce_http3(router(), 8444);
    let answer = tower::ServiceExt::oneshot(answer, request.unwrap()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.headers()[header::ALT_SVC], "h3=\":8444\"; ma=86400");
    assert!(to_bytes(answer.into_body(), 1 << 20).await.is_ok());
}
