//! An encrypted seat from join to end, against a controller and a second member
//! of the test's own, on the paused clock.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod world;

use std::time::{Duration, SystemTime};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use dt_client::{
    Account, Accounts, Alarm, AudioLevel, BadStatement, DeviceKey, EncryptionMode, Event,
    JoinError, JoinOptions, Joined, KeyHolder, MediaFrame, Meeting, MeetingAccess, Mistrust,
    Publication, Sent, Settings, Standing,
};
use dt_e2ee::{
    Claims, ControllerKey, GroupSetup, Keeper, LeafKey, Member, Opener, Sealer, Suite,
    binding_bytes, credential, frame_aad, meeting_code, pair_code,
};
use dt_frame::{DatagramHeader, Extension, Fragmenter, FrameType, OutgoingFrame, SlotLabel};
use dt_ids::{AccountId, MeetingId, ParticipantId, Slot, StreamId, StreamNumber, UserId};
use dt_token::{DeviceClaims, Jwks, Signer, SigningKey, TokenId, UnixTime};
use dt_transport::{Session, memory::Config};
use dt_wire::v1::{
    Ack, Carrier, E2eeEntry, EncodingDirective, EntryWay, GroupPosition, JoinResponse, MediaStream,
    Mls, MlsKind, Participant, ParticipantJoined, ParticipantLeft, SendDirective, StreamAssignment,
    StreamAssignments, client_message::Body as Ask, server_message::Body as Say,
};
use sha2::{Digest as _, Sha256};
use world::{Control, PARTICIPANT, Servers, access, join_response, welcome, world};

const MEETING: MeetingId = MeetingId::from_bytes([2; 16]);
const THEM: ParticipantId = ParticipantId::from_bytes([5; 16]);
const THEIRS: StreamId = StreamId::from_bytes([7; 16]);
const DEVICE: [u8; 32] = [11; 32];
const THEIR_DEVICE: [u8; 32] = [12; 32];
/// For whatever a test waits for.
const DEADLINE: Duration = Duration::from_secs(20);

fn encrypted() -> MeetingAccess {
    MeetingAccess {
        settings: Settings {
            enable_e2e_encryption: true,
        },
        ..access()
    }
}

fn options() -> JoinOptions {
    JoinOptions {
        device_key: Some(DeviceKey::from_seed(DEVICE)),
        ..JoinOptions::named("Test").publishing(Publication::microphone())
    }
}

fn controller() -> ControllerKey {
    ControllerKey::from_seed([3; 32])
}

fn setup() -> GroupSetup {
    let mut group_id = MEETING.into_bytes().to_vec();
    group_id.extend_from_slice(&1_u32.to_be_bytes());
    GroupSetup {
        group_id,
        external_sender: controller().public(),
    }
}

fn entry(way: EntryWay, epoch: u64, missed: Vec<Mls>) -> E2eeEntry {
    E2eeEntry {
        way: way.into(),
        position: Some(GroupPosition { group: 1, epoch }),
        group_id: setup().group_id.into(),
        external_sender: setup().external_sender.into(),
        sframe_suite: 4,
        missed,
        ..E2eeEntry::default()
    }
}

fn commit(epoch: u64, data: &[u8]) -> Mls {
    Mls {
        kind: MlsKind::MlsCommit.into(),
        position: Some(GroupPosition { group: 1, epoch }),
        data: data.to_vec().into(),
        ..Mls::default()
    }
}

fn their_participant() -> Participant {
    Participant {
        participant_id: THEM.to_string(),
        name: "As the roster says".into(),
        user_id: 5,
        streams: vec![MediaStream {
            stream_id: THEIRS.to_string(),
            metadata: Some(dt_wire::v1::StreamMetadata {
                codec: "opus".into(),
                ..Default::default()
            }),
            ..MediaStream::default()
        }],
        ..Participant::default()
    }
}

/// A client that founded the group, and a second member who came in.
struct Seated {
    joined: Joined,
    control: Control,
    media: Control,
    servers: Servers,
    keeper: Keeper,
    them: Member,
}

const GENERATION: u32 = 1;

