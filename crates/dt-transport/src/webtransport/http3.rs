//! The little of HTTP/3 that a session needs: the exchange of SETTINGS, and the
//! extended CONNECT (RFC 9220) with `:protocol = webtransport`.
//!
//! A connection carries one session and nothing else. Formats are those of
//! `web-transport-proto`, which also bounds them: 64 KiB of SETTINGS, 16 KiB of
//! request headers.

use http::StatusCode;
use tokio::io::AsyncReadExt;
use web_transport_proto::{
    ConnectError, ConnectRequest, ConnectResponse, Settings, SettingsError, StreamUni, VarInt,
};

/// HTTP/3 application error codes (RFC 9114 section 8.1).
pub(super) const H3_NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x100);
pub(super) const H3_STREAM_CREATION_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x103);
pub(super) const H3_REQUEST_REJECTED: quinn::VarInt = quinn::VarInt::from_u32(0x10b);
pub(super) const H3_REQUEST_INCOMPLETE: quinn::VarInt = quinn::VarInt::from_u32(0x10d);
pub(super) const H3_MESSAGE_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x10e);
/// A stream of a session that is not there
/// (`WEBTRANSPORT_BUFFERED_STREAM_REJECTED`).
pub(super) const STREAM_REJECTED: quinn::VarInt = quinn::VarInt::from_u32(0x3994_bd84);

/// One-way streams before the peer's SETTINGS: those of QPACK may overtake them.
const STREAMS_BEFORE_SETTINGS_MAX: usize = 3;

/// Why no session came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the connection was lost")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the exchange of SETTINGS failed")]
    Settings(#[from] SettingsError),
    #[error("the peer does not offer WebTransport")]
    Unsupported,
    #[error("the CONNECT request or its answer is not valid")]
    Connect(#[from] ConnectError),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the sub-protocol {0:?} was not offered")]
    Protocol(String),
}

/// Streams that an HTTP/3 connection must keep open. Nothing is read from them
/// any more, so what the peer may write there is bounded by its flow control.
#[derive(Debug)]
pub(super) struct Control {
    _ours: quinn::SendStream,
    _theirs: Vec<quinn::RecvStream>,
}

impl Control {
    /// Exchanges SETTINGS; both sides do the same.
    pub(super) async fn exchange(connection: &quinn::Connection) -> Result<Self, HandshakeError> {
        let (ours, theirs) = tokio::try_join!(send_settings(connection), settings_of(connection))?;
        Ok(Self {
            _ours: ours,
            _theirs: theirs,
        })
    }
}

async fn send_settings(
    connection: &quinn::Connection,
) -> Result<quinn::SendStream, HandshakeError> {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut stream = connection.open_uni().await?;
    settings.write(&mut stream).await?;
    Ok(stream)
}

async fn settings_of(
    connection: &quinn::Connection,
) -> Result<Vec<quinn::RecvStream>, HandshakeError> {
    let mut kept = Vec::new();
    while kept.len() < STREAMS_BEFORE_SETTINGS_MAX {
        let mut stream = connection.accept_uni().await?;
        let kind = VarInt::read(&mut stream).await;
        let kind = StreamUni(kind.map_err(|_| SettingsError::UnexpectedEnd)?);
        match kind {
            StreamUni::CONTROL => {
                let mut whole = AsyncReadExt::chain(&[0u8][..], &mut stream);
                let settings = Settings::read(&mut whole).await?;
                if settings.supports_webtransport() == 0 {
                    return Err(HandshakeError::Unsupported);
                }
                kept.push(stream);
                return Ok(kept);
            }
            StreamUni::QPACK_ENCODER | StreamUni::QPACK_DECODER => kept.push(stream),
            other => return Err(SettingsError::UnexpectedStreamType(other).into()),
        }
    }
    Err(SettingsError::UnexpectedStreamType(StreamUni::QPACK_ENCODER).into())
}

/// The stream of the CONNECT request, which lives as long as the session.
#[derive(Debug)]
pub(super) struct RequestStream {
    pub(super) send: quinn::SendStream,
    pub(super) recv: quinn::RecvStream,
}

/// Asks for a session. The answer's sub-protocol is one of those offered.
pub(super) async fn ask(
    connection: &quinn::Connection,
    request: &ConnectRequest,
) -> Result<(RequestStream, Option<String>), HandshakeError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    request.write(&mut send).await?;
    let answer = match ConnectResponse::read(&mut recv).await {
        Ok(answer) if answer.status == StatusCode::OK => answer,
        Ok(ConnectResponse { status, .. })
        | Err(ConnectError::WrongStatus(Some(status)) | ConnectError::ErrorStatus(status)) => {
            return Err(HandshakeError::Status(status));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(protocol) = &answer.protocol
        && !request.protocols.contains(protocol)
    {
        return Err(HandshakeError::Protocol(protocol.clone()));
    }
    Ok((RequestStream { send, recv }, answer.protocol))
}

/// Reads what a client asks for.
pub(super) async fn asked(
    connection: &quinn::Connection,
) -> Result<(RequestStream, ConnectRequest), HandshakeError> {
    let (send, mut recv) = connection.accept_bi().await?;
    let request = ConnectRequest::read(&mut recv).await?;
    Ok((RequestStream { send, recv }, request))
}

/// Answers it.
pub(super) async fn answer(
    stream: &mut RequestStream,
    status: StatusCode,
    protocol: Option<&str>,
) -> Result<(), HandshakeError> {
    let mut answer = ConnectResponse::new(status);
    if let Some(protocol) = protocol {
        answer = answer.with_protocol(protocol);
    }
    Ok(answer.write(&mut stream.send).await?)
}
