//! Figures of the transport, printed as tables with their settings:
//! `cargo run --release -p dt-transport --example transport_figures [PART ...]`, of which
//! there are `open`, `rate`, `partial`, `congestion` and `queue`.

mod congestion;
#[path = "../../tests/support/link.rs"]
mod link;
mod messages;
#[path = "../../tests/support/pair.rs"]
mod pair;

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if wants("open") {
        messages::opening().await;
    }
    if wants("rate") {
        messages::rate().await;
    }
    if wants("partial") {
        messages::partial().await;
    }
    if wants("congestion") {
        congestion::throughput().await;
    }
    if wants("queue") {
        congestion::queue().await;
    }
}