impl Seated {
    /// Their microphone gets a slot.
    async fn assign_theirs(&mut self) {
        let map = StreamAssignments {
            generation: GENERATION,
            assignments: vec![StreamAssignment {
                slot: 1,
                stream_id: THEIRS.to_string(),
                user_id: 5,
                codec: "opus".into(),
                ..StreamAssignment::default()
            }],
        };
        self.control.say(0, Say::StreamAssignments(map)).await;
    }

    /// A frame of their microphone.
    fn send_theirs(&self, sealer: &mut Sealer, timestamp_us: u64) {
        let aad = frame_aad(0, &THEIRS.into_bytes(), 0, timestamp_us, false);
        let mut payload = Vec::new();
        sealer.seal(1, 0, &aad, b"theirs", &mut payload).unwrap();
        let frame = OutgoingFrame {
            frame_type: FrameType::Audio,
            timestamp_us,
            discardable: false,
            extension: Extension::audio(AudioLevel::SILENCE, 0),
            payload: payload.into(),
        };
        let mut fragmenter = Fragmenter::new(UserId(5), StreamNumber::MIN);
        let datagram = fragmenter.cut(&frame, 1100).unwrap().next().unwrap();
        let mut bytes = datagram.to_bytes().to_vec();
        DatagramHeader::rewrite_slot(&mut bytes, SlotLabel::new(GENERATION, Slot::MIN));
        self.media.session.send_datagram(bytes.into()).unwrap();
    }

    /// How the second member is shown once this is so.
    async fn shown(&self, wanted: impl Fn(&Standing) -> bool) -> KeyHolder {
        let theirs = |shown: &dt_client::Encryption| {
            let mut members = shown.members.iter();
            let theirs = members.find(|member| member.participant_id == THEM);
            theirs.filter(|member| wanted(&member.standing)).cloned()
        };
        let meeting = &self.joined.meeting;
        let shown = meeting.encryption_where(|shown| theirs(shown).is_some());
        theirs(&shown.await.unwrap()).unwrap()
    }
}

/// What an auth controller says of a device, and those who believe it.
fn statement(device_key: &[u8; 32]) -> (String, Accounts) {
    let key = SigningKey::random();
    let now = UnixTime::from(SystemTime::now());
    let claims = DeviceClaims {
        id: TokenId::random(),
        account: AccountId::from_bytes([9; 16]),
        name: "As the account is called".into(),
        thumbprint: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(device_key)),
        expires_at: UnixTime(now.0 + 3600),
    };
    let keys: Jwks = [key.public()].into_iter().collect();
    let accounts = Accounts::with_keys(&keys.to_json()).unwrap();
    (Signer::new("any", key).sign(&claims, now), accounts)
}

/// The next message of MLS, acknowledged.
async fn mls(control: &mut Control) -> Mls {
    loop {
        let (id, body) = control.request().await;
        if let Ask::Mls(mls) = body {
            control.say(id, Say::Ack(Ack {})).await;
            return mls;
        }
    }
}

async fn seated() -> Seated {
    seated_with("", None).await
}

/// The second member shows this statement.
async fn seated_with(statement: &str, accounts: Option<Accounts>) -> Seated {
    let (world, mut servers) = world(Config {
        latency: Duration::from_millis(20),
        ..Config::default()
    });
    let access = MeetingAccess {
        accounts,
        ..encrypted()
    };
    let joining = tokio::spawn(Meeting::join_over(world.clone(), access, options()));
    let mut control = Control::accept(servers.signaling.recv().await.unwrap()).await;
    let (join, Ask::JoinRequest(request)) = control.request().await else {
        panic!("the first message is the join");
    };
    let offer = request.e2ee.unwrap();
    assert_eq!((offer.version, offer.position), (1, None));
    let response = JoinResponse {
        e2ee: Some(entry(EntryWay::Found, 0, Vec::new())),
        ..join_response(b"resume-1")
    };
    control.say(join, Say::JoinResponse(response)).await;
    let founded = mls(&mut control).await;
    assert_eq!(founded.kind(), MlsKind::MlsFounded);
    let mut keeper = Keeper::found(&setup(), &founded.group_info).unwrap();
    let (media, _) = welcome(servers.media.recv().await.unwrap()).await;
    let joined = joining.await.unwrap().unwrap();
    assert!(joined.meeting.encryption().encrypted);

    let participant = Some(their_participant());
    let say = Say::ParticipantJoined(ParticipantJoined { participant });
    control.say(0, say).await;
    let device = dt_e2ee::DeviceKey::from_seed(THEIR_DEVICE);
    let claims = Claims {
        meeting_id: MEETING.to_string(),
        participant_id: THEM.to_string(),
        name: "As their device says".into(),
    };
    let leaf = LeafKey::generate().unwrap();
    let signature = device.sign(&binding_bytes(&claims, leaf.public()));
    let credential = credential(&claims, &device.public(), &signature, statement);
    let (mut them, theirs) =
        Member::enter(leaf, credential, &setup(), &founded.group_info).unwrap();
    keeper.apply(&theirs.commit, &theirs.group_info).unwrap();
    them.handle_commit(&theirs.commit).unwrap();
    control.say(0, Say::Mls(commit(0, &theirs.commit))).await;
    let applied = mls(&mut control).await;
    assert_eq!(applied.kind(), MlsKind::MlsApplied);
    assert_eq!(applied.position.unwrap().epoch, 1);
    Seated {
        joined,
        control,
        media,
        servers,
        keeper,
        them,
    }
}

