//! A network between a client and the server's UDP port, which can be cut.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, anyhow};
use dt_client::MeetingAccess;
use tokio::{net::UdpSocket, task::JoinSet};
use url::Url;

/// Forwards packets between any number of clients and one server.
pub(crate) struct Wire {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Result<Self> {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = front.local_addr()?;
        let cut = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(front, server, Arc::clone(&cut)));
        Ok(Self {
            address,
            cut,
            _tasks: tasks,
        })
    }

    /// From now on nothing gets through, and nobody is told.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// The same access by this network.
    pub(crate) fn lead(&self, mut access: MeetingAccess) -> Result<MeetingAccess> {
        let over = |url: &mut Url| {
            let port = Some(self.address.port());
            url.set_port(port).map_err(|()| anyhow!("no port in {url}"))
        };
        over(&mut access.meeting_controller.url)?;
        for handler in &mut access.media_handlers {
            over(&mut handler.endpoint.url)?;
        }
        Ok(access)
    }
}

async fn forward(front: Arc<UdpSocket>, server: SocketAddr, cut: Arc<AtomicBool>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0; 65_536];
    loop {
        let Ok((bytes, client)) = front.recv_from(&mut packet).await else {
            continue;
        };
        if cut.load(Ordering::SeqCst) {
            continue;
        }
        if let std::collections::hash_map::Entry::Vacant(place) = backs.entry(client) {
            let Ok(back) = UdpSocket::bind("127.0.0.1:0").await else {
                continue;
            };
            let back = place.insert(Arc::new(back));
            answers.spawn(answer(
                Arc::clone(back),
                Arc::clone(&front),
                client,
                Arc::clone(&cut),
            ));
        }
        // A packet may be lost.
        let _ = backs[&client].send_to(&packet[..bytes], server).await;
    }
}

async fn answer(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    cut: Arc<AtomicBool>,
) {
    let mut packet = vec![0; 65_536];
    loop {
        if let Ok((bytes, _)) = back.recv_from(&mut packet).await
            && !cut.load(Ordering::SeqCst)
        {
            let _ = front.send_to(&packet[..bytes], client).await;
        }
    }
}
