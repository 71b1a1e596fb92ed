//! Verifies a recording without any client's secrets, as a hub could: OpenMLS's public group follows every handshake of both
//! branches. What needs secrets (decryption, membership and confirmation tags) was verified by the clients as they played.

use anyhow::{Context, Result, bail, ensure};
use openmls::prelude::{tls_codec::Deserialize, tls_codec::Serialize, *};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::{OpenMlsProvider, crypto::OpenMlsCrypto, types::SignatureScheme};

use crate::{
    components::{self, LAST_RESORT},
    manifest::{Bytes, ClientEntry, KeyPackageEntry, Kind, Manifest, Step},
    view,
};

/// Verifies everything; the answer is a summary for people.
pub fn check(manifest: &Manifest) -> Result<String> {
    let mls = OpenMlsRustCrypto::default();
    key_pair(&mls, &manifest.hub_key.seed_hex, &manifest.hub_key.public_hex).context("the hub's key")?;
    let mut packages = 0;
    for client in &manifest.clients {
        let key = &client.signature_key;
        key_pair(&mls, &key.seed_hex, &key.public_hex).with_context(|| format!("the key of {}", client.uri))?;
        for entry in &client.key_packages {
            key_package(&mls, client, entry).with_context(|| format!("a KeyPackage of {}", client.uri))?;
            packages += 1;
        }
    }
    let mut told = Vec::new();
    for (won, lost, after) in [
        (&manifest.race.alice, &manifest.race.bob, &manifest.branches.alice),
        (&manifest.race.bob, &manifest.race.alice, &manifest.branches.bob),
    ] {
        let mut hub = Hub::open(manifest)?;
        for step in manifest.steps.iter().skip(1).chain([won]) {
            hub.take(step).with_context(|| format!("step {}", step.name))?;
        }
        hub.refuse(lost).with_context(|| format!("step {} after {}", lost.name, won.name))?;
        for step in after {
            hub.take(step).with_context(|| format!("step {} after {}", step.name, won.name))?;
        }
        told.push(format!("{} steps to epoch {}", manifest.steps.len() + 2 + after.len(), hub.epoch()));
    }
    Ok(format!("{packages} KeyPackages; {} if Alice wins the race, {} if Bob does", told[0], told[1]))
}

/// The private half fits the public one: what it signs, the public half verifies.
fn key_pair(mls: &OpenMlsRustCrypto, seed_hex: &str, public_hex: &str) -> Result<()> {
    let (seed, public) = (hex::decode(seed_hex)?, hex::decode(public_hex)?);
    let signature = mls.crypto().sign(SignatureScheme::ED25519, b"probe", &seed)?;
    Ok(mls.crypto().verify_signature(SignatureScheme::ED25519, b"probe", &public, &signature)?)
}

fn key_package(mls: &OpenMlsRustCrypto, client: &ClientEntry, entry: &KeyPackageEntry) -> Result<()> {
    let MlsMessageBodyIn::KeyPackage(package) = read(&entry.key_package)?.extract() else {
        bail!("not a KeyPackage");
    };
    let package = package.validate(mls.crypto(), ProtocolVersion::Mls10)?;
    ensure!(hex::encode(package.hash_ref(mls.crypto())?.as_slice()) == entry.ref_hex, "another KeyPackageRef");
    let leaf = package.leaf_node();
    ensure!(leaf.credential().serialized_content() == client.uri.as_bytes(), "another client's credential");
    ensure!(hex::encode(leaf.signature_key().as_slice()) == client.signature_key.public_hex, "another signature key");
    let life = package.life_time();
    ensure!((life.not_before(), life.not_after()) == (entry.not_before, entry.not_after), "another lifetime");
    let marked = package.extensions().app_data_dictionary().is_some_and(|d| d.dictionary().contains(&LAST_RESORT));
    ensure!(marked == entry.last_resort, "last resort is marked {marked}");
    Ok(())
}

/// A public group that follows the handshakes, and the manifest that it is compared with.
struct Hub<'a> {
    manifest: &'a Manifest,
    mls: OpenMlsRustCrypto,
    group: PublicGroup,
}

