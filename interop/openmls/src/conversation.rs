//! The conversation itself: who says and does what, in order.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use openmls::prelude::*;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider;

use crate::{
    client::{Client, Key, LastResort, SUITE},
    components::{
        self, PARTICIPANT_LIST, ParticipantListData, ParticipantListUpdate, ROLE_ADMIN, ROLE_MEMBER, ROLES,
        ROOM_METADATA, RichDescription, RoomMetaData, UserRolePair,
    },
    manifest::{
        Added, Branches, FORMAT, Generator, HubKey, KeyPackageEntry, Kind, Manifest, Providers, Race, Step, Suite,
    },
    names::*,
    room::{Contents, Room, record_group},
};

/// Further epochs at the end of each branch, for tests that kill leaders again and again.
const TAIL_EPOCHS: u64 = 20;

/// Plays the whole conversation and returns its recording.
pub fn play() -> Result<Manifest> {
    let hub_key = Key::generate(OpenMlsRustCrypto::default().crypto())?;
    let alice = Client::new(ALICE1, ALICE_USER, HUB_PROVIDER)?;
    let bob1 = Client::new(BOB1, BOB_USER, FOLLOWER_PROVIDER)?;
    let bob2 = Client::new(BOB2, BOB_USER, FOLLOWER_PROVIDER)?;
    let bob3 = Client::new(BOB3, BOB_USER, FOLLOWER_PROVIDER)?;

    let (bob1_package, bob1_entries) = key_packages(&bob1, 3, Some(LastResort::ComponentAndExtension))?;
    let (bob2_package, bob2_entries) = key_packages(&bob2, 3, Some(LastResort::Component))?;
    let (_, bob3_entries) = key_packages(&bob3, 2, None)?;
    let added = vec![added(BOB1, &bob1_entries[0]), added(BOB2, &bob2_entries[0])];
    let clients =
        vec![alice.entry(Vec::new()), bob1.entry(bob1_entries), bob2.entry(bob2_entries), bob3.entry(bob3_entries)];

    let mut room = Room::new(vec![alice, bob1, bob2, bob3]);
    let steps = trunk(&mut room, &hub_key, vec![bob1_package, bob2_package], added)?;
    let race = race(&mut room)?;
    let branches = Branches {
        alice: branch(&mut room.fork()?, &race.alice, BOB1)?,
        bob: branch(&mut room.fork()?, &race.bob, ALICE1)?,
    };
    Ok(Manifest {
        format: FORMAT,
        scenario: "conversation".into(),
        generator: generator()?,
        generated_at: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        suite: Suite { id: SUITE as u16, name: format!("{SUITE:?}") },
        providers: Providers { hub: HUB_PROVIDER.into(), follower: FOLLOWER_PROVIDER.into() },
        room: crate::manifest::Room { uri: ROOM_URI.into(), group_id: GROUP_ID.into() },
        hub_key: HubKey {
            development_only: true,
            identity: HUB_URI.into(),
            seed_hex: hex::encode(&hub_key.seed),
            public_hex: hex::encode(&hub_key.public),
        },
        clients,
        steps,
        race,
        branches,
    })
}

fn generator() -> Result<Generator> {
    Ok(Generator {
        program: format!("interop/openmls {}", env!("CARGO_PKG_VERSION")),
        openmls: locked_version("openmls")?,
        openmls_rust_crypto: locked_version("openmls_rust_crypto")?,
        features: vec!["extensions-draft".into()],
    })
}

/// The version of a crate that Cargo.lock pins.
fn locked_version(name: &str) -> Result<String> {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) =
        include_str!("../Cargo.lock").split_once(&entry).with_context(|| format!("no {name} in Cargo.lock"))?;
    let (version, _) = rest.split_once('"').context("a version without its end")?;
    Ok(version.to_string())
}

