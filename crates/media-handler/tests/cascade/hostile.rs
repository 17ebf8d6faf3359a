//! What another handler may do wrong, and what comes of it.

use std::sync::Arc;

use bytes::Bytes;
use dt_frame::{FrameType, LinkPrefix, RouteId};
use dt_ids::HandlerId;
use dt_transport::{
    SendStream, Session, StreamError,
    memory::{self, MemorySession},
};
use dt_wire::{
    CloseCode,
    framing::{self, Framed},
    internal::{LinkDemand, LinkHello, LinkMessage, WantedEncoding, link_message::Body},
};

use crate::{
    support::{Client, Control, closed, soon},
    world::{Net, Order, SECRET},
};

fn hello(from: HandlerId, to: HandlerId, token: &str) -> Bytes {
    framing::encode(&LinkMessage::new(Body::Hello(LinkHello {
        handler_id: from.to_string(),
        to_handler_id: to.to_string(),
        service_token: token.to_owned(),
    })))
}

/// Dials a handler as another one would, and says this.
async fn dial(
    net: &Net,
    words: Bytes,
) -> (
    MemorySession,
    impl SendStream,
    Control<impl dt_transport::RecvStream>,
) {
    let (near, far) = memory::pair(memory::Config::default());
    let handler = Arc::clone(&net.at[0].handler);
    tokio::spawn(async move { handler.serve_link(far).await });
    let (mut send, recv) = soon(near.open_bi()).await.unwrap();
    // It may be closed at once.
    let _ = send.write(words).await;
    (near, send, Control::new(recv))
}

/// Another handler, which is let in, and somebody there whom somebody here gets by
/// route 7.
struct Foe {
    net: Net,
    session: MemorySession,
    send: Box<dyn Send>,
    /// As its own clients would send.
    sender: Client,
    receiver: Client,
}

const ROUTE: RouteId = RouteId(7);

impl Foe {
    async fn new() -> Self {
        let mut net = Net::new(2).await;
        let foe = HandlerId::random();
        let (here, person) = (net.id(0), net.at[1].person(1).await);
        let sender = net.at[1].join(&person).await;
        let receiver = net.at[0].person(2).await;
        for number in 0..2 {
            let mut order = Order::of(&person, number);
            order.inlet(&person, foe, RouteId(7 + number as u32), foe, 1);
            order.people(&[receiver], 10 + number as u32);
            order.send(&mut net.at[0]).await.unwrap();
        }
        let receiver = net.at[0].join(&receiver).await;
        let (session, send, mut control) = dial(&net, hello(foe, here, SECRET)).await;
        assert!(matches!(control.next().await, Some(Framed::Message(_))));
        let send = Box::new((send, control));
        Self {
            net,
            session,
            send,
            sender,
            receiver,
        }
    }

    fn sound(&mut self, route: RouteId) -> Bytes {
        let (_, datagram) = self.sender.chunk();
        let mut bytes = datagram.to_vec();
        bytes[10..14].copy_from_slice(&route.0.to_be_bytes());
        bytes.into()
    }

    async fn open(&mut self, route: RouteId, hops: u8) -> <MemorySession as Session>::Send {
        let mut stream = soon(self.session.open_uni()).await.unwrap();
        let prefix = LinkPrefix { route, hops }.write();
        let header = self.sender.group_header(1).write();
        let bytes = Bytes::from([&prefix[..], &header[..]].concat());
        soon(stream.write(bytes)).await.unwrap();
        let (header, payload) = self.sender.frame(FrameType::VideoKey, 100);
        let chunks = &mut [Bytes::copy_from_slice(&header.write()), payload];
        // It may have been stopped already.
        let _ = soon(stream.write_chunks(chunks)).await;
        stream
    }

    /// What is right still arrives.
    async fn works(&mut self) {
        let sound = self.sound(RouteId(8));
        self.session.send_datagram(sound).unwrap();
        self.receiver.hear().await;
        let _stream = self.open(ROUTE, 1).await;
        let mut seen = self.receiver.watch().await;
        assert_eq!(seen.header().await, self.sender.group_header(1));
        seen.frame().await;
        let _ = (&self.net, &self.send);
    }
}

/// The code with which a stream is stopped, whatever is written on.
async fn stopped(stream: &mut <MemorySession as Session>::Send) -> u32 {
    let end = async {
        loop {
            match stream.write(Bytes::from_static(&[0])).await {
                Err(StreamError::Reset(code)) => return code,
                Err(other) => panic!("a stop is expected, not {other:?}"),
                Ok(()) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
            }
        }
    };
    soon(end).await
}

