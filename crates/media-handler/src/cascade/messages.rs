//! The control stream of a link: its messages, read with all that is wrong with
//! them, and written.

use bytes::Bytes;
use dt_forward_core::Wanted;
use dt_frame::RouteId;
use dt_ids::{Encoding, HandlerId};
use dt_wire::{
    DecodeError, framing,
    internal::{
        LinkDemand, LinkHello, LinkKeyframe, LinkMessage, LinkWelcome, WantedEncoding,
        link_message::Body,
    },
};

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a message of a link names what can't be")]
    Number,
    #[error("a message of a link does not belong here")]
    Order,
}

/// Who dials, whom, and what it shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) from: HandlerId,
    pub(crate) to: HandlerId,
    pub(crate) token: String,
}

/// What is said while a link is up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Demand(RouteId, Vec<Wanted>),
    Keyframe(RouteId, Encoding),
}

impl Hello {
    pub(crate) fn write(&self) -> Bytes {
        framing::encode(&LinkMessage::new(Body::Hello(LinkHello {
            handler_id: self.from.to_string(),
            to_handler_id: self.to.to_string(),
            service_token: self.token.clone(),
        })))
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, MessageError> {
        let Body::Hello(hello) = LinkMessage::read(bytes)? else {
            return Err(MessageError::Order);
        };
        let id = |text: &str| text.parse().map_err(|_| MessageError::Number);
        Ok(Self {
            from: id(&hello.handler_id)?,
            to: id(&hello.to_handler_id)?,
            token: hello.service_token,
        })
    }
}

pub(crate) fn welcome(here: HandlerId) -> Bytes {
    framing::encode(&LinkMessage::new(Body::Welcome(LinkWelcome {
        handler_id: here.to_string(),
    })))
}

/// Who welcomes.
pub(crate) fn welcomed(bytes: &[u8]) -> Result<HandlerId, MessageError> {
    match LinkMessage::read(bytes)? {
        Body::Welcome(welcome) => welcome.handler_id.parse().map_err(|_| MessageError::Number),
        _ => Err(MessageError::Order),
    }
}

pub(crate) fn demand(route: RouteId, wanted: &[Wanted]) -> Bytes {
    let encodings = wanted.iter().map(|wanted| WantedEncoding {
        encoding: u32::from(wanted.encoding.get()),
        max_bitrate: wanted.max_bitrate_bps,
    });
    framing::encode(&LinkMessage::new(Body::Demand(LinkDemand {
        route_id: route.0,
        encodings: encodings.collect(),
    })))
}

pub(crate) fn keyframe(route: RouteId, encoding: Encoding) -> Bytes {
    framing::encode(&LinkMessage::new(Body::Keyframe(LinkKeyframe {
        route_id: route.0,
        encoding: u32::from(encoding.get()),
    })))
}

impl Message {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, MessageError> {
        let number = |encoding: u32| Encoding::try_from(encoding).map_err(|_| MessageError::Number);
        match LinkMessage::read(bytes)? {
            Body::Demand(demand) => {
                let mut wanted: Vec<Wanted> = Vec::new();
                for each in &demand.encodings {
                    let encoding = number(each.encoding)?;
                    if wanted.iter().any(|before| before.encoding == encoding) {
                        return Err(MessageError::Number);
                    }
                    wanted.push(Wanted {
                        encoding,
                        max_bitrate_bps: each.max_bitrate,
                    });
                }
                Ok(Self::Demand(RouteId(demand.route_id), wanted))
            }
            Body::Keyframe(ask) => Ok(Self::Keyframe(RouteId(ask.route_id), number(ask.encoding)?)),
            Body::Hello(_) | Body::Welcome(_) => Err(MessageError::Order),
        }
    }
}