impl<'a> Hub<'a> {
    /// Starts from the first step, the room's creation.
    fn open(manifest: &'a Manifest) -> Result<Self> {
        let mls = OpenMlsRustCrypto::default();
        let create = manifest.steps.first().context("no steps")?;
        ensure!(create.kind == Kind::CreateGroup, "the first step does not create the group");
        let group = public_group(&mls, create)?;
        let hub = Self { manifest, mls, group };
        hub.compare(create).context("step create_group")?;
        ensure!(hub.group.group_id().as_slice() == manifest.room.group_id.as_bytes(), "another group_id");
        let senders = hub.group.group_context().extensions().external_senders().context("no external_senders")?;
        let expected = ExternalSender::new(
            hex::decode(&manifest.hub_key.public_hex)?.into(),
            BasicCredential::new(manifest.hub_key.identity.as_bytes().to_vec()).into(),
        );
        ensure!(senders == &vec![expected], "external_senders is not the hub's one key");
        Ok(hub)
    }

    fn epoch(&self) -> u64 {
        self.group.group_context().epoch().as_u64()
    }

    fn take(&mut self, step: &Step) -> Result<()> {
        match step.kind {
            Kind::Commit | Kind::ExternalCommit => self.commit(step),
            Kind::Proposal => self.proposal(step),
            Kind::Message => self.message(step),
            Kind::RefusedCommit => self.refuse(step),
            Kind::CreateGroup => bail!("the group exists already"),
        }
    }

    /// An application message: PrivateMessage of this group and epoch. Only members can see more.
    fn message(&self, step: &Step) -> Result<()> {
        let message = protocol_message(step.message.as_ref(), WireFormat::PrivateMessage)?;
        ensure!(message.content_type() == ContentType::Application, "not an application message");
        ensure!(message.group_id() == self.group.group_id(), "another group");
        ensure!(message.epoch().as_u64() == step.epoch && step.epoch == self.epoch(), "another epoch");
        ensure!(step.plaintext.is_some(), "no plaintext");
        Ok(())
    }

    fn proposal(&mut self, step: &Step) -> Result<()> {
        let message = protocol_message(step.proposal.as_ref(), WireFormat::PublicMessage)?;
        let processed = self.group.process_message(self.mls.crypto(), message)?;
        self.sender(step, &processed)?;
        let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
            bail!("not a Proposal");
        };
        let reference = hex::encode(proposal.proposal_reference_ref().as_slice());
        ensure!(step.proposal_refs_hex == Some(vec![reference]), "another ProposalRef");
        self.group.add_proposal(self.mls.storage(), *proposal)?;
        Ok(())
    }

    fn commit(&mut self, step: &Step) -> Result<()> {
        ensure!(step.epoch == self.epoch(), "the Commit is for epoch {}, the group is at {}", step.epoch, self.epoch());
        let message = protocol_message(step.commit.as_ref(), WireFormat::PublicMessage)?;
        let processed = self.group.process_message(self.mls.crypto(), message)?;
        self.sender(step, &processed)?;
        let staged = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(commit) => {
                let mut dictionary = self.group.app_data_dictionary_updater();
                components::apply(&mut dictionary, commit.app_data_update_proposals())?;
                let changes = dictionary.changes();
                self.group.stage_app_data_commit(self.mls.crypto(), *commit, changes)?
            }
            other => bail!("not a Commit: {other:?}"),
        };
        self.welcome(step, &staged)?;
        self.group.merge_commit(self.mls.storage(), staged)?;
        self.compare(step)
    }

    /// The Adds of the Commit are those that the step lists, and the Welcome names each of their KeyPackages.
    fn welcome(&self, step: &Step, staged: &StagedCommit) -> Result<()> {
        let references = staged
            .add_proposals()
            .map(|add| Ok(hex::encode(add.add_proposal().key_package().hash_ref(self.mls.crypto())?.as_slice())))
            .collect::<Result<Vec<_>>>()?;
        let listed: Vec<_> = step.adds.iter().flatten().map(|a| a.key_package_ref_hex.clone()).collect();
        ensure!(references == listed, "the Commit adds others than the step lists");
        let Some(welcome) = &step.welcome else {
            ensure!(listed.is_empty(), "clients were added without a Welcome");
            return Ok(());
        };
        ensure!(read(welcome)?.wire_format() == WireFormat::Welcome, "not a Welcome");
        for reference in listed {
            let reference = hex::decode(reference)?;
            ensure!(welcome.0.windows(reference.len()).any(|w| w == reference), "the Welcome misses a KeyPackage");
        }
        Ok(())
    }

    /// A Commit that comes too late: well formed, of an epoch that is over.
    fn refuse(&self, step: &Step) -> Result<()> {
        let message = protocol_message(step.commit.as_ref(), WireFormat::PublicMessage)?;
        ensure!(message.content_type() == ContentType::Commit, "not a Commit");
        ensure!(message.epoch().as_u64() == step.epoch && step.epoch + 1 == self.epoch(), "not of the epoch before");
        ensure!(self.group.process_message(self.mls.crypto(), message).is_err(), "a Commit of a past epoch was taken");
        Ok(())
    }

    fn sender(&self, step: &Step, message: &ProcessedMessage) -> Result<()> {
        let from = message.credential().serialized_content();
        ensure!(from == step.from.as_bytes(), "sent by {}", String::from_utf8_lossy(from));
        Ok(())
    }

    /// The group is where the step says, and what it brought for joiners is true.
    fn compare(&self, step: &Step) -> Result<()> {
        let known = self.manifest.clients.iter().any(|c| c.uri == step.from);
        ensure!(known, "{} is not a client of the manifest", step.from);
        ensure!(step.after == Some(view::after(&self.group)?), "the group's state differs");
        let context = Bytes(self.group.group_context().tls_serialize_detached()?);
        ensure!(step.group_context.as_ref() == Some(&context), "the GroupContext differs");
        let tree = Bytes(self.group.export_ratchet_tree().tls_serialize_detached()?);
        ensure!(step.ratchet_tree.as_ref() == Some(&tree), "the ratchet tree differs");
        let told = public_group(&OpenMlsRustCrypto::default(), step)?;
        ensure!(told.group_context() == self.group.group_context(), "the GroupInfo's GroupContext differs");
        ensure!(told.confirmation_tag() == self.group.confirmation_tag(), "the GroupInfo's confirmation_tag differs");
        Ok(())
    }
}