#[tokio::test(start_paused = true)]
async fn who_does_not_say_a_proper_hello_is_closed() {
    let net = Net::new(1).await;
    let (here, foe) = (net.id(0), HandlerId::random());
    let refused = CloseCode::AuthenticationFailed.code();
    let protocol = CloseCode::ProtocolError.code();
    let demand = framing::encode(&LinkMessage::new(Body::Demand(LinkDemand::default())));
    for (words, code) in [
        (hello(foe, here, "guessed"), refused),
        (hello(foe, here, ""), refused),
        (hello(foe, foe, SECRET), refused),
        (hello(here, here, SECRET), refused),
        (demand, protocol),
        (Bytes::from_static(b"\0\0\0\x04junk"), protocol),
        (Bytes::from_static(b"\xff\xff\xff\xff"), protocol),
        // Nothing more comes.
        (Bytes::from_static(b"\0"), protocol),
    ] {
        let (session, _send, _recv) = dial(&net, words).await;
        assert_eq!(closed(&session).await, code);
    }
    assert_eq!(net.at[0].handler.link_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_right_arrives() {
    Foe::new().await.works().await;
}

#[tokio::test(start_paused = true)]
async fn unknown_routes_are_dropped_and_what_is_right_goes_on() {
    let mut foe = Foe::new().await;
    let sound = foe.sound(RouteId(9));
    foe.session.send_datagram(sound).unwrap();
    let mut stream = foe.open(RouteId(9), 1).await;
    assert_eq!(stopped(&mut stream).await, 0);
    foe.works().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_hops_are_refused() {
    let mut foe = Foe::new().await;
    for hops in [0, 5, 255] {
        let mut stream = foe.open(ROUTE, hops).await;
        assert_eq!(stopped(&mut stream).await, 1);
    }
    foe.works().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_in_datagrams_and_streams_is_dropped() {
    let mut foe = Foe::new().await;
    let right = foe.sound(RouteId(8));
    for length in [0, 1, 9, 13, 14, 41, 46] {
        foe.session
            .send_datagram(right.slice(..length.min(right.len())))
            .unwrap();
    }
    let mut foreign = right.to_vec();
    foreign[9] ^= 1;
    foe.session.send_datagram(foreign.into()).unwrap();
    for bytes in [&b"\0\0\0\x07\x01\0\0\x01"[..], b"\0\0\0\x07\x01\0\0\0DARK"] {
        let mut stream = soon(foe.session.open_uni()).await.unwrap();
        let _ = stream.write(Bytes::copy_from_slice(bytes)).await;
        let _ = stream.write(Bytes::from(vec![0; 100])).await;
        assert_eq!(stopped(&mut stream).await, 1);
    }
    foe.works().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_too_long_stops_its_stream() {
    let mut foe = Foe::new().await;
    let mut stream = foe.open(ROUTE, 1).await;
    let (mut header, _) = foe.sender.frame(FrameType::VideoDelta, 10);
    header.payload_bytes = (4 << 20) + 1;
    let bytes = Bytes::copy_from_slice(&header.write());
    let _ = soon(stream.write(bytes)).await;
    assert_eq!(stopped(&mut stream).await, 1);
}

#[tokio::test(start_paused = true)]
async fn nonsense_on_the_control_stream_ends_the_link() {
    for words in [
        Bytes::from_static(b"\0\0\0\x04junk"),
        Bytes::from_static(b"\xff\xff\xff\xff"),
        framing::encode(&LinkMessage::new(Body::Demand(LinkDemand {
            route_id: 7,
            encodings: vec![WantedEncoding {
                encoding: 16,
                max_bitrate: 0,
            }],
        }))),
    ] {
        let net = Net::new(1).await;
        let (here, foe) = (net.id(0), HandlerId::random());
        let (session, mut send, mut control) = dial(&net, hello(foe, here, SECRET)).await;
        assert!(control.next().await.is_some());
        assert_eq!(net.at[0].handler.link_count(), 1);
        send.write(words).await.unwrap();
        closed(&session).await;
        let handler = &net.at[0].handler;
        soon(async {
            while handler.link_count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_leads_back_is_refused_and_what_began_here_is_dropped() {
    let mut net = Net::new(2).await;
    let person = net.at[1].person(1).await;
    let (here, there) = (net.id(0), net.id(1));
    for (origin, to, hops) in [
        // To where it began, to whom it comes from, to itself, and too far.
        (there, there, 2),
        (here, there, 2),
        (there, here, 2),
        (there, HandlerId::random(), 5),
    ] {
        let mut order = Order::of(&person, 0);
        order.inlet(&person, there, RouteId(3), there, 1);
        order.outlet(to, RouteId(4), origin, hops);
        assert!(order.send(&mut net.at[0]).await.is_err());
    }
    // Its own way back is known and brings nothing.
    let foe = HandlerId::random();
    let receiver = net.at[0].person(2).await;
    for number in 0..2 {
        let mut order = Order::of(&person, number);
        order.inlet(&person, foe, RouteId(7 + number as u32), here, 2);
        order.people(&[receiver], 10 + number as u32);
        order.send(&mut net.at[0]).await.unwrap();
    }
    let sender = net.at[1].join(&person).await;
    let receiver = net.at[0].join(&receiver).await;
    let (session, send, mut control) = dial(&net, hello(foe, here, SECRET)).await;
    assert!(control.next().await.is_some());
    let mut foe = Foe {
        net,
        session,
        send: Box::new((send, control)),
        sender,
        receiver,
    };
    let sound = foe.sound(RouteId(8));
    foe.session.send_datagram(sound).unwrap();
    let mut stream = foe.open(ROUTE, 2).await;
    assert_eq!(stopped(&mut stream).await, 1);
    assert!(foe.receiver.hear_within(100).await.is_none());
}
