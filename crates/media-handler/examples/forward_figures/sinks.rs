//! The receivers of the raw sender: plain sockets that are read as QUIC's are,
//! with GRO, and whose bytes are counted.

use std::{cell::Cell, net::Ipv4Addr, rc::Rc, time::Duration};

use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
use tokio::{net::UdpSocket, task::LocalSet};

use crate::{
    machine::{LOAD_CORE, cpu_time, stay_on},
    orders::{Received, follow, say},
    plan::Plan,
};

/// Receives until it is told to stop.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    stay_on(LOAD_CORE)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, drive(*plan))
}

async fn drive(plan: Plan) -> anyhow::Result<()> {
    let bytes = Rc::new(Cell::new(0));
    let mut ports = Vec::new();
    for _ in 0..plan.receivers {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        setsockopt(&socket, UdpGroSegment, &true)?;
        ports.push(socket.local_addr()?.port());
        let bytes = Rc::clone(&bytes);
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(taken) = socket.recv(&mut buffer).await {
                bytes.set(bytes.get() + taken as u64);
            }
        });
    }
    say(&ports)?;
    let mut orders = follow();
    while let Some(order) = orders.recv().await {
        let bytes = bytes.replace(0);
        let figures = Received {
            cpu: cpu_time()?,
            bytes,
            packets: bytes / (plan.raw_packet_bytes() as u64 + 16),
            p50: Duration::ZERO,
            ..Received::default()
        };
        if !order.answer(&figures)? {
            break;
        }
    }
    Ok(())
}
