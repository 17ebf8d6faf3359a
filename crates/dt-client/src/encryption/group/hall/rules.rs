//! What the model of a controller does with what clients send: whose commit
//! counts, what is proposed, when a commit is void.

use super::*;

impl Hall {
    pub(super) fn receive(&mut self, id: ParticipantId, request: Request, mls: &Mls) {
        let position = mls.position.unwrap_or_default();
        let answer = match mls.kind() {
            MlsKind::MlsFounded => self.founded(id, position.group, &mls.group_info),
            MlsKind::MlsKeyPackage => {
                let who = read_key_package(&mls.data).unwrap();
                read_credential(&who.identity, &who.signature_key).unwrap();
                if std::mem::take(&mut self.swaps) {
                    self.swap_key_package(id, who.identity);
                    self.down(id, Down::Answer(request, Ok(())));
                    return;
                }
                self.key_packages.insert(id, mls.data.to_vec());
                self.to_remove.extend(self.in_group().get(&id));
                self.batch_at.get_or_insert(self.now + BATCH);
                Ok(())
            }
            MlsKind::MlsCommit => self.committed(id, position, mls),
            MlsKind::MlsApplied | MlsKind::MlsFailed => {
                self.vote(id, mls.kind(), position);
                Ok(())
            }
            MlsKind::MlsStranded => {
                self.stranded += 1;
                self.want_removed(id);
                let entry = self.entry(id);
                self.down(id, Down::Entry(entry));
                Ok(())
            }
            _ => Err(ErrorCode::InvalidRequest),
        };
        self.down(id, Down::Answer(request, answer));
    }

    fn founded(&mut self, id: ParticipantId, group: u32, info: &[u8]) -> Result<(), ErrorCode> {
        if group == self.number && self.keeper.is_none() {
            self.keeper = Some(Keeper::found(&self.setup(), info).unwrap());
            return Ok(());
        }
        let entry = self.entry(id);
        self.down(id, Down::Entry(entry));
        Err(ErrorCode::Conflict)
    }

    fn committed(
        &mut self,
        id: ParticipantId,
        position: GroupPosition,
        mls: &Mls,
    ) -> Result<(), ErrorCode> {
        let member = self.in_group().contains_key(&id);
        let refuse = |hall: &mut Self| {
            if !member {
                let entry = hall.entry(id);
                hall.down(id, Down::Entry(entry));
            }
            Err(ErrorCode::Conflict)
        };
        let current = position.group == self.number
            && position.epoch == self.epoch()
            && self.trial.is_none()
            && !self.barred.contains(&id)
            && (member || self.is_quiet());
        let spoiled = self.spoil.take_if(|_| current);
        let mut data = mls.data.to_vec();
        let Some(keeper) = self.keeper.as_mut().filter(|_| current) else {
            return refuse(self);
        };
        if let Some(last) = data.last_mut().filter(|_| spoiled == Some(Spoil::ForAll)) {
            *last ^= 1;
        }
        let applied = match keeper.apply(&data, &mls.group_info) {
            Ok(applied) => applied,
            Err(Refused::Invalid(why)) if spoiled.is_none() => panic!("{why}"),
            Err(_) => return refuse(self),
        };
        let leaving = std::mem::take(&mut self.leaving);
        self.to_remove
            .retain(|leaf| !applied.removed.contains(leaf));
        self.commits += 1;
        self.wanted_until = None;
        let commit = Mls {
            data: data.into(),
            ..message(MlsKind::MlsCommit, position.group, position.epoch)
        };
        self.log(commit.clone());
        let welcome = Mls {
            data: mls.welcome.clone(),
            ..message(MlsKind::MlsWelcome, position.group, position.epoch + 1)
        };
        if !welcome.data.is_empty() {
            self.last_welcome = Some(welcome.clone());
        }
        for (added, leaf) in self.in_group() {
            if !self.clients[&added].seated {
                // It left while its commit or the one that added it was under way.
                self.to_remove.insert(leaf);
                self.batch_at.get_or_insert(self.now + BATCH);
            }
        }
        if let Some(victim) = self.swapped.take() {
            self.down(victim, Down::Mls(welcome.clone()));
        }
        let proposed = std::mem::take(&mut self.proposed);
        for (added, key_package) in &proposed {
            // Its owner has made another since: this leaf is nobody's.
            if self
                .key_packages
                .get(added)
                .is_some_and(|newer| newer != key_package)
            {
                self.to_remove.extend(self.in_group().get(added));
                self.batch_at.get_or_insert(self.now + BATCH);
            }
        }
        for other in self.in_group().into_keys().collect::<Vec<_>>() {
            if !self.clients[&other].connected {
                continue;
            }
            let added = proposed.contains_key(&other);
            if added && self.key_packages.get(&other) != proposed.get(&other) {
                continue;
            }
            self.key_packages.remove(&other);
            let mut down = if added {
                welcome.clone()
            } else {
                commit.clone()
            };
            if spoiled == Some(Spoil::ForOne(other)) && other != id && !added {
                let mut data = down.data.to_vec();
                if let Some(last) = data.last_mut() {
                    *last ^= 1;
                }
                down.data = data.into();
            }
            self.down(other, Down::Mls(down));
        }
        self.trial = Some(Trial {
            since: self.now,
            epoch: position.epoch,
            committer: id,
            applied: BTreeSet::new(),
            failed: BTreeSet::new(),
            proposed,
            leaving,
        });
        if self.in_group().len() == 1 {
            self.judge();
        }
        Ok(())
    }