/// `count` KeyPackages in upload order, then one of last resort; and the first of them.
fn key_packages(
    client: &Client,
    count: usize,
    last_resort: Option<LastResort>,
) -> Result<(KeyPackage, Vec<KeyPackageEntry>)> {
    let mut made = (0..count).map(|_| client.key_package(LastResort::No)).collect::<Result<Vec<_>>>()?;
    if let Some(mark) = last_resort {
        made.push(client.key_package(mark)?);
    }
    let first = made.first().context("no KeyPackage was asked for")?.0.clone();
    Ok((first, made.into_iter().map(|(_, entry)| entry).collect()))
}

fn added(client: &str, entry: &KeyPackageEntry) -> Added {
    Added { client: client.into(), key_package_ref_hex: entry.ref_hex.clone() }
}

fn metadata(name: &str, subject: &str) -> Result<Vec<u8>> {
    components::encode(&RoomMetaData {
        room_uri: ROOM_URI.into(),
        room_name: name.into(),
        room_descriptions: vec![RichDescription {
            media_type: Vec::new(),
            language_tag: "en".into(),
            content: "Where two providers meet".into(),
        }],
        room_avatar: Vec::new(),
        room_subject: subject.into(),
        room_mood: Vec::new(),
    })
}

/// The extensions of epoch 0. The dictionary stands last: OpenMLS moves it there whenever it changes, and a hub that leaves
/// it where it was then computes the same GroupContext.
fn group_extensions(hub_key: &Key) -> Result<Extensions<GroupContext>> {
    let required = RequiredCapabilitiesExtension::new(
        &[ExtensionType::AppDataDictionary],
        &[ProposalType::AppDataUpdate],
        &[CredentialType::Basic],
    );
    let hub =
        ExternalSender::new(hub_key.public.clone().into(), BasicCredential::new(HUB_URI.as_bytes().to_vec()).into());
    let list = ParticipantListData { participants: vec![UserRolePair::new(ALICE_USER, ROLE_ADMIN)] };
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(PARTICIPANT_LIST, components::encode(&list)?);
    dictionary.insert(ROOM_METADATA, metadata("Clubhouse", "")?);
    dictionary.insert(ROLES, components::encode(&components::clubhouse_roles())?);
    Ok(Extensions::from_vec(vec![
        Extension::RequiredCapabilities(required),
        Extension::ExternalSenders(vec![hub]),
        Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
    ])?)
}

/// Epochs 0 to 3: Alice makes the room and brings Bob in, they talk, Bob renames it, his third device joins.
fn trunk(room: &mut Room, hub_key: &Key, packages: Vec<KeyPackage>, added: Vec<Added>) -> Result<Vec<Step>> {
    let alice = room.client(ALICE1)?;
    let mut create = Step::new("create_group", Kind::CreateGroup, ALICE1, 0);
    let info = alice.create_group(group_extensions(hub_key)?)?;
    record_group(&mut create, info, alice)?;

    let mut steps = vec![create, add_bob(room, packages, added)?];
    steps.push(room.say(ALICE1, "alice_welcomes", "Hello Bob, and welcome to the clubhouse.")?);
    steps.push(room.say(ALICE1, "alice_asks", "Does this reach both of your devices?")?);
    steps.push(room.say(BOB1, "bob_answers", "It does: phone and laptop, both at b.example.")?);
    steps.push(room.say(BOB1, "bob_suggests", "Could the room have a better name?")?);
    steps.push(room.say(ALICE1, "alice_agrees", "Propose one, I will commit it.")?);

    steps.push(room.propose(BOB1, "propose_rename", ROOM_METADATA, metadata("The Clubhouse on the Hill", "")?)?);
    let renamed = room.commit(ALICE1, "commit_rename", Contents { path: true, ..Contents::default() })?;
    let joined = room.join_externally(BOB3, "external_join", &renamed)?;
    steps.extend([renamed, joined]);
    Ok(steps)
}

