//! Links to other handlers, as one meeting sees them.
//!
//! A link is another kind of session. What comes over it belongs to routes that
//! the controller set up: an [`Inlet`] says which stream a route brings and whose
//! it is, and is to the rest of the forwarder what a registration and a session
//! are. An [`Outlet`] is a receiver that gets exactly the encodings that are
//! wanted beyond, whole, and is steered by nobody: its own handler chooses for
//! its receivers, and says what they need by [`Forwarder::link_demand`] there and
//! [`Output::LinkDemand`](crate::Output::LinkDemand) here.
//!
//! A stream's feeder can change: its sender's session may give way to a link and
//! the other way round. For a while both bring the same, and it is taken from
//! whichever is first ([`feeds`], [`recent`], and the groups in `encoding`), so
//! that none of it is missing and nothing comes twice.

mod feeds;
mod outlets;
mod recent;
mod routes;
mod traffic;

use dt_frame::{HOPS_MAX, LinkPrefix, RouteId};
use dt_ids::{HandlerId, ParticipantId, UserId};

pub(crate) use self::{
    feeds::Feeds,
    outlets::{Outlets, Wants},
    recent::Recent,
    routes::Table,
};
use crate::StreamSpec;

/// Where a stream comes from: the end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inlet {
    /// Who sends it over the link.
    pub handler: HandlerId,
    /// By which number it is known there.
    pub route: RouteId,
    /// The handler that has it from its sender.
    pub origin: HandlerId,
    /// Links that it has passed with this one.
    pub hops: u8,
    /// What a registration would say.
    pub spec: StreamSpec,
    /// Whose it is.
    pub participant: ParticipantId,
    /// Whose it is, on the datagram carrier.
    pub user_id: UserId,
}

/// Another handler that receives a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlet {
    /// Who receives it.
    pub handler: HandlerId,
    /// By which number the receiver knows it.
    pub route: RouteId,
    /// The handler that has it from its sender.
    pub origin: HandlerId,
    /// Links that it has passed when it arrives there.
    pub hops: u8,
}

impl Outlet {
    const fn prefix(&self) -> LinkPrefix {
        LinkPrefix {
            route: self.route,
            hops: self.hops,
        }
    }
}

/// The part of a route that leads over links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// `None`: its sender's session brings it.
    pub inlet: Option<Inlet>,
    /// One a handler.
    pub outlets: Vec<Outlet>,
}

/// Whether so many links may have been passed.
const fn few_enough(hops: u8) -> bool {
    0 < hops && hops <= HOPS_MAX
}

#[cfg(test)]
mod tests;
