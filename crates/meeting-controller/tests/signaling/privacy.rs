//! Nothing about people stands in logs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use dt_token::Role;
use dt_wire::v1::{JoinRequest, Leave, StreamType, client_message::Body as Request};
use tracing_subscriber::fmt::MakeWriter;

use crate::bench::Bench;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_tokens_stand_in_no_log_line() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing::Level::TRACE)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let bench = Bench::new().await;
    let mut ana = bench.connect().await;
    let request = bench.join_request("Wilhelmina", Role::Host);
    let token = request.join_token.clone();
    let welcome = ana.join(request.clone()).await;
    ana.publish(StreamType::Audio, 1).await;
    let mut eve = bench.connect().await;
    let bad = JoinRequest {
        join_token: format!("{token}x"),
        ..request
    };
    eve.refused(Request::JoinRequest(bad)).await;
    ana.ask(Request::Leave(Leave {})).await;
    bench.controller.shutdown().await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains(&bench.meeting.to_string()),
        "something is logged: {log}"
    );
    let secrets = [
        "Wilhelmina".to_owned(),
        "Standup".to_owned(),
        token,
        bench.code.to_string(),
        welcome.media_server.unwrap().connection_token,
    ];
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} stands in the log");
    }
}
