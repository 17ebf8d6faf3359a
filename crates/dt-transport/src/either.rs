//! One of two kinds of sessions, as a session: for whoever is to work over
//! whichever carrier came first.

use std::sync::Arc;

use bytes::Bytes;

use crate::{PathStats, RecvStream, SendStream, Session, SessionError, SessionInfo, StreamError};

/// One or the other. Of two sessions it is a [`Session`]; of their streams a
/// [`SendStream`] and a [`RecvStream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The one.
    Left(A),
    /// The other.
    Right(B),
}

/// The same expression on whichever it is.
macro_rules! of {
    ($either:expr, $inner:ident => $value:expr) => {
        match $either {
            Either::Left($inner) => $value,
            Either::Right($inner) => $value,
        }
    };
}

impl<A: Session, B: Session> Session for Either<A, B> {
    type Send = Either<A::Send, B::Send>;
    type Recv = Either<A::Recv, B::Recv>;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        Ok(match self {
            Self::Left(session) => {
                let (send, recv) = session.open_bi().await?;
                (Either::Left(send), Either::Left(recv))
            }
            Self::Right(session) => {
                let (send, recv) = session.open_bi().await?;
                (Either::Right(send), Either::Right(recv))
            }
        })
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        Ok(match self {
            Self::Left(session) => {
                let (send, recv) = session.accept_bi().await?;
                (Either::Left(send), Either::Left(recv))
            }
            Self::Right(session) => {
                let (send, recv) = session.accept_bi().await?;
                (Either::Right(send), Either::Right(recv))
            }
        })
    }

    async fn open_uni(&self) -> Result<Self::Send, SessionError> {
        Ok(match self {
            Self::Left(session) => Either::Left(session.open_uni().await?),
            Self::Right(session) => Either::Right(session.open_uni().await?),
        })
    }

    async fn accept_uni(&self) -> Result<Self::Recv, SessionError> {
        Ok(match self {
            Self::Left(session) => Either::Left(session.accept_uni().await?),
            Self::Right(session) => Either::Right(session.accept_uni().await?),
        })
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        of!(self, session => session.send_datagram(datagram))
    }

    fn datagram_prefix(&self) -> Bytes {
        of!(self, session => session.datagram_prefix())
    }

    fn send_prefixed_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        of!(self, session => session.send_prefixed_datagram(datagram))
    }

    fn queued_datagram_bytes(&self) -> usize {
        of!(self, session => session.queued_datagram_bytes())
    }

    async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        of!(self, session => session.recv_datagram().await)
    }

    fn max_datagram_bytes(&self) -> usize {
        of!(self, session => session.max_datagram_bytes())
    }

    fn path_stats(&self) -> PathStats {
        of!(self, session => session.path_stats())
    }

    fn info(&self) -> Arc<SessionInfo> {
        of!(self, session => session.info())
    }

    fn close(&self, code: u32, reason: &str) {
        of!(self, session => session.close(code, reason));
    }

    async fn closed(&self) -> SessionError {
        of!(self, session => session.closed().await)
    }
}

impl<A: SendStream, B: SendStream> SendStream for Either<A, B> {
    async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        of!(self, stream => stream.write_chunks(chunks).await)
    }

    fn try_write_chunks(&mut self, chunks: &mut [Bytes]) -> bool {
        of!(self, stream => stream.try_write_chunks(chunks))
    }

    fn set_priority(&mut self, priority: i32) {
        of!(self, stream => stream.set_priority(priority));
    }

    fn finish(&mut self) -> Result<(), StreamError> {
        of!(self, stream => stream.finish())
    }

    fn reset(&mut self, code: u32) {
        of!(self, stream => stream.reset(code));
    }
}

impl<A: RecvStream, B: RecvStream> RecvStream for Either<A, B> {
    async fn read_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, StreamError> {
        of!(self, stream => stream.read_chunk(max_bytes).await)
    }

    fn stop(&mut self, code: u32) {
        of!(self, stream => stream.stop(code));
    }
}
