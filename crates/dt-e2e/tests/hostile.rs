//! What should never be sent is sent on every entrance, while a meeting goes
//! on: the sender gets an error or a closed connection, and nobody else
//! notices.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use dt_e2e::{Bot, Server, http};
use dt_transport::{
    RecvStream, SendStream, Session, SessionError,
    webtransport::{ConnectError, Connector, ConnectorConfig, Trust, WebTransportSession},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use url::Url;

/// The meeting that must not notice.
const MEETING: Duration = Duration::from_secs(8);
/// Within this the server has to answer or to close.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Random input of these tests; printed by each, so that a failure can be
/// replayed.
const SEED: u64 = 0x0dd_ba11;
/// More than any limit on a body that the API states.
const HUGE_BODY_BYTES: usize = 8 << 20;

/// Two bots meet while `attack` runs, and must not lose a frame.
fn while_a_meeting_goes_on(attack: impl FnOnce(&Server) -> Result<()>) -> Result<()> {
    println!("seed {SEED:#x}");
    let server = Server::start(&[])?;
    let link = server.meeting_link()?;
    let publish = ["--publish", "audio,video"];
    let mut first = Bot::join(&link, "First", MEETING, &publish)?;
    let mut second = Bot::join(&link, "Second", MEETING, &publish)?;
    first.event("joined")?;
    second.event("joined")?;
    let before = server.usage()?.resident_mib;

    attack(&server)?;

    for bot in [first, second] {
        let received = bot.summary()?["received"].clone();
        assert!(
            received["frames"].as_u64().unwrap_or_default() > 0,
            "{received}"
        );
        for counter in ["lost_frames", "corrupt", "decrypt_failures"] {
            assert_eq!(received[counter], Value::from(0), "{received}");
        }
    }
    assert!(server.healthy()?);
    let after = server.usage()?.resident_mib;
    println!("server: {before:.1} MiB resident before, {after:.1} MiB after");
    Ok(())
}

#[test]
fn bad_http_requests_get_errors_of_the_api_and_harm_nobody() -> Result<()> {
    while_a_meeting_goes_on(|server| {
        let to = server.http_address()?;
        let post = |body: &[u8]| {
            http::Request::new("POST", "/api/v1/meetings")
                .header("Content-Type", "application/json")
                .body(body.to_vec())
                .send(to)
        };
        let deep = "[".repeat(10_000);
        let wrong: [&[u8]; 6] = [
            b"{",
            b"\xff\xfe",
            b"[]",
            b"{\"max_participants\":-1}",
            deep.as_bytes(),
            b"\"\"",
        ];
        for body in wrong {
            let answer = post(body)?;
            assert_eq!(answer.status, 400, "{answer:?}");
            assert_eq!(answer.error_code()?, "INVALID_REQUEST");
        }
        let answer = post(&vec![b' '; HUGE_BODY_BYTES])?;
        assert!(matches!(answer.status, 400 | 413), "{answer:?}");

        let nowhere = server.api("GET", "/meetings/%00%ff/../..", None, None)?;
        assert!(matches!(nowhere.status, 400 | 404), "{nowhere:?}");
        let unknown = server.api("GET", "/meetings/abcde-fghjk-mnpqr", Some("a.b.c"), None)?;
        assert!(matches!(unknown.status, 401 | 404), "{unknown:?}");
        unknown.error_code()?;
        let forged = server.api("GET", "/meetings", Some(&"x".repeat(5000)), None)?;
        assert_eq!(forged.error_code()?, "UNAUTHORIZED", "{forged:?}");
        let too_long = json!({"display_name": "n".repeat(100_000)});
        let named = server.api("POST", "/meetings", None, Some(&too_long))?;
        assert_eq!(named.error_code()?, "INVALID_REQUEST", "{named:?}");
        Ok(())
    })
}

#[test]
fn bytes_that_are_not_http_are_refused_and_harm_nobody() -> Result<()> {
    while_a_meeting_goes_on(|server| {
        let mut random = StdRng::seed_from_u64(SEED);
        for to in [server.http_address()?, server.public_address()?] {
            for _ in 0..50 {
                let mut bytes = vec![0; random.random_range(1..4096)];
                random.fill_bytes(&mut bytes);
                let mut stream = TcpStream::connect(to)?;
                stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
                // The server may have closed already; that is an answer too.
                stream.write_all(&bytes).ok();
            }
        }
        // Headers that never end are cut off at a limit, not collected.
        let mut endless = b"GET / HTTP/1.1\r\n".to_vec();
        endless.extend_from_slice(&b"X-More: and more\r\n".repeat(100_000));
        if let Ok(answer) = http::send_raw(server.http_address()?, &endless) {
            assert!(
                !answer.starts_with(b"HTTP/1.1 200"),
                "endless headers were accepted"
            );
        }
        Ok(())
    })
}

#[test]
fn random_datagrams_to_the_quic_port_harm_nobody() -> Result<()> {
    while_a_meeting_goes_on(|server| {
        let to = server.public_address()?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let mut random = StdRng::seed_from_u64(SEED);
        for number in 0..5000 {
            let mut packet = vec![0; random.random_range(1..1500)];
            random.fill_bytes(&mut packet);
            // A part of them begin as QUIC version 1 Initial packets do.
            if number % 3 == 0 && packet.len() > 6 {
                packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            }
            socket.send_to(&packet, to)?;
        }
        Ok(())
    })
}

/// A WebTransport session of this server.
async fn session(
    server: &Server,
    path: &str,
    origin: Option<&str>,
) -> Result<Result<WebTransportSession, ConnectError>> {
    let meeting = server.create_meeting(&json!({}))?;
    let hash = meeting
        .pointer("/meeting_controller/certificate_hashes/0")
        .and_then(Value::as_str)
        .context("no certificate hash")?;
    let connector = Connector::new(ConnectorConfig {
        trust: Trust::CertificateHashes(vec![decode_base64(hash)?]),
        origin: origin.map(str::to_owned),
        ..ConnectorConfig::default()
    });
    let address: SocketAddr = server.public_address()?;
    let url = Url::parse(&format!("https://{address}{path}"))?;
    Ok(connector.connect(&url).await)
}

/// The 32 bytes of a hash in standard base64.
fn decode_base64(text: &str) -> Result<[u8; 32]> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET
            .iter()
            .position(|known| *known == digit)
            .context("not base64")?;
        bits = bits << 6 | u32::try_from(value)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff)?);
        }
    }
    bytes
        .try_into()
        .map_err(|_| anyhow::anyhow!("not 32 bytes"))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Sends bytes on a new stream and waits until the server ends the session.
