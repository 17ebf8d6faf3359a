//! Sessions without the SDK: whoever holds one says and sends what it likes.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use dt_client::{
    Dial as _, Endpoint, MeetingAccess, RacingDial, RacingSession, SessionKind, Transport,
};
use dt_frame::{
    AudioLevel, DatagramHeader, Extension, Flags, FourCc, FrameHeader, FrameType, StreamHeader,
};
use dt_ids::{Encoding, StreamId, UserId};
use dt_transport::{RecvStream as _, SendStream, Session};
use dt_wire::{
    framing::{self, Decoder, Framed},
    v1::{
        ClientMessage, JoinRequest, JoinResponse, MediaClientMessage, MediaHello,
        MediaServerMessage, ServerMessage, client_message, media_client_message,
        media_server_message, server_message,
    },
};

use crate::playing::soon;

type Send = <RacingSession as Session>::Send;
type Recv = <RacingSession as Session>::Recv;

pub(crate) struct Raw {
    pub(crate) session: RacingSession,
    control: Option<(Send, Recv, Decoder)>,
}

impl Raw {
    pub(crate) async fn signaling(access: &MeetingAccess, transport: Transport) -> Result<Self> {
        let endpoint = &access.meeting_controller;
        Self::dial(access, endpoint, SessionKind::Signaling, transport).await
    }

    pub(crate) async fn media(access: &MeetingAccess, transport: Transport) -> Result<Self> {
        let handler = access.media_handlers.first().context("no handler")?;
        Self::dial(access, &handler.endpoint, SessionKind::Media, transport).await
    }

    async fn dial(
        access: &MeetingAccess,
        endpoint: &Endpoint,
        kind: SessionKind,
        transport: Transport,
    ) -> Result<Self> {
        let dial = RacingDial::new(access.network.clone(), transport);
        let session = soon("a session", dial.dial(endpoint, kind)).await??;
        Ok(Self {
            session,
            control: None,
        })
    }

    async fn control(&mut self) -> Result<&mut (Send, Recv, Decoder)> {
        if self.control.is_none() {
            let (send, recv) = soon("a stream", self.session.open_bi()).await??;
            self.control = Some((send, recv, Decoder::default()));
        }
        self.control.as_mut().context("no control stream")
    }

    pub(crate) async fn say(&mut self, bytes: Bytes) -> Result<()> {
        let (send, ..) = self.control().await?;
        soon("writing", send.write(bytes)).await??;
        Ok(())
    }

    pub(crate) async fn next(&mut self) -> Result<Framed> {
        let (_, recv, decoder) = self.control().await?;
        soon("a message", async {
            loop {
                if let Some(framed) = decoder.next()? {
                    return Ok(framed);
                }
                decoder.push(&recv.read_chunk(1 << 16).await?.context("closed")?);
            }
        })
        .await?
    }

    /// Asks for a seat; the server's error when it says no.
    pub(crate) async fn join(
        &mut self,
        meeting_id: String,
        join_token: &str,
    ) -> Result<JoinResponse> {
        let request = JoinRequest {
            meeting_id,
            join_token: join_token.to_owned(),
            participant_name: "Mallory".to_owned(),
            ..JoinRequest::default()
        };
        let body = client_message::Body::JoinRequest(request);
        self.say(framing::encode(&ClientMessage::new(1, body)))
            .await?;
        loop {
            let Framed::Message(bytes) = self.next().await? else {
                continue;
            };
            match ServerMessage::read(&bytes)?.1 {
                server_message::Body::JoinResponse(response) => return Ok(response),
                server_message::Body::Error(error) => bail!("{:?}", error.code()),
                _ => {}
            }
        }
    }

    /// Says hello with a connection token; the server's error when it says no.
    pub(crate) async fn hello(&mut self, connection_token: String) -> Result<()> {
        let body = media_client_message::Body::Hello(MediaHello { connection_token });
        self.say(framing::encode(&MediaClientMessage::new(1, body)))
            .await?;
        loop {
            let Framed::Message(bytes) = self.next().await? else {
                continue;
            };
            match MediaServerMessage::read(&bytes)?.1 {
                media_server_message::Body::Welcome(_) => return Ok(()),
                media_server_message::Body::Error(error) => bail!("{:?}", error.code()),
                _ => {}
            }
        }
    }

    /// Sends a datagram as of this user and this number of a stream.
    pub(crate) async fn datagram_of(&self, user: u64, stream: u32) -> Result<()> {
        let payload = b"Mallory|...";
        let level = AudioLevel {
            voice: true,
            below_overload_db: 1,
        };
        let header = DatagramHeader {
            frame_type: FrameType::Audio,
            user_id: UserId(user),
            stream,
            timestamp_us: dt_client::now_us(),
            sequence: 1,
            payload_bytes: u32::try_from(payload.len())?,
            flags: Flags::WHOLE,
            extension: Extension::audio(level, 0),
        };
        let datagram = [&header.write()[..], payload].concat();
        self.session.send_datagram(datagram.into())?;
        Ok(())
    }

    /// Writes a group of one picture as of this stream and encoding.
    pub(crate) async fn group(
        &self,
        stream: &mut impl SendStream,
        id: [u8; 16],
        encoding: u32,
    ) -> Result<()> {
        let payload = Bytes::from_static(b"Mallory|...");
        let encoding = Encoding::try_from(encoding)?;
        let opening = StreamHeader {
            stream_id: StreamId::from_bytes(id),
            codec: FourCc::Vp8,
            encoding,
            screen: false,
            group: 9,
        };
        let header = FrameHeader {
            frame_type: FrameType::VideoKey,
            stream_id: StreamId::from_bytes(id),
            timestamp_us: dt_client::now_us(),
            sequence: 1,
            payload_bytes: u32::try_from(payload.len())?,
            flags: Flags::WHOLE,
            extension: Extension::video(encoding, 0, 0, 9),
        };
        let mut chunks = [
            Bytes::copy_from_slice(&opening.write()),
            Bytes::copy_from_slice(&header.write()),
            payload,
        ];
        // A stream that is refused is stopped; that is the server's to do.
        let _ = soon("writing", stream.write_chunks(&mut chunks)).await?;
        Ok(())
    }
}
