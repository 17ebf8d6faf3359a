//! A member made from the parts, for what the SDK does not give away: its keys,
//! and the commits as they came. It speaks signaling and has no media.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use dt_client::{Dial as _, MeetingAccess, SessionKind, WebTransportDial};
use dt_e2ee::{
    Candidate, Claims, DeviceKey, EpochKeys, GroupSetup, LeafKey, Member, Suite, binding_bytes,
    credential,
};
use dt_transport::{
    RecvStream as _, SendStream as _, Session as _, webtransport::WebTransportSession,
};
use dt_wire::{
    framing::{self, Decoder, Framed},
    v1::{
        ClientMessage, E2eeEntry, E2eeOffer, EntryWay, GroupPosition, JoinRequest, Mls, MlsKind,
        ServerMessage, client_message, server_message::Body,
    },
};
use tokio::sync::watch;

const SUITE: Suite = Suite::Aes128Gcm;

/// What it has learned.
#[derive(Default)]
pub(crate) struct Learned {
    pub(crate) member: Option<Member>,
    /// Of every epoch that it stood in.
    pub(crate) keys: Vec<EpochKeys>,
    /// Every commit that it was told.
    pub(crate) commits: Vec<Bytes>,
    pub(crate) refused: Option<String>,
}

pub(crate) struct Raw {
    pub(crate) participant_id: String,
    learned: Arc<Mutex<Learned>>,
    epochs: watch::Receiver<usize>,
    session: WebTransportSession,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.session.close(0, "");
        self.task.abort();
    }
}

impl Raw {
    /// Joins, and follows the group until dropped. Without an offer it says that
    /// it can't encrypt.
    pub(crate) async fn join(access: &MeetingAccess, name: &str, offers: bool) -> Result<Self> {
        let session = WebTransportDial::default()
            .dial(&access.meeting_controller, SessionKind::Signaling)
            .await?;
        let (mut send, mut recv) = session.open_bi().await?;
        let request = JoinRequest {
            meeting_id: access.meeting_id.to_string(),
            join_token: access.join_token.reveal().to_owned(),
            participant_name: name.to_owned(),
            e2ee: offers.then_some(E2eeOffer {
                version: 1,
                position: None,
            }),
            ..JoinRequest::default()
        };
        let body = client_message::Body::JoinRequest(request);
        send.write(framing::encode(&ClientMessage::new(1, body)))
            .await?;
        let mut decoder = Decoder::default();
        let response = loop {
            let chunk = recv.read_chunk(1 << 16).await?.context("closed")?;
            decoder.push(&chunk);
            let Some(Framed::Message(bytes)) = decoder.next()? else {
                continue;
            };
            match ServerMessage::read(&bytes)?.1 {
                Body::JoinResponse(response) => break response,
                Body::Error(error) => bail!("{:?}: {}", error.code(), error.message),
                _ => {}
            }
        };
        let learned = Arc::new(Mutex::new(Learned::default()));
        let (epochs_in, epochs) = watch::channel(0);
        let mut following = Following {
            claims: Claims {
                meeting_id: access.meeting_id.to_string(),
                participant_id: response.participant_id.clone(),
                name: name.to_owned(),
            },
            candidate: None,
            entering: None,
            learned: Arc::clone(&learned),
            epochs: epochs_in,
            out: Vec::new(),
        };
        if let Some(entry) = &response.e2ee {
            following.enter(entry)?;
        }
        let task = tokio::spawn(async move {
            let mut request_id = 1;
            loop {
                for mls in following.out.drain(..) {
                    request_id += 1;
                    let body = client_message::Body::Mls(mls);
                    let message = framing::encode(&ClientMessage::new(request_id, body));
                    if send.write(message).await.is_err() {
                        return;
                    }
                }
                while let Ok(Some(framed)) = decoder.next() {
                    if let Framed::Message(bytes) = framed
                        && let Ok((_, body)) = ServerMessage::read(&bytes)
                        && let Err(error) = following.take(body)
                    {
                        following.learned().refused = Some(error.to_string());
                    }
                }
                if !following.out.is_empty() {
                    continue;
                }
                match recv.read_chunk(1 << 16).await {
                    Ok(Some(chunk)) => decoder.push(&chunk),
                    _ => return,
                }
            }
        });
        Ok(Self {
            participant_id: response.participant_id,
            learned,
            epochs,
            session,
            task,
        })
    }

