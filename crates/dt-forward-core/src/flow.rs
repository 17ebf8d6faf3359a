//! What each receiver gets of one source: which encoding, how much of it, and
//! what it waits for. It sees one encoding at a time; another one begins with a
//! key frame, and then the one before is over.

use std::{collections::BTreeMap, sync::Arc};

use dt_frame::SlotLabel;

use crate::{Detail, SessionKey, Target, links::Outlets};

/// What a receiver is to get of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick {
    /// The encoding that is right for it.
    pub(crate) encoding: u8,
    /// The next best that is sent, while that one is not.
    pub(crate) instead: Option<u8>,
    /// How much of that one.
    pub(crate) detail: Detail,
    /// How much of another one that it has until then; of key frames it gets none.
    pub(crate) meanwhile: Detail,
    /// Bits per second that it can take of the encoding; 0: all.
    pub(crate) limit_bps: u32,
}

impl Pick {
    /// Of sound there is one encoding, and all of it.
    pub(crate) const SOUND: Self = Self {
        encoding: 0,
        instead: None,
        detail: Detail::Full,
        meanwhile: Detail::Full,
        limit_bps: 0,
    };
}

/// A receiver of a source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) label: SlotLabel,
    /// `None`: nothing, for nobody looks.
    pub(crate) pick: Option<Pick>,
    /// The encoding that it gets.
    pub(crate) on: Option<u8>,
    /// On the datagram carrier: it has what delta frames build on.
    pub(crate) synced: bool,
    /// Of sound: how often it gets it again.
    pub(crate) repeats: u8,
}

impl Flow {
    pub(crate) const fn new(label: SlotLabel) -> Self {
        Self {
            label,
            pick: None,
            on: None,
            synced: false,
            repeats: 0,
        }
    }

    pub(crate) fn limit_bps(&self) -> u32 {
        self.pick.map_or(0, |pick| pick.limit_bps)
    }

    /// How much it gets of what it is on.
    pub(crate) fn detail(&self) -> Detail {
        match self.pick {
            Some(pick) if self.on == Some(pick.encoding) => pick.detail,
            Some(pick) => pick.meanwhile,
            None => Detail::Keys,
        }
    }

    /// Whether a key frame of this encoding is what it waits for.
    pub(crate) fn waits_for(&self, encoding: u8) -> bool {
        let Some(pick) = self.pick else {
            return false;
        };
        self.on != Some(encoding) && (pick.encoding == encoding || pick.instead == Some(encoding))
    }

    /// Whether it needs this encoding to be sent.
    pub(crate) fn uses(&self, encoding: u8) -> bool {
        self.pick.is_some_and(|pick| pick.encoding == encoding)
            || (self.pick.is_some() && self.on == Some(encoding))
    }

    /// Whether it gets frames of the encoding that it is on. `upper`: of a
    /// temporal layer that can be left out.
    pub(crate) fn takes(&self, starts: bool, upper: bool) -> bool {
        match self.detail() {
            // A large key frame is not what one waits for who goes down.
            Detail::Keys => starts && self.pick.is_some_and(|p| self.on == Some(p.encoding)),
            Detail::Base => !upper,
            Detail::Full => true,
        }
    }

    pub(crate) fn target(&self, session: SessionKey) -> Target {
        Target {
            session,
            label: self.label.into(),
        }
    }
}

/// The receivers of one encoding on the datagram carrier, replaced whole.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    pub(crate) keys: Arc<[Target]>,
    pub(crate) base: Arc<[Target]>,
    pub(crate) upper: Arc<[Target]>,
    /// Somebody waits for a key frame of it, on this carrier.
    pub(crate) awaited: bool,
}

impl Default for Lists {
    fn default() -> Self {
        let none: Arc<[Target]> = Arc::from([]);
        Self {
            keys: Arc::clone(&none),
            base: Arc::clone(&none),
            upper: none,
            awaited: false,
        }
    }
}

/// All receivers of a source. Ordered, so that the same inputs give the same
/// outputs.
pub(crate) type Flows = BTreeMap<SessionKey, Flow>;

/// The lists of one encoding.
pub(crate) fn lists(flows: &Flows, outlets: &Outlets, encoding: u8) -> Lists {
    let on = |flow: &Flow| flow.on == Some(encoding) && flow.pick.is_some();
    let list = |takes: &dyn Fn(&Flow) -> bool| -> Arc<[Target]> {
        // The handlers beyond know what they can begin with.
        let beyond = outlets.iter().filter(|(_, outlet)| outlet.takes(encoding));
        flows
            .iter()
            .filter(|(_, flow)| on(flow) && takes(flow))
            .map(|(session, flow)| flow.target(*session))
            .chain(beyond.map(|(session, outlet)| outlet.target(*session)))
            .collect()
    };
    Lists {
        keys: list(&|flow| flow.takes(true, false)),
        base: list(&|flow| flow.synced && flow.takes(false, false)),
        upper: list(&|flow| flow.synced && flow.takes(false, true)),
        awaited: flows.values().any(|flow| {
            let torn = on(flow) && !flow.synced && flow.takes(false, false);
            torn || flow.waits_for(encoding)
        }),
    }
}

/// All receivers, for sound: of that there is one encoding, and all of it.
pub(crate) fn everybody(flows: &Flows, outlets: &Outlets) -> Arc<[Target]> {
    let beyond = outlets.iter().map(|(session, o)| o.target(*session));
    flows
        .iter()
        .map(|(session, flow)| flow.target(*session))
        .chain(beyond)
        .collect()
}