async fn closes_after(server: &Server, path: &str, bytes: &[u8]) -> Result<SessionError> {
    let session = session(server, path, None).await??;
    let (mut send, mut recv) = session.open_bi().await?;
    send.write(Bytes::copy_from_slice(bytes)).await.ok();
    // Whatever it says before it closes is read, so that it can say it.
    let closed = tokio::time::timeout(ANSWER_DEADLINE, async {
        while let Ok(Some(_)) = recv.read_chunk(64 * 1024).await {}
        session.closed().await
    });
    closed
        .await
        .with_context(|| format!("{path} stayed open after {bytes:.40?}"))
}

#[test]
fn control_streams_with_nonsense_are_closed_and_harm_nobody() -> Result<()> {
    let runtime = runtime()?;
    while_a_meeting_goes_on(|server| {
        runtime.block_on(async {
            let mut random = StdRng::seed_from_u64(SEED);
            let mut noise = vec![0; 64 * 1024];
            random.fill_bytes(&mut noise);
            let inputs: [Vec<u8>; 4] = [
                // A length beyond the limit of 1 MiB.
                vec![0xff, 0xff, 0xff, 0xff, 1, 2, 3],
                // A message that is no protobuf.
                vec![0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
                // A message of no body.
                vec![0, 0, 0, 0],
                noise,
            ];
            for path in ["/mc", "/mh/0"] {
                for input in &inputs {
                    let end = closes_after(server, path, input).await?;
                    assert!(
                        matches!(end, SessionError::ClosedByPeer { code, .. } if code != 0),
                        "{path}: {end}"
                    );
                }
            }
            Ok(())
        })
    })
}

#[test]
fn a_first_message_that_never_ends_is_given_up() -> Result<()> {
    let runtime = runtime()?;
    while_a_meeting_goes_on(|server| {
        runtime.block_on(async {
            for path in ["/mc", "/mh/0"] {
                // The length of a message, and not a byte of it.
                closes_after(server, path, &[0, 0, 1, 0]).await?;
            }
            Ok(())
        })
    })
}

#[test]
fn media_without_a_welcome_reaches_nobody() -> Result<()> {
    let runtime = runtime()?;
    while_a_meeting_goes_on(|server| {
        runtime.block_on(async {
            let session = session(server, "/mh/0", None).await??;
            let mut random = StdRng::seed_from_u64(SEED);
            for number in 0..2000 {
                let mut datagram = vec![0; random.random_range(1..1000)];
                random.fill_bytes(&mut datagram);
                // Media, RTT, ping and nonsense in turn.
                datagram[0] = [0x02, 0x03, b'p', datagram[0]][number % 4];
                if session.send_datagram(Bytes::from(datagram)).is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            for _ in 0..20 {
                let Ok(mut stream) = session.open_uni().await else {
                    break;
                };
                let mut bytes = vec![0; 4096];
                random.fill_bytes(&mut bytes);
                bytes[..5].copy_from_slice(b"DART\x01");
                stream.write(Bytes::from(bytes)).await.ok();
            }
            session.close(0, "");
            Ok(())
        })
    })
}

#[test]
fn a_page_of_another_origin_is_refused() -> Result<()> {
    let server = Server::start(&[])?;
    runtime()?.block_on(async {
        for origin in ["https://evil.example", "null"] {
            let refused = session(&server, "/mc", Some(origin)).await?;
            assert!(refused.is_err(), "a session from {origin} was accepted");
        }
        let page = server.ready().web_url.trim_end_matches('/').to_owned();
        session(&server, "/mc", Some(&page)).await??;
        session(&server, "/mc", None).await??;
        Ok(())
    })
}

#[test]
fn many_idle_connections_keep_nobody_out() -> Result<()> {
    let server = Server::start(&[])?;
    let to = server.http_address()?;
    let idle: Vec<_> = (0..500)
        .map(|_| TcpStream::connect(to))
        .collect::<std::io::Result<Vec<_>>>()?;
    assert!(server.healthy()?);
    drop(idle);
    Ok(())
}