/// One Commit: participant_list gets Bob, the group gets two of his devices, which join by the Welcome.
fn add_bob(room: &mut Room, adds: Vec<KeyPackage>, added: Vec<Added>) -> Result<Step> {
    let update = ParticipantListUpdate {
        changed_roles: Vec::new(),
        removed_indices: Vec::new(),
        added: vec![UserRolePair::new(BOB_USER, ROLE_MEMBER)],
    };
    let updates = vec![(PARTICIPANT_LIST, components::encode(&update)?)];
    let mut step = room.prepare(ALICE1, "commit_add_bob", Contents { adds, updates, path: false })?;
    step.adds = Some(added);
    room.accept(&step)?;
    let welcome = step.welcome.as_ref().context("the Add made no Welcome")?;
    let tree = step.ratchet_tree.as_ref().context("no tree to join with")?;
    for uri in [BOB1, BOB2] {
        room.client(uri)?.join_by_welcome(welcome, tree)?;
    }
    room.agree(&step)?;
    Ok(step)
}

/// Alice and Bob each make a Commit at epoch 3 and know nothing of the other's.
fn race(room: &mut Room) -> Result<Race> {
    let alice = room.prepare(ALICE1, "race_alice", Contents { path: true, ..Contents::default() })?;
    let bob = room.prepare(BOB1, "race_bob", renames("Bob's Clubhouse", "")?)?;
    Ok(Race { epoch: alice.epoch, alice, bob })
}

fn renames(name: &str, subject: &str) -> Result<Contents> {
    Ok(Contents { updates: vec![(ROOM_METADATA, metadata(name, subject)?)], path: true, ..Contents::default() })
}

/// Epochs 4 and on, when `winner` has won the race and `loser` must commit again.
fn branch(room: &mut Room, winner: &Step, loser: &'static str) -> Result<Vec<Step>> {
    room.accept(winner)?;
    let mut steps = Vec::new();
    let again = match loser {
        ALICE1 => Contents { path: true, ..Contents::default() },
        _ => renames("Bob's Clubhouse", "")?,
    };
    steps.push(room.commit(loser, "loser_commits_again", again)?);
    steps.extend(two_each(room, "settled", &[ALICE1, BOB1, BOB3])?);

    // Both are made in epoch 5. Bob's is the one that counts; Alice's shows what a different Commit for a taken epoch gets.
    let mut rival = room.prepare(ALICE1, "rival_after_kill", Contents { path: true, ..Contents::default() })?;
    rival.kind = Kind::RefusedCommit;
    steps.push(room.commit(BOB1, "commit_after_kill", Contents { path: true, ..Contents::default() })?);
    steps.push(rival);
    steps.extend(two_each(room, "after_kill", &[ALICE1, BOB1, BOB2, BOB3])?);

    steps.push(room.commit(ALICE1, "commit_final", renames("Clubhouse, still standing", "")?)?);
    steps.push(room.say(ALICE1, "final_alice", "A leader died and nobody here noticed.")?);
    steps.extend(tail(room)?);
    Ok(steps)
}

/// Two messages of each, in turn, named `stage_client_number`.
fn two_each(room: &mut Room, stage: &str, from: &[&'static str]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for round in 1..=2 {
        for uri in from {
            let who = uri.rsplit('/').next().context("an empty URI")?;
            let text = format!("{who}, {}, message {round}", stage.replace('_', " "));
            steps.push(room.say(uri, format!("{stage}_{who}_{round}"), &text)?);
        }
    }
    Ok(steps)
}

/// Alice's Commits carry an UpdatePath and nothing else, Bob's a new subject and no path: both shapes come up again and again.
fn tail(room: &mut Room) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for round in 1..=TAIL_EPOCHS {
        let step = if round % 2 == 1 {
            room.commit(ALICE1, format!("tail_{round}_commit"), Contents { path: true, ..Contents::default() })?
        } else {
            let subject = metadata("Clubhouse, still standing", &format!("Round {round}"))?;
            let contents = Contents { updates: vec![(ROOM_METADATA, subject)], ..Contents::default() };
            room.commit(BOB1, format!("tail_{round}_commit"), contents)?
        };
        steps.push(step);
        steps.push(room.say(ALICE1, format!("tail_{round}_alice"), &format!("Round {round}: Alice is still here."))?);
        steps.push(room.say(BOB1, format!("tail_{round}_bob"), &format!("Round {round}: Bob too."))?);
    }
    Ok(steps)
}
