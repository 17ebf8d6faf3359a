//! The way of one stream through the handlers: where it comes in, whom it
//! reaches there, and to which handlers it is passed on.
//!
//! A star: whoever first has it from its sender passes it on to every handler
//! that needs it and has it not from the sender. One link a handler, so there is
//! no loop, no second copy, and nothing ever comes back to where it began.

use std::collections::BTreeMap;

use dt_ids::{HandlerId, UserId};

use super::{Move, Place};

/// The stream's side.
pub(crate) struct Sender<'a> {
    pub(crate) place: &'a Place,
    pub(crate) audio: bool,
    /// The way to a handler is broken at the moment, as that handler says.
    pub(crate) lost_at: &'a dyn Fn(HandlerId) -> bool,
    /// The handler has not gone.
    pub(crate) is_there: &'a dyn Fn(HandlerId) -> bool,
    /// One handler was told to pass it on to the other.
    pub(crate) passed_on: &'a dyn Fn(HandlerId, HandlerId) -> bool,
    /// It arrives at a handler, which was told and knows that it is for this one.
    pub(crate) brings: &'a dyn Fn(HandlerId, UserId) -> bool,
}

/// What one handler has to do with the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Not from the sender but over a link.
    pub(crate) inlet: Option<Hop>,
    pub(crate) receivers: Vec<UserId>,
    pub(crate) onward: Vec<Hop>,
}

/// One link, from either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hop {
    /// The handler at the other end.
    pub(crate) peer: HandlerId,
    /// Which handler has it from the sender.
    pub(crate) origin: HandlerId,
    /// Links it has passed at the far end of this one.
    pub(crate) hops: u32,
}

/// The whole way; handlers that have nothing to do with it are left out.
pub(crate) fn plan<'a>(
    sender: &Sender<'_>,
    receivers: impl Iterator<Item = (UserId, &'a Place)>,
) -> BTreeMap<HandlerId, Stop> {
    let mut stops: BTreeMap<HandlerId, Stop> = BTreeMap::new();
    let origins = origins(sender);
    let Some(first) = origins.first().copied() else {
        return stops;
    };
    for (user, place) in receivers {
        for handler in place.receives_from(sender.audio) {
            // Left as soon as the new way brings it.
            let superseded = !sender.audio
                && place.leaving() == Some(handler)
                && (sender.brings)(place.home(), user);
            if (sender.is_there)(handler) && !superseded {
                stops.entry(handler).or_default().receivers.push(user);
            }
        }
    }
    // Whose sender is about to leave it gets it over a link in time.
    let left = match sender.place.moving() {
        Some(Move::Handing { from, .. }) => Some(from),
        _ => None,
    };
    let from_sender = |handler| origins.contains(&handler) && left != Some(handler);
    let far: Vec<HandlerId> = stops
        .keys()
        .copied()
        .filter(|h| *h != first && !from_sender(*h))
        .collect();
    for handler in far {
        let hop = |peer| Hop {
            peer,
            origin: first,
            hops: 1,
        };
        stops.entry(handler).or_default().inlet = Some(hop(first));
        stops.entry(first).or_default().onward.push(hop(handler));
    }
    keep_links(sender, &origins, &mut stops);
    stops
}

/// Where it comes in from its sender, and is there to be passed on. A handler
/// that its sender does not reach now is as one that it never went to.
fn origins(sender: &Sender<'_>) -> Vec<HandlerId> {
    let there = sender.place.sends_to(sender.audio);
    let mut origins: Vec<HandlerId> = there.filter(|h| (sender.is_there)(*h)).collect();
    if origins.iter().any(|h| !(sender.lost_at)(*h)) {
        origins.retain(|h| !(sender.lost_at)(*h));
    }
    origins
}

/// What the home before passed on goes on during a move: those who get it from
/// elsewhere now have it from there only after a key frame. Never against the
/// link by which it now gets the stream itself.
fn keep_links(sender: &Sender<'_>, origins: &[HandlerId], stops: &mut BTreeMap<HandlerId, Stop>) {
    let from = sender.place.leaving().filter(|from| origins.contains(from));
    let (Some(from), Some(first)) = (from, origins.first()) else {
        return;
    };
    let kept: Vec<HandlerId> = stops
        .keys()
        .copied()
        .filter(|to| *to != from && to != first)
        .filter(|to| (sender.passed_on)(from, *to))
        .collect();
    if kept.is_empty() {
        return;
    }
    let stop = stops.entry(from).or_default();
    for to in kept {
        if !stop.onward.iter().any(|hop| hop.peer == to) {
            stop.onward.push(Hop {
                peer: to,
                origin: from,
                hops: 1,
            });
        }
    }
    stop.onward.sort_unstable();
}