    fn vote(&mut self, id: ParticipantId, kind: MlsKind, position: GroupPosition) {
        let Some(trial) = &mut self.trial else {
            if kind == MlsKind::MlsFailed && position.epoch + 1 == self.epoch() {
                let entry = self.entry(id);
                self.down(id, Down::Entry(entry));
            }
            return;
        };
        if kind == MlsKind::MlsApplied && position.epoch == trial.epoch + 1 {
            trial.applied.insert(id);
            if id != trial.committer {
                self.judge();
            }
        } else if kind == MlsKind::MlsFailed && position.epoch == trial.epoch {
            trial.failed.insert(id);
        }
    }

    /// What becomes of a commit after members had time to look at it.
    pub(super) fn judge(&mut self) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        let others = trial.applied.iter().filter(|id| **id != trial.committer);
        if !trial.failed.is_empty() && others.count() == 0 {
            self.rolled_back += 1;
            let alive: Vec<_> = self.in_group().into_keys().collect();
            assert!(self.keeper.as_mut().is_some_and(Keeper::roll_back));
            self.log.pop_back();
            self.voided.insert(trial.epoch);
            self.proposed = trial.proposed;
            self.leaving = trial.leaving;
            self.barred.insert(trial.committer);
            let void = message(MlsKind::MlsRolledBack, self.number, trial.epoch);
            let members = self.in_group();
            for id in alive {
                if !self.clients[&id].connected {
                    continue;
                }
                self.down(id, Down::Mls(void.clone()));
                if !members.contains_key(&id) {
                    let entry = self.entry(id);
                    self.down(id, Down::Entry(entry));
                }
            }
            self.want_commit();
            return;
        }
        self.barred.clear();
        for id in trial.failed {
            if self.clients[&id].connected {
                let entry = self.entry(id);
                self.down(id, Down::Entry(entry));
            }
        }
        if self.keeper.as_ref().is_some_and(|k| k.open_proposals() > 0) {
            self.want_commit();
        }
    }

    pub(super) fn propose(&mut self) {
        self.batch_at = None;
        let number = self.number;
        let members = self.in_group();
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let position = GroupPosition {
            group: number,
            epoch: keeper.epoch(),
        };
        let mut proposals = Vec::new();
        for leaf in std::mem::take(&mut self.to_remove) {
            if members.values().any(|member| *member == leaf) && self.leaving.insert(leaf) {
                proposals.push(keeper.propose_remove(&self.key, leaf).unwrap());
            }
        }
        for (id, key_package) in &self.key_packages {
            if self.proposed.contains_key(id) {
                continue;
            }
            proposals.push(keeper.propose_add(&self.key, key_package).unwrap());
            self.proposed.insert(*id, key_package.clone());
        }
        for data in proposals {
            let proposal = Mls {
                position: Some(position),
                data: data.into(),
                ..message(MlsKind::MlsProposal, number, 0)
            };
            self.log(proposal.clone());
            for id in members.keys() {
                if self.clients[id].connected {
                    self.down(*id, Down::Mls(proposal.clone()));
                }
            }
        }
        self.want_commit();
    }

    /// Names three members, the first by lot.
    pub(in super::super) fn want_commit(&mut self) {
        let position = message(MlsKind::MlsCommitWanted, self.number, self.epoch());
        let able: Vec<_> = self
            .in_group()
            .into_keys()
            .filter(|id| self.clients[id].connected && !self.barred.contains(id))
            .filter(|id| !self.leaving.contains(&self.in_group()[id]))
            .collect();
        self.wanted_until = Some(self.now + WANTED);
        if able.is_empty() {
            self.barred.clear();
            return;
        }
        let first = self.random.random_range(0..able.len());
        for (rank, place) in (0..3_u32).zip(0..able.len()) {
            let wanted = Mls {
                rank,
                ..position.clone()
            };
            self.down(able[(first + place) % able.len()], Down::Mls(wanted));
        }
    }
}
