//! What a client may say when it asks for a session, what the server sees of it,
//! and what they agree on.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "support/link.rs"]
mod link;
#[path = "support/pair.rs"]
mod pair;

use std::time::Duration;

use bytes::Bytes;
use dt_transport::{
    RecvStream, SendStream, Session, connect,
    webtransport::{Congestion, ConnectError, Limits, RefuseError},
};
use link::{Link, LinkConfig, Way};
use pair::{Server, url_of};

#[tokio::test]
async fn a_request_s_headers_path_and_query_are_seen_by_the_server() {
    let server = Server::with(|_| {});
    let url = format!("{}rooms/7?lang=de", url_of(server.address()));
    let connecting = connect(&url)
        .certificate_hash(server.certificate.hash)
        .header("authorization", "Bearer 1234")
        .header("x-empty", "");
    let (client, ()) = tokio::join!(connecting.into_future(), async {
        let incoming = server.listener.accept().await.unwrap();
        assert_eq!(incoming.info().path, "/rooms/7");
        assert_eq!(incoming.query(), Some("lang=de"));
        assert_eq!(incoming.headers()["authorization"], "Bearer 1234");
        assert_eq!(incoming.headers()["x-empty"], "");
        assert!(incoming.protocols().is_empty());
        incoming.accept().await.unwrap();
    });
    assert_eq!(client.unwrap().info().protocol, None);
}

#[tokio::test]
async fn the_server_chooses_among_the_sub_protocols_that_the_client_offers() {
    let server = Server::with(|_| {});
    let begin = || {
        connect(url_of(server.address()))
            .certificate_hash(server.certificate.hash)
            .protocol("chat.2")
            .protocol("chat.1")
    };
    let (client, served) = tokio::join!(begin().into_future(), async {
        let incoming = server.listener.accept().await.unwrap();
        assert_eq!(incoming.protocols(), ["chat.2", "chat.1"]);
        incoming.accept_protocol("chat.1").await.unwrap()
    });
    assert_eq!(client.unwrap().info().protocol.as_deref(), Some("chat.1"));
    assert_eq!(served.info().protocol.as_deref(), Some("chat.1"));

    let (client, ()) = tokio::join!(begin().into_future(), async {
        let incoming = server.listener.accept().await.unwrap();
        let refused = incoming.accept_protocol("chat.3").await;
        assert!(matches!(refused, Err(RefuseError::NotOffered(name)) if name == "chat.3"));
    });
    assert!(matches!(client, Err(ConnectError::Failed(_))));
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anything_is() {
    let nobody = "https://127.0.0.1:1/";
    let error = |connecting: dt_transport::webtransport::Connect| async move {
        connecting.await.expect_err("an error").to_string()
    };
    assert_eq!(error(connect("nonsense")).await, "not a URL");
    assert_eq!(
        error(connect("wss://127.0.0.1:1/")).await,
        "WebTransport needs an https:// URL, not wss://"
    );
    for (name, value) in [
        ("bad name", "x"),
        ("x", "a\nb"),
        ("x", "größer"),
        ("host", "elsewhere"),
        ("wt-protocol", "\"x\""),
    ] {
        let said = error(connect(nobody).header(name, value)).await;
        assert_eq!(said, format!("the header {name} cannot be sent"));
    }
    let twice = connect(nobody).header("x", "1").header("x", "2");
    assert_eq!(error(twice).await, "the header x cannot be sent");
    let large = connect(nobody).header("x", &"y".repeat(9 << 10));
    let many = (0..65).fold(connect(nobody), |c, n| c.header(&format!("x-{n}"), ""));
    for connecting in [large, many] {
        let said = error(connecting).await;
        assert_eq!(said, "the headers are more than 64 or larger than 8 KiB");
    }
    for name in ["", "größer", "a b", &"x".repeat(65)] {
        let said = error(connect(nobody).protocol(name)).await;
        assert!(said.starts_with("sub-protocols are"), "{said}");
    }
}

#[tokio::test]
async fn a_path_s_figures_follow_what_it_carries() {
    let server = Server::with(|_| {});
    let (client, served) = server.session().await;
    let before = client.path_stats();
    let mut send = client.open_uni().await.unwrap();
    send.write(Bytes::from(vec![0; 1 << 19])).await.unwrap();
    send.finish().unwrap();
    let mut recv = served.accept_uni().await.unwrap();
    while recv.read_chunk(1 << 16).await.unwrap().is_some() {}
    let (sent, received) = (client.path_stats(), served.path_stats());
    assert!(sent.sent_bytes - before.sent_bytes >= 1 << 19);
    assert!(received.received_bytes >= 1 << 19);
    assert!(sent.sent_packets > 300 && received.received_packets > 300);
    assert!(sent.rtt > Duration::ZERO && sent.rtt_min <= sent.rtt);
    assert!(sent.mtu_bytes >= 1200 && sent.congestion_window_bytes > 0);
}

/// The middle one of a saturated session's round-trip times behind a narrow link
/// with a long queue, once it has found its rate.
async fn median_rtt(congestion: Congestion) -> Duration {
    let limits = Limits {
        congestion,
        ..Limits::default()
    };
    let server = Server::new(Limits::default());
    let way = Way {
        delay: Duration::from_millis(20),
        rate_bits_per_s: 10_000_000,
        queue_max: Duration::from_millis(500),
        ..Way::default()
    };
    let link = Link::start(server.address(), LinkConfig::both(way, 1));
    let (client, served) = server.session_at(link.address(), limits).await;
    let mut send = client.open_uni().await.unwrap();
    let writing = tokio::spawn(async move {
        let chunk = Bytes::from(vec![0; 64 << 10]);
        while send.write(chunk.clone()).await.is_ok() {}
    });
    let reading = tokio::spawn(async move {
        let mut recv = served.accept_uni().await.unwrap();
        while let Ok(Some(_)) = recv.read_chunk(1 << 16).await {}
    });
    let mut rtts = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while client.path_stats().sent_bytes < 8_000_000 {
        tick.tick().await;
        if client.path_stats().sent_bytes > 2_000_000 {
            rtts.push(client.path_stats().rtt);
        }
    }
    client.close(0, "");
    writing.abort();
    reading.abort();
    rtts.sort();
    rtts[rtts.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_delay_keeps_a_queue_short_that_cubic_fills() {
    let (low, cubic) = tokio::join!(
        median_rtt(Congestion::LowDelay),
        median_rtt(Congestion::Cubic)
    );
    assert!(low * 2 < cubic, "low-delay {low:?}, cubic {cubic:?}");
}
