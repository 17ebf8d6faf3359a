//! Sessions over real sockets, and media that is well-formed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file takes what it needs

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use dt_frame::{Extension, Flags, FourCc, FrameHeader, FrameType, StreamHeader};
use dt_ids::{Encoding, StreamId};
use dt_transport::{Carrier, RecvStream, SendStream, Session, SessionInfo};
use dt_websocket::{Kind, Limits, WebSocketSession, keep_queue_short, tungstenite};
use dt_wire::framing::{Decoder, Framed};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async_with_config, client_async_with_config};

pub const DEADLINE: Duration = Duration::from_secs(10);

/// What must happen soon.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

fn info() -> SessionInfo {
    SessionInfo {
        carrier: Carrier::WebSocket,
        path: "/media/0".into(),
        ..SessionInfo::default()
    }
}

/// A listener whose connections keep their queues short.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    keep_queue_short(&listener).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub async fn serve(listener: &TcpListener, kind: Kind, limits: Limits) -> WebSocketSession {
    let (tcp, _) = listener.accept().await.unwrap();
    let config = Some(tungstenite::config(kind));
    let socket = accept_async_with_config(tcp, config).await.unwrap();
    let (reader, writer) = tungstenite::split(socket);
    let (session, work) = WebSocketSession::new(kind, limits, info(), reader, writer);
    tokio::spawn(work);
    session
}

pub async fn connect(address: SocketAddr, kind: Kind, limits: Limits) -> WebSocketSession {
    let tcp = TcpStream::connect(address).await.unwrap();
    let config = Some(tungstenite::config(kind));
    let url = format!("ws://{address}/media/0");
    let (socket, _) = client_async_with_config(url, tcp, config).await.unwrap();
    let (reader, writer) = tungstenite::split(socket);
    let (session, work) = WebSocketSession::new(kind, limits, info(), reader, writer);
    tokio::spawn(work);
    session
}

/// Client and server.
pub async fn pair_with(kind: Kind, limits: Limits) -> (WebSocketSession, WebSocketSession) {
    let (listener, address) = listener().await;
    soon(async {
        tokio::join!(
            connect(address, kind, limits.clone()),
            serve(&listener, kind, limits.clone())
        )
    })
    .await
}

pub async fn pair(kind: Kind) -> (WebSocketSession, WebSocketSession) {
    pair_with(kind, Limits::default()).await
}

pub fn stream_id(number: u8) -> StreamId {
    StreamId::from_bytes([number; 16])
}

pub fn header(stream: u8, group: u32) -> Bytes {
    let header = StreamHeader {
        stream_id: stream_id(stream),
        codec: FourCc::Vp8,
        encoding: Encoding::MIN,
        screen: false,
        group,
    };
    Bytes::copy_from_slice(&header.write())
}

#[allow(clippy::cast_possible_truncation)] // small numbers
pub fn frame(stream: u8, group: u32, sequence: u64, payload: &[u8]) -> Bytes {
    let header = FrameHeader {
        frame_type: FrameType::VideoDelta,
        stream_id: stream_id(stream),
        timestamp_us: sequence,
        sequence,
        payload_bytes: payload.len() as u32,
        flags: Flags::WHOLE,
        extension: Extension::video(Encoding::MIN, 0, 0, group as u16),
    };
    [&header.write()[..], payload].concat().into()
}

/// Reads so many bytes.
pub async fn read<R: RecvStream>(stream: &mut R, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        let left = bytes - all.len();
        let chunk = soon(stream.read_chunk(left)).await.unwrap();
        all.extend_from_slice(&chunk.expect("more"));
    }
    all
}

/// Reads one message of a control stream.
pub async fn read_message<R: RecvStream>(stream: &mut R, decoder: &mut Decoder) -> Framed {
    loop {
        if let Some(framed) = decoder.next().unwrap() {
            return framed;
        }
        let chunk = soon(stream.read_chunk(1000)).await.unwrap();
        decoder.push(&chunk.expect("more"));
    }
}

/// The control stream of both, opened by its first message.
pub async fn control<S: Session>(
    client: &S,
    server: &S,
) -> ((S::Send, S::Recv), (S::Send, S::Recv)) {
    let (mut send, recv) = soon(client.open_bi()).await.unwrap();
    let hello = dt_wire::framing::encode_bytes(b"\x08hello");
    soon(send.write(hello)).await.unwrap();
    let (back, mut there) = soon(server.accept_bi()).await.unwrap();
    let heard = read_message(&mut there, &mut Decoder::default()).await;
    assert_eq!(heard, Framed::Message(Bytes::from_static(b"\x08hello")));
    ((send, recv), (back, there))
}