#[tokio::test(start_paused = true)]
async fn who_holds_the_keys_is_shown_with_codes_by_their_own_credentials() {
    let seated = seated().await;
    let meeting = &seated.joined.meeting;
    let wanted = |shown: &dt_client::Encryption| shown.position == Some((1, 1));
    let shown = meeting.encryption_where(wanted).await.unwrap();
    let authenticator = seated.them.keys(Suite::Aes128Gcm).unwrap().authenticator;
    assert_eq!(shown.meeting_code, Some(meeting_code(&authenticator)));
    let [own, theirs] = &shown.members[..] else {
        panic!("two members: {shown:?}");
    };
    assert_eq!((own.participant_id, &own.pair_code), (PARTICIPANT, &None));
    assert_eq!(own.device_key, DeviceKey::from_seed(DEVICE).public());
    assert_eq!(theirs.name, "As their device says");
    let code = pair_code(&own.device_key, &theirs.device_key);
    assert_eq!(theirs.pair_code, Some(code));
    assert_eq!(shown.alarms, []);
}

#[tokio::test(start_paused = true)]
async fn frames_travel_sealed_both_ways() {
    let mut seated = seated().await;
    let mut publisher = seated.joined.publishers.pop().unwrap();
    let stream = publisher.stream_id();
    let directive = SendDirective {
        encodings: vec![EncodingDirective {
            stream_id: stream.to_string(),
            active: true,
            carrier: Carrier::Datagram.into(),
            ..EncodingDirective::default()
        }],
    };
    seated.control.say(0, Say::SendDirective(directive)).await;
    let wanted = |shown: &dt_client::Encryption| shown.position == Some((1, 1));
    seated
        .joined
        .meeting
        .encryption_where(wanted)
        .await
        .unwrap();
    while !publisher.is_active() {
        publisher.directive_changed().await;
    }
    let sound = Bytes::from_static(b"what only the members may hear");
    let level = dt_client::AudioLevel::SILENCE;
    let mut sent = MediaFrame::audio(1_000, level, sound.clone());
    assert_eq!(publisher.send(&sent), Sent::Queued);
    let datagram = seated.media.session.recv_datagram().await.unwrap();
    let (header, sealed) = DatagramHeader::split(datagram).unwrap();
    assert!(!sealed.windows(8).any(|window| sound.starts_with(window)));
    let mut opener = Opener::new(Suite::Aes128Gcm);
    let keys = seated.them.keys(Suite::Aes128Gcm).unwrap();
    opener.add_epoch(&keys, 0);
    let aad = frame_aad(0, &stream.into_bytes(), 0, 1_000, false);
    let mut opened = Vec::new();
    let by = opener.open(&aad, &sealed, &mut opened, 0).unwrap();
    assert_eq!((opened, by.leaf, by.counter), (sound.to_vec(), 0, 0));
    assert_eq!(u32::from(by.stream), header.stream);

    seated.assign_theirs().await;
    let mut sealer = Sealer::new(Suite::Aes128Gcm);
    sealer.set_epoch(&keys);
    seated.send_theirs(&mut sealer, 2_000);
    let frame = seated.joined.frames.recv().await.unwrap();
    assert_eq!(&frame.payload[..], b"theirs");

    // Without keys nothing goes out, sealed or not.
    let stranding = entry(EntryWay::BeAdded, 1, Vec::new());
    seated.control.say(0, Say::E2eeEntry(stranding)).await;
    assert_eq!(
        mls(&mut seated.control).await.kind(),
        MlsKind::MlsKeyPackage
    );
    sent.timestamp_us += 20_000;
    assert_eq!(publisher.send(&sent), Sent::Paused);
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_is_resumed_with_the_group_in_memory() {
    let Seated {
        joined,
        control,
        mut servers,
        mut keeper,
        mut them,
        ..
    } = seated().await;
    drop(control);
    let mut control = Control::accept(servers.signaling.recv().await.unwrap()).await;
    // Fresh keys meanwhile.
    let rotation = them.commit().unwrap();
    keeper
        .apply(&rotation.commit, &rotation.group_info)
        .unwrap();
    them.handle_commit(&rotation.commit).unwrap();
    let (join, Ask::JoinRequest(request)) = control.request().await else {
        panic!("the first message is the join");
    };
    let position = request.e2ee.unwrap().position.unwrap();
    assert_eq!((position.group, position.epoch), (1, 1));
    let mut response = JoinResponse {
        existing_participants: vec![their_participant()],
        e2ee: Some(entry(
            EntryWay::CatchUp,
            2,
            vec![commit(1, &rotation.commit)],
        )),
        ..join_response(b"resume-2")
    };
    response.resumed = true;
    control.say(join, Say::JoinResponse(response)).await;
    let applied = mls(&mut control).await;
    assert_eq!(applied.kind(), MlsKind::MlsApplied);
    assert_eq!(applied.position.unwrap().epoch, 2);
    let wanted = |shown: &dt_client::Encryption| shown.position == Some((1, 2));
    let shown = joined.meeting.encryption_where(wanted).await.unwrap();
    let authenticator = them.keys(Suite::Aes128Gcm).unwrap().authenticator;
    assert_eq!(shown.meeting_code, Some(meeting_code(&authenticator)));
}

#[tokio::test(start_paused = true)]
async fn who_has_left_and_keeps_the_keys_raises_an_alarm() {
    let mut seated = seated().await;
    let left = ParticipantLeft {
        participant_id: THEM.to_string(),
        ..ParticipantLeft::default()
    };
    seated.control.say(0, Say::ParticipantLeft(left)).await;
    let since = tokio::time::Instant::now();
    let echo = tokio::spawn(async move { seated.control.idle().await });
    let alarm = loop {
        if let Event::EncryptionAlarm(alarm) = seated.joined.events.recv().await.unwrap() {
            break alarm;
        }
    };
    assert!(since.elapsed() >= Duration::from_secs(2));
    assert!(matches!(alarm, Alarm::StillThere { participant_id, .. } if participant_id == THEM));
    echo.abort();
}

#[tokio::test(start_paused = true)]
async fn a_member_is_shown_by_the_account_that_its_statement_names() {
    let device = dt_e2ee::DeviceKey::from_seed(THEIR_DEVICE).public();
    let (statement, accounts) = statement(&device);
    let mut seated = seated_with(&statement, Some(accounts)).await;
    let verified = |standing: &Standing| matches!(standing, Standing::Verified(_));
    let theirs = seated.shown(verified).await;
    let account = Account {
        subject: AccountId::from_bytes([9; 16]),
        name: "As the account is called".into(),
    };
    assert_eq!(theirs.standing, Standing::Verified(account));
    assert_eq!(theirs.name, "As their device says");
    let own = &seated.joined.meeting.encryption().members[0];
    assert_eq!(own.standing, Standing::Guest);
    seated.assign_theirs().await;
    let mut sealer = Sealer::new(Suite::Aes128Gcm);
    sealer.set_epoch(&seated.them.keys(Suite::Aes128Gcm).unwrap());
    seated.send_theirs(&mut sealer, 2_000);
    assert!(seated.joined.frames.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_bad_statement_raises_an_alarm_and_its_member_is_not_heard() {
    // About another device: taken from somebody's credential.
    let (statement, accounts) = statement(&[1; 32]);
    let mut seated = seated_with(&statement, Some(accounts)).await;
    let bad = Mistrust::from(BadStatement::OtherDevice);
    let alarm = async {
        loop {
            if let Event::EncryptionAlarm(alarm) = seated.joined.events.recv().await.unwrap() {
                return alarm;
            }
        }
    };
    let alarm = tokio::time::timeout(DEADLINE, alarm).await.unwrap();
    let wanted = Alarm::NotTrustworthy {
        leaf: 1,
        reason: bad.clone(),
    };
    assert_eq!(alarm, wanted);
    let not_trustworthy = Standing::NotTrustworthy(bad);
    seated.shown(|standing| *standing == not_trustworthy).await;
    seated.assign_theirs().await;
    let mut sealer = Sealer::new(Suite::Aes128Gcm);
    sealer.set_epoch(&seated.them.keys(Suite::Aes128Gcm).unwrap());
    for number in 1..=3 {
        seated.send_theirs(&mut sealer, 2_000 * number);
    }
    let meeting = &seated.joined.meeting;
    // None is given out, and each is counted.
    let frame = tokio::time::timeout(Duration::from_secs(1), seated.joined.frames.recv());
    assert!(frame.await.is_err());
    assert_eq!(meeting.receive_stats().decrypt_failures, 3);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_gives_the_keys_a_statement_is_unchecked_and_no_alarm() {
    let device = dt_e2ee::DeviceKey::from_seed(THEIR_DEVICE).public();
    let (statement, _) = statement(&device);
    // Nobody listens on the discard port.
    let nowhere = dt_client::Api::new("http://127.0.0.1:9/api/v1").unwrap();
    let mut seated = seated_with(&statement, Some(nowhere.accounts())).await;
    let unchecked = |standing: &Standing| *standing == Standing::Unchecked;
    seated.shown(unchecked).await;
    seated.assign_theirs().await;
    let mut sealer = Sealer::new(Suite::Aes128Gcm);
    sealer.set_epoch(&seated.them.keys(Suite::Aes128Gcm).unwrap());
    seated.send_theirs(&mut sealer, 2_000);
    let Seated {
        joined,
        mut control,
        ..
    } = seated;
    let mut frames = joined.frames;
    assert!(frames.recv().await.is_some(), "it is heard as guests are");
    let echo = tokio::spawn(async move { control.idle().await });
    tokio::time::sleep(Duration::from_secs(60)).await;
    echo.abort();
    let shown = joined.meeting.encryption();
    assert_eq!(shown.members[1].standing, Standing::Unchecked);
    assert_eq!(shown.alarms, []);
}

/// What becomes of a join that the controller answers like this.
async fn answered(
    access: MeetingAccess,
    mode: EncryptionMode,
    e2ee: Option<E2eeEntry>,
) -> Result<Joined, JoinError> {
    let (world, mut servers) = world(Config::default());
    let options = JoinOptions {
        encryption: mode,
        ..options()
    };
    let joining = tokio::spawn(Meeting::join_over(world, access, options));
    if let Some(session) = servers.signaling.recv().await {
        let mut control = Control::accept(session).await;
        let (join, _) = control.request().await;
        let response = JoinResponse {
            e2ee,
            ..join_response(b"resume-1")
        };
        control.say(join, Say::JoinResponse(response)).await;
        return joining.await.unwrap();
    }
    joining.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_meeting_is_never_joined_with_less_encryption_than_was_said() {
    use EncryptionMode::{Allowed, Never, Required};
    let found = || Some(entry(EntryWay::Found, 0, Vec::new()));
    let downgraded = answered(encrypted(), Allowed, None).await;
    assert!(matches!(downgraded, Err(JoinError::NotEncrypted)));
    let required = answered(access(), Required, None).await;
    assert!(matches!(required, Err(JoinError::NotEncrypted)));
    let refused = answered(encrypted(), Never, found()).await;
    assert!(matches!(refused, Err(JoinError::Encrypted)));
    let surprised = answered(access(), Never, found()).await;
    assert!(matches!(surprised, Err(JoinError::Encrypted)));
    assert!(answered(access(), Allowed, None).await.is_ok());
    let upgraded = answered(access(), Allowed, found()).await.unwrap();
    assert!(upgraded.meeting.encryption().encrypted);
    let clear = answered(access(), Never, None).await.unwrap();
    assert!(!clear.meeting.encryption().encrypted);
}
