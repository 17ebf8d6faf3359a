//! One session, two carriers: everything that a meeting promises holds over
//! WebTransport and over WebSockets alike, with the same bodies of tests, and a
//! network without UDP costs nobody the meeting.

mod door;
#[path = "../hosting/mod.rs"]
mod hosting;
mod isolation;
mod journeys;
mod outage;
mod people;
#[path = "../playing/mod.rs"]
mod playing;
mod raw;
mod udp;
