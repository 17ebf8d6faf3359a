//! Says something to `echo_server` and prints what comes back:
//! `cargo run --example echo_client https://127.0.0.1:4433 HASH`.

use std::error::Error;

use bytes::Bytes;
use dt_transport::{RecvStream, SendStream, Session, connect};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(hash)) = (arguments.next(), arguments.next()) else {
        return Err("usage: echo_client URL CERTIFICATE_SHA256".into());
    };
    let session = connect(url).certificate_hash(parsed(&hash)?).await?;

    let (mut send, mut recv) = session.open_bi().await?;
    send.write(Bytes::from_static(b"hello over a stream"))
        .await?;
    send.finish()?;
    while let Some(chunk) = recv.read_chunk(1 << 16).await? {
        println!("{}", String::from_utf8_lossy(&chunk));
    }

    session.send_datagram(Bytes::from_static(b"hello in a datagram"))?;
    println!(
        "{}",
        String::from_utf8_lossy(&session.recv_datagram().await?)
    );
    session.close(0, "bye");
    session.closed().await;
    Ok(())
}

fn parsed(hash: &str) -> Result<[u8; 32], Box<dyn Error>> {
    let digits = hash.as_bytes();
    if digits.len() != 64 || !hash.is_ascii() {
        return Err("a SHA-256 has 64 hexadecimal digits".into());
    }
    let mut bytes = [0; 32];
    for (byte, place) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hash[place..place + 2], 16)?;
    }
    Ok(bytes)
}