    pub(crate) fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has had the keys of so many epochs.
    pub(crate) async fn epochs(&mut self, count: usize) -> Result<()> {
        let reached = self.epochs.wait_for(|epochs| *epochs >= count);
        tokio::time::timeout(super::DEADLINE, reached)
            .await
            .with_context(|| format!("{} epochs did not come", count))??;
        Ok(())
    }
}

/// The reading side.
struct Following {
    claims: Claims,
    candidate: Option<(Candidate, GroupSetup)>,
    entering: Option<(Member, Vec<u8>)>,
    learned: Arc<Mutex<Learned>>,
    epochs: watch::Sender<usize>,
    out: Vec<Mls>,
}

impl Following {
    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&mut self, entry: &E2eeEntry) -> Result<()> {
        let position = entry.position.context("no position")?;
        let setup = GroupSetup {
            group_id: entry.group_id.to_vec(),
            external_sender: entry.external_sender.to_vec(),
        };
        let leaf = LeafKey::generate()?;
        let device = DeviceKey::generate()?;
        let signature = device.sign(&binding_bytes(&self.claims, leaf.public()));
        let credential = credential(&self.claims, &device.public(), &signature, "");
        match entry.way() {
            EntryWay::Found => {
                let (member, info) = Member::found(leaf, credential, &setup)?;
                self.say(MlsKind::MlsFounded, position, |mls| {
                    mls.group_info = info.into()
                });
                self.stand(member)?;
            }
            EntryWay::Commit => {
                let (member, commit) = Member::enter(leaf, credential, &setup, &entry.group_info)?;
                self.entering = Some((member, commit.commit.clone()));
                self.say(MlsKind::MlsCommit, position, |mls| {
                    mls.data = commit.commit.into();
                    mls.group_info = commit.group_info.into();
                });
            }
            EntryWay::BeAdded => {
                let candidate = Candidate::new(leaf, credential)?;
                let data = candidate.key_package().to_vec();
                self.candidate = Some((candidate, setup));
                self.say(MlsKind::MlsKeyPackage, position, |mls| {
                    mls.data = data.into()
                });
            }
            way => bail!("no way in: {way:?}"),
        }
        Ok(())
    }

    fn say(&mut self, kind: MlsKind, position: GroupPosition, with: impl FnOnce(&mut Mls)) {
        let mut mls = Mls {
            kind: kind.into(),
            position: Some(position),
            ..Mls::default()
        };
        with(&mut mls);
        self.out.push(mls);
    }

    fn stand(&mut self, member: Member) -> Result<()> {
        let keys = member.keys(SUITE)?;
        let count = {
            let mut learned = self.learned();
            learned.keys.push(keys);
            learned.member = Some(member);
            learned.keys.len()
        };
        self.epochs.send_replace(count);
        Ok(())
    }

    fn take(&mut self, body: Body) -> Result<()> {
        let mls = match body {
            Body::Mls(mls) => mls,
            Body::E2eeEntry(entry) => return self.enter(&entry),
            _ => return Ok(()),
        };
        let position = mls.position.context("no position")?;
        let next = GroupPosition {
            epoch: position.epoch + 1,
            ..position
        };
        match mls.kind() {
            MlsKind::MlsWelcome => {
                let (candidate, setup) = self.candidate.take().context("not expected")?;
                self.stand(candidate.join(&mls.data, &setup)?)?;
                self.say(MlsKind::MlsApplied, position, |_| {});
            }
            MlsKind::MlsCommit => {
                self.learned().commits.push(mls.data.clone());
                let entering = self.entering.take_if(|(_, commit)| *commit == mls.data);
                let member = match entering {
                    Some((member, _)) => Some(member),
                    None => self.learned().member.take(),
                };
                let mut member = member.context("not a member")?;
                let change = member.handle_commit(&mls.data)?;
                if !change.removed_self {
                    self.stand(member)?;
                    self.say(MlsKind::MlsApplied, next, |_| {});
                }
            }
            MlsKind::MlsProposal => {
                if let Some(member) = &mut self.learned().member {
                    member.handle_proposal(&mls.data)?;
                }
            }
            MlsKind::MlsCommitWanted if mls.rank == 0 => {
                let commit = match &mut self.learned().member {
                    Some(member) => member.commit()?,
                    None => return Ok(()),
                };
                self.say(MlsKind::MlsCommit, position, |mls| {
                    mls.data = commit.commit.into();
                    mls.group_info = commit.group_info.into();
                    mls.welcome = commit.welcome.unwrap_or_default().into();
                });
            }
            _ => {}
        }
        Ok(())
    }
}
