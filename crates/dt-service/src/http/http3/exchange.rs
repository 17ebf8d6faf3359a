//! One request and its answer: from the stream to the router and back.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use h3::{
    error::{Code, StreamError},
    server::{RequestResolver, RequestStream},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header, uri::Authority};
use http_body::{Frame, SizeHint};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::guard;

/// A client that takes nothing of its answer for so long gets no more.
const STALLED_TIME_MAX: Duration = Duration::from_secs(30);

/// What belongs to a connection of HTTP/1.1 and makes an answer of HTTP/3 invalid.
const OF_CONNECTIONS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// As in `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Why there was no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// It is none of the client's doing to be counted against it.
    #[error("the answer was not taken")]
    Answer(#[source] StreamError),
    #[error("the answer was not taken in time")]
    Stalled,
    #[error("the answer broke off")]
    Body(#[source] axum::Error),
    /// There was no whole header in it.
    #[error("the stream brought no request")]
    NoRequest(#[source] StreamError),
    #[error("the request's header came too late")]
    Late,
}

impl ExchangeError {
    /// Whether the stream was opened for nothing.
    pub(super) const fn is_without_request(&self) -> bool {
        matches!(self, Self::NoRequest(_) | Self::Late)
    }
}

/// Where this host is reached by HTTP/3, and where by everything else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) own: u16,
    pub(super) origin: u16,
}

impl Ports {
    fn at_origin(self, uri: Uri) -> Uri {
        let port = uri.authority().and_then(Authority::port_u16);
        if port != Some(self.own) {
            return uri;
        }
        let moved = format!("{}:{}", uri.host().unwrap_or_default(), self.origin);
        let mut parts = uri.clone().into_parts();
        parts.authority = moved.parse().ok();
        // What was an address is one with another port.
        Uri::from_parts(parts).unwrap_or(uri)
    }
}

/// Answers the request of one stream.
pub(super) async fn answer(
    stream: RequestResolver<guard::Connection, Bytes>,
    router: Router,
    peer: SocketAddr,
    ports: Ports,
    header_time_max: Duration,
) -> Result<(), ExchangeError> {
    let (request, stream) = timeout(header_time_max, stream.resolve_request())
        .await
        .map_err(|_| ExchangeError::Late)?
        .map_err(ExchangeError::NoRequest)?;
    let (send, recv) = stream.split();
    let mut answer = Answer {
        stream: send,
        is_complete: false,
    };
    let (mut head, ()) = request.into_parts();
    head.extensions.insert(ConnectInfo(peer));
    head.uri = ports.at_origin(head.uri);
    let body = Body::new(RequestBody::new(recv, &head.headers));
    let response = match router.oneshot(Request::from_parts(head, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    answer.send(response).await
}

/// An answer on its way. Given up before its end, the client is told so.
struct Answer {
    stream: RequestStream<guard::Send, Bytes>,
    is_complete: bool,
}

impl Answer {
    async fn send(&mut self, response: Response<Body>) -> Result<(), ExchangeError> {
        let (mut head, body) = response.into_parts();
        for name in &OF_CONNECTIONS {
            head.headers.remove(name);
        }
        if let Some(now) = date() {
            head.headers.entry(header::DATE).or_insert(now);
        }
        in_time(self.stream.send_response(Response::from_parts(head, ()))).await?;
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(ExchangeError::Body)?;
            if !piece.is_empty() {
                in_time(self.stream.send_data(piece)).await?;
            }
        }
        in_time(self.stream.finish()).await?;
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_complete {
            self.stream.stop_stream(Code::H3_INTERNAL_ERROR);
        }
    }
}

async fn in_time(
    sending: impl Future<Output = Result<(), StreamError>>,
) -> Result<(), ExchangeError> {
    timeout(STALLED_TIME_MAX, sending)
        .await
        .map_err(|_| ExchangeError::Stalled)?
        .map_err(ExchangeError::Answer)
}

fn date() -> Option<HeaderValue> {
    OffsetDateTime::now_utc().format(DATE).ok()?.try_into().ok()
}

/// A request's body as it arrives; whoever stops reading it holds the client back.
struct RequestBody {
    stream: RequestStream<guard::Recv, Bytes>,
    /// Bytes still to come, if the client said how many.
    left: Option<u64>,
    has_ended: bool,
}

/// A body that is not what its header says.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the request broke off")]
    Stream(#[source] StreamError),
    #[error("the body has another length than its header says")]
    Length,
}

impl RequestBody {
    fn new(stream: RequestStream<guard::Recv, Bytes>, headers: &HeaderMap) -> Self {
        Self {
            stream,
            left: headers
                .get(header::CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok()),
            has_ended: false,
        }
    }

    fn checked(&mut self, read: Option<Bytes>) -> Option<Result<Bytes, BodyError>> {
        let length = read.as_ref().map_or(0, Bytes::len) as u64;
        let left = match (self.left, &read) {
            (None, _) => None,
            (Some(0), None) => Some(0),
            (Some(_), None) => return Some(Err(BodyError::Length)),
            (Some(left), Some(_)) => match left.checked_sub(length) {
                Some(left) => Some(left),
                None => return Some(Err(BodyError::Length)),
            },
        };
        self.left = left;
        read.map(Ok)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let read = match ready!(self.stream.poll_recv_data(cx)) {
            Ok(read) => read.map(|mut piece| piece.copy_to_bytes(piece.remaining())),
            Err(error) => {
                self.has_ended = true;
                return Poll::Ready(Some(Err(BodyError::Stream(error))));
            }
        };
        self.has_ended = read.is_none();
        let checked = self.checked(read);
        self.has_ended |= matches!(checked, Some(Err(_)));
        Poll::Ready(checked.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.has_ended {
            // Whoever has the answer needs no more of it (RFC 9114, section 4.1).
            self.stream.stop_sending(Code::H3_NO_ERROR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_http3_stands_in_no_address_that_is_handed_on() {
        let ports = Ports {
            own: 8444,
            origin: 8443,
        };
        for (asked, taken) in [
            ("https://[::1]:8444/a?b", "https://[::1]:8443/a?b"),
            ("https://meet.example:8443/a", "https://meet.example:8443/a"),
            ("https://meet.example/a", "https://meet.example/a"),
            ("/a", "/a"),
        ] {
            assert_eq!(ports.at_origin(asked.parse().unwrap()).to_string(), taken);
        }
    }
}
