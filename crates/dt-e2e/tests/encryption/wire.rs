//! Sessions whose datagrams are looked at on their way in, and replaced on their
//! way out: what a hostile sender or somebody on the wire can do.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use dt_client::{Dial, DialError, Endpoint, SessionKind, WebTransportDial};
use dt_transport::{
    PathStats, Session, SessionError, SessionInfo, webtransport::WebTransportSession,
};

/// Gives what goes out in place of a datagram.
pub(crate) type Replace = Box<dyn FnMut(Bytes) -> Vec<Bytes> + Send>;

/// What a test sees of the wire, and does to it.
#[derive(Default)]
pub(crate) struct Wire {
    received: Mutex<Vec<(Instant, Bytes)>>,
    replace: Mutex<Option<Replace>>,
}

impl Wire {
    pub(crate) fn received(&self) -> MutexGuard<'_, Vec<(Instant, Bytes)>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn replace(&self, replace: Option<Replace>) {
        *self.replace.lock().unwrap_or_else(PoisonError::into_inner) = replace;
    }
}

/// Opens sessions over such a wire.
pub(crate) struct WireDial(pub(crate) Arc<Wire>);

impl Dial for WireDial {
    type Session = WireSession;

    async fn dial(&self, endpoint: &Endpoint, kind: SessionKind) -> Result<WireSession, DialError> {
        let session = WebTransportDial::default().dial(endpoint, kind).await?;
        Ok(WireSession {
            session,
            wire: Arc::clone(&self.0),
        })
    }
}

#[derive(Clone)]
pub(crate) struct WireSession {
    session: WebTransportSession,
    wire: Arc<Wire>,
}

impl Session for WireSession {
    type Send = <WebTransportSession as Session>::Send;
    type Recv = <WebTransportSession as Session>::Recv;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        self.session.open_bi().await
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), SessionError> {
        self.session.accept_bi().await
    }

    async fn open_uni(&self) -> Result<Self::Send, SessionError> {
        self.session.open_uni().await
    }

    async fn accept_uni(&self) -> Result<Self::Recv, SessionError> {
        self.session.accept_uni().await
    }

    fn send_datagram(&self, datagram: Bytes) -> Result<(), SessionError> {
        let mut replace = self
            .wire
            .replace
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &mut *replace {
            Some(replace) => replace(datagram)
                .into_iter()
                .try_for_each(|datagram| self.session.send_datagram(datagram)),
            None => self.session.send_datagram(datagram),
        }
    }

    async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        let datagram = self.session.recv_datagram().await?;
        self.wire
            .received()
            .push((Instant::now(), datagram.clone()));
        Ok(datagram)
    }

    fn max_datagram_bytes(&self) -> usize {
        self.session.max_datagram_bytes()
    }

    fn path_stats(&self) -> PathStats {
        self.session.path_stats()
    }

    fn info(&self) -> Arc<SessionInfo> {
        self.session.info()
    }

    fn close(&self, code: u32, reason: &str) {
        self.session.close(code, reason);
    }

    async fn closed(&self) -> SessionError {
        self.session.closed().await
    }
}
