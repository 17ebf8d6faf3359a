//! Numbers of streams on links between handlers.

use std::{collections::BTreeMap, fmt, sync::Arc};

use dt_ids::{HandlerId, StreamId};

/// Gives the numbers by which links know streams. Whoever receives over a link
/// said which numbers are free to give; they are shared by all meetings of a
/// controller, so this is not the meeting's to decide.
pub trait RouteIds: fmt::Debug + Send + Sync {
    /// A number that nobody uses towards this handler; `None` when all are in use.
    fn take(&self, receiving: HandlerId) -> Option<u32>;
    /// It is not used any more. Best given again last of all: frames with it
    /// may be on their way.
    fn give_back(&self, receiving: HandlerId, id: u32);
}

/// One stream from one handler to another; those of a stream stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) stream: StreamId,
    pub(super) from: HandlerId,
    pub(super) to: HandlerId,
}

/// The numbers in use.
#[derive(Debug)]
pub(super) struct Links {
    source: Option<Arc<dyn RouteIds>>,
    taken: BTreeMap<Link, u32>,
}

impl Links {
    pub(super) fn new(source: Option<Arc<dyn RouteIds>>) -> Self {
        Self {
            source,
            taken: BTreeMap::new(),
        }
    }

    /// The number of a link; taken when it has none.
    pub(super) fn id(&mut self, link: Link) -> Option<u32> {
        if let Some(id) = self.taken.get(&link) {
            return Some(*id);
        }
        let id = self.source.as_ref()?.take(link.to)?;
        self.taken.insert(link, id);
        Some(id)
    }

    /// Gives back the numbers of a stream's links that are not used any more.
    pub(super) fn retain(&mut self, stream: StreamId, used: impl Fn(HandlerId, HandlerId) -> bool) {
        let first = HandlerId::from_bytes([0; 16]);
        let first = Link {
            stream,
            from: first,
            to: first,
        };
        let of_stream = self.taken.range(first..).map(|(link, _)| *link);
        let of_stream = of_stream.take_while(|link| link.stream == stream);
        let gone: Vec<Link> = of_stream.filter(|link| !used(link.from, link.to)).collect();
        for link in gone {
            self.give_back(link);
        }
    }

    pub(super) fn clear(&mut self) {
        while let Some((link, _)) = self.taken.first_key_value() {
            let link = *link;
            self.give_back(link);
        }
    }

    fn give_back(&mut self, link: Link) {
        if let (Some(id), Some(source)) = (self.taken.remove(&link), &self.source) {
            source.give_back(link.to, id);
        }
    }
}

/// Numbers for tests: sees to it that none is given twice or given back twice.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Numbers(std::sync::Mutex<(u32, std::collections::BTreeSet<(HandlerId, u32)>)>);

#[cfg(test)]
impl Numbers {
    pub(crate) fn in_use(&self) -> std::collections::BTreeSet<(HandlerId, u32)> {
        self.0.lock().unwrap().1.clone()
    }
}

#[cfg(test)]
impl RouteIds for Numbers {
    fn take(&self, receiving: HandlerId) -> Option<u32> {
        let mut numbers = self.0.lock().unwrap();
        numbers.0 += 1;
        let id = numbers.0;
        assert!(numbers.1.insert((receiving, id)));
        Some(id)
    }

    fn give_back(&self, receiving: HandlerId, id: u32) {
        let known = self.0.lock().unwrap().1.remove(&(receiving, id));
        assert!(
            known,
            "a number is given back once, and by whom it was given"
        );
    }
}
