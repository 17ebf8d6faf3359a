//! What was said to the group lately, for members who missed it.

use std::collections::{BTreeSet, VecDeque};

use dt_wire::v1::{Mls, MlsKind};

use super::limits::EncryptionLimits;

/// The last proposals and commits of one group, oldest first.
#[derive(Debug, Default)]
pub(super) struct Log {
    messages: VecDeque<(u64, Mls)>,
    bytes: usize,
    /// The newest epoch of which a message was forgotten.
    forgotten: Option<u64>,
    /// Epochs after it that had a commit which was voided: whoever stood right
    /// behind one may stand in what never was.
    voided: BTreeSet<u64>,
}

impl Log {
    pub(super) fn push(&mut self, epoch: u64, message: Mls, limits: &EncryptionLimits) {
        self.bytes += message.data.len();
        self.messages.push_back((epoch, message));
        while self.messages.len() > limits.log_messages_max || self.bytes > limits.log_bytes_max {
            let Some((epoch, message)) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= message.data.len();
            self.forgotten = Some(epoch);
            self.voided = self.voided.split_off(&epoch);
        }
    }

    /// The commit that ended this epoch never was.
    pub(super) fn void(&mut self, epoch: u64) {
        let commit = |(of, message): &(u64, Mls)| {
            *of == epoch && message.kind == i32::from(MlsKind::MlsCommit)
        };
        if let Some(place) = self.messages.iter().position(commit)
            && let Some((_, message)) = self.messages.remove(place)
        {
            self.bytes -= message.data.len();
        }
        self.voided.insert(epoch);
    }

    /// All that was said from this epoch on; `None` when it is not known whole.
    pub(super) fn since(&self, epoch: u64, bytes_max: usize) -> Option<Vec<Mls>> {
        let whole = self.forgotten.is_none_or(|forgotten| forgotten < epoch);
        let sure = epoch == 0 || !self.voided.contains(&(epoch - 1));
        let missed = self.messages.iter().filter(|(of, _)| *of >= epoch);
        let bytes: usize = missed.clone().map(|(_, message)| message.data.len()).sum();
        (whole && sure && bytes <= bytes_max).then(|| missed.map(|(_, m)| m.clone()).collect())
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(bytes: usize) -> Mls {
        Mls {
            kind: MlsKind::MlsCommit.into(),
            data: vec![0; bytes].into(),
            ..Mls::default()
        }
    }

    #[test]
    fn the_log_keeps_64_messages_of_1_mib_and_knows_what_it_forgot() {
        let limits = EncryptionLimits::default();
        let mut log = Log::default();
        for epoch in 0..100 {
            log.push(epoch, commit(10), &limits);
        }
        assert_eq!(log.size(), (64, 640));
        assert_eq!(log.since(36, 1000).map(|missed| missed.len()), Some(64));
        assert_eq!(log.since(35, 1000), None, "a part of it is forgotten");
        assert_eq!(log.since(36, 100), None, "more than one answer holds");
        log.push(100, commit(1024 * 1024 - 5), &limits);
        assert_eq!(log.size(), (1, 1024 * 1024 - 5));
    }

    #[test]
    fn who_may_stand_after_a_voided_commit_does_not_catch_up() {
        let limits = EncryptionLimits::default();
        let mut log = Log::default();
        for epoch in 0..3 {
            log.push(epoch, commit(1), &limits);
        }
        log.void(2);
        assert_eq!(log.since(2, 100), Some(vec![]));
        assert_eq!(log.since(3, 100), None);
        log.push(2, commit(1), &limits);
        assert_eq!(log.since(1, 100).map(|missed| missed.len()), Some(2));
    }
}