/// Opens a step's GroupInfo with its tree, which verifies the signature, the tree hash and every leaf.
fn public_group(mls: &OpenMlsRustCrypto, step: &Step) -> Result<PublicGroup> {
    let info = step.group_info.as_ref().context("no GroupInfo")?;
    let tree = step.ratchet_tree.as_ref().context("no ratchet tree")?;
    let MlsMessageBodyIn::GroupInfo(info) = read(info)?.extract() else {
        bail!("not a GroupInfo");
    };
    let extensions: Vec<_> = info.extensions().iter().map(Extension::extension_type).collect();
    ensure!(extensions == [ExtensionType::ExternalPub], "the GroupInfo's extensions are {extensions:?}");
    let tree = RatchetTreeIn::tls_deserialize_exact(&tree.0)?;
    let (group, _) = PublicGroup::from_external(mls.crypto(), mls.storage(), tree, info, ProposalStore::new())?;
    Ok(group)
}

fn read(message: &Bytes) -> Result<MlsMessageIn> {
    Ok(MlsMessageIn::tls_deserialize_exact(&message.0)?)
}

fn protocol_message(message: Option<&Bytes>, format: WireFormat) -> Result<ProtocolMessage> {
    let message = read(message.context("no message")?)?;
    ensure!(message.wire_format() == format, "the wire format is {:?}", message.wire_format());
    Ok(message.try_into_protocol_message()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation;

    /// A recording that was just played is good; with one octet changed anywhere in a checked field it is not.
    #[test]
    fn a_changed_octet_is_found() {
        let good = conversation::play().expect("play");
        check(&good).expect("the recording as it was played");

        type Field = fn(&mut Manifest) -> &mut Bytes;
        let fields: [(&str, Field); 8] = [
            ("KeyPackage", |m| &mut m.clients[1].key_packages[0].key_package),
            ("first GroupInfo", |m| m.steps[0].group_info.as_mut().expect("GroupInfo")),
            ("first tree", |m| m.steps[0].ratchet_tree.as_mut().expect("tree")),
            ("Commit", |m| m.steps[1].commit.as_mut().expect("Commit")),
            ("race of Bob", |m| m.race.bob.commit.as_mut().expect("Commit")),
            ("last GroupInfo", |m| {
                m.branches.bob.iter_mut().rev().find_map(|s| s.group_info.as_mut()).expect("GroupInfo")
            }),
            ("GroupContext", |m| m.branches.alice[0].group_context.as_mut().expect("GroupContext")),
            ("tree", |m| m.branches.alice[0].ratchet_tree.as_mut().expect("tree")),
        ];
        let text = serde_json::to_string(&good).expect("encode");
        for (name, field) in fields {
            let mut changed: Manifest = serde_json::from_str(&text).expect("decode");
            let bytes = field(&mut changed);
            let middle = bytes.0.len() / 2;
            bytes.0[middle] ^= 1;
            assert!(check(&changed).is_err(), "a changed octet in the {name} went unnoticed");
        }
    }
}
