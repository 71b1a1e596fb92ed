//! One MLS client: its keys, its own storage, and its view of the group. Everything that it receives, it receives as bytes.

use anyhow::{Context, Result, anyhow, bail, ensure};
use openmls::{
    component::ComponentId,
    messages::proposals::AppDataUpdateProposal,
    prelude::{tls_codec::Deserialize, tls_codec::Serialize, *},
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::{OpenMlsProvider, crypto::OpenMlsCrypto, types::SignatureScheme};

use crate::{
    components::{self, APP_COMPONENTS, ComponentsList, LAST_RESORT, PARTICIPANT_LIST, ROLES, ROOM_METADATA},
    manifest::{After, Bytes, ClientEntry, KeyPackageEntry, SignatureKey},
    names::{GROUP_ID, NOT_AFTER_SECONDS, NOT_BEFORE_SECONDS},
    view,
};

pub const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// How a KeyPackage says that it is one of last resort: the component of the current mls-extensions draft, and beside it
/// the older extension 0x000a, the only mark that OpenMLS itself reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LastResort {
    No,
    Component,
    ComponentAndExtension,
}

/// An Ed25519 key pair; the private half is its 32-octet seed.
pub struct Key {
    pub seed: Vec<u8>,
    pub public: Vec<u8>,
}

impl Key {
    pub fn generate(crypto: &impl OpenMlsCrypto) -> Result<Self> {
        let (seed, public) =
            crypto.signature_key_gen(SignatureScheme::ED25519).map_err(|e| anyhow!("make a key: {e:?}"))?;
        Ok(Self { seed, public })
    }

    fn signer(&self) -> SignatureKeyPair {
        SignatureKeyPair::from_raw(SignatureScheme::ED25519, self.seed.clone(), self.public.clone())
    }
}

pub struct Client {
    pub uri: &'static str,
    user: &'static str,
    domain: &'static str,
    mls: OpenMlsRustCrypto,
    key: Key,
    group: Option<MlsGroup>,
}

/// What a client made of a message.
pub enum Received {
    Application(Vec<u8>),
    Proposal,
    Commit,
}

/// What a committer sends, and the group that results.
pub struct Committed {
    pub commit: Bytes,
    pub welcome: Option<Bytes>,
    pub group_info: Bytes,
}

impl Client {
    pub fn new(uri: &'static str, user: &'static str, domain: &'static str) -> Result<Self> {
        let mls = OpenMlsRustCrypto::default();
        let key = Key::generate(mls.crypto())?;
        Ok(Self { uri, user, domain, mls, key, group: None })
    }

    /// A second copy of this client, as it is now: its storage copied and its group loaded anew.
    pub fn fork(&self) -> Result<Self> {
        let mls = OpenMlsRustCrypto::default();
        {
            let from = self.mls.storage().values.read().map_err(|_| anyhow!("storage lock"))?;
            *mls.storage().values.write().map_err(|_| anyhow!("storage lock"))? = from.clone();
        }
        let group = match &self.group {
            Some(group) => MlsGroup::load(mls.storage(), group.group_id())?,
            None => None,
        };
        ensure!(group.is_some() == self.group.is_some(), "{}: the copied storage holds no group", self.uri);
        let key = Key { seed: self.key.seed.clone(), public: self.key.public.clone() };
        Ok(Self { uri: self.uri, user: self.user, domain: self.domain, mls, key, group })
    }

    pub fn entry(&self, key_packages: Vec<KeyPackageEntry>) -> ClientEntry {
        ClientEntry {
            uri: self.uri.into(),
            user: self.user.into(),
            provider: self.domain.into(),
            signature_key: SignatureKey {
                development_only: true,
                seed_hex: hex::encode(&self.key.seed),
                public_hex: hex::encode(&self.key.public),
            },
            key_packages,
        }
    }

    fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.uri.as_bytes().to_vec()).into(),
            signature_key: self.key.public.clone().into(),
        }
    }

    pub fn key_package(&self, last_resort: LastResort) -> Result<(KeyPackage, KeyPackageEntry)> {
        let mut builder = KeyPackage::builder()
            .key_package_lifetime(lifetime())
            .leaf_node_capabilities(capabilities())
            .leaf_node_extensions(leaf_extensions()?);
        if last_resort != LastResort::No {
            let mut marks = AppDataDictionary::new();
            marks.insert(LAST_RESORT, Vec::new());
            builder = builder.key_package_extensions(Extensions::single(Extension::AppDataDictionary(
                AppDataDictionaryExtension::new(marks),
            ))?);
        }
        if last_resort == LastResort::ComponentAndExtension {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder.build(SUITE, &self.mls, &self.key.signer(), self.credential())?;
        let package = bundle.into_key_package();
        let entry = KeyPackageEntry {
            key_package: Bytes(MlsMessageOut::from(package.clone()).tls_serialize_detached()?),
            ref_hex: hex::encode(package.hash_ref(self.mls.crypto())?.as_slice()),
            not_before: package.life_time().not_before(),
            not_after: package.life_time().not_after(),
            last_resort: last_resort != LastResort::No,
        };
        Ok((package, entry))
    }

    /// Makes the group at epoch 0 and gives its GroupInfo.
    pub fn create_group(&mut self, extensions: Extensions<GroupContext>) -> Result<Bytes> {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(GROUP_ID.as_bytes()))
            .ciphersuite(SUITE)
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(false)
            .with_capabilities(capabilities())
            .with_leaf_node_extensions(leaf_extensions()?)?
            .lifetime(lifetime())
            .with_group_context_extensions(extensions)
            .build(&self.mls, &self.key.signer(), self.credential())?;
        self.group = Some(group);
        self.export_group_info()
    }

    pub fn join_by_welcome(&mut self, welcome: &Bytes, tree: &Bytes) -> Result<()> {
        let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact(&welcome.0)?.extract() else {
            bail!("not a Welcome");
        };
        let tree = RatchetTreeIn::tls_deserialize_exact(&tree.0)?;
        let staged = StagedWelcome::new_from_welcome(&self.mls, &join_config(), welcome, Some(tree))?;
        self.group = Some(staged.into_group(&self.mls)?);
        Ok(())
    }

    /// Joins by external Commit from a GroupInfo and a tree, and gives what it sends.
    pub fn join_by_external_commit(&mut self, group_info: &Bytes, tree: &Bytes) -> Result<Committed> {
        let MlsMessageBodyIn::GroupInfo(info) = MlsMessageIn::tls_deserialize_exact(&group_info.0)?.extract() else {
            bail!("not a GroupInfo");
        };
        let leaf =
            LeafNodeParameters::builder().with_capabilities(capabilities()).with_extensions(leaf_extensions()?).build();
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(&tree.0)?)
            .with_config(join_config())
            .build_group(&self.mls, info, self.credential())?
            .leaf_node_parameters(leaf)
            .load_psks(self.mls.storage())?
            .create_group_info(true)
            .build(self.mls.rand(), self.mls.crypto(), &self.key.signer(), |_| true)?
            .finalize(&self.mls)?;
        self.group = Some(group);
        let committed = committed(bundle)?;
        ensure!(committed.group_info == self.export_group_info()?, "the joiner's two GroupInfos differ");
        Ok(committed)
    }

    /// Makes a Commit of the pending proposals by reference and of `adds` and `updates` by value; `path` asks for an
    /// UpdatePath where none is needed. The Commit stays pending until `merge` or `receive` of another.
    pub fn commit(
        &mut self,
        adds: Vec<KeyPackage>,
        updates: Vec<(ComponentId, Vec<u8>)>,
        path: bool,
    ) -> Result<Committed> {
        let signer = self.key.signer();
        let group = self.group.as_mut().context("not a member")?;
        let updates = updates
            .into_iter()
            .map(|(id, data)| Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(id, data))));
        let mut builder = group
            .commit_builder()
            .add_proposals(updates)
            .propose_adds(adds)
            .force_self_update(path)
            .load_psks(self.mls.storage())?
            .create_group_info(true);
        let mut dictionary = builder.app_data_dictionary_updater();
        components::apply(&mut dictionary, builder.app_data_update_proposals())?;
        let changes = dictionary.changes();
        builder.with_app_data_dictionary_updates(changes);
        let bundle = builder.build(self.mls.rand(), self.mls.crypto(), &signer, |_| true)?.stage_commit(&self.mls)?;
        committed(bundle)
    }

    /// The hub took the pending Commit.
    pub fn merge(&mut self) -> Result<()> {
        let group = self.group.as_mut().context("not a member")?;
        ensure!(group.pending_commit().is_some(), "{} has no pending Commit", self.uri);
        group.merge_pending_commit(&self.mls)?;
        Ok(())
    }

    /// The hub refused the pending Commit.
    pub fn discard(&mut self) -> Result<()> {
        let group = self.group.as_mut().context("not a member")?;
        ensure!(group.pending_commit().is_some(), "{} has no pending Commit", self.uri);
        group.clear_pending_commit(self.mls.storage())?;
        Ok(())
    }

    /// Proposes a component's update by reference: the Proposal and its ProposalRef in hex.
    pub fn propose(&mut self, id: ComponentId, update: Vec<u8>) -> Result<(Bytes, String)> {
        let signer = self.key.signer();
        let group = self.group.as_mut().context("not a member")?;
        let (message, reference) = group.propose(
            &self.mls,
            &signer,
            Propose::UpdateAppDataComponent { component_id: id, update },
            ProposalOrRefType::Reference,
        )?;
        Ok((Bytes(message.tls_serialize_detached()?), hex::encode(reference.as_slice())))
    }

    pub fn send(&mut self, plaintext: &str) -> Result<Bytes> {
        let signer = self.key.signer();
        let group = self.group.as_mut().context("not a member")?;
        let message = group.create_message(&self.mls, &signer, plaintext.as_bytes())?;
        Ok(Bytes(message.tls_serialize_detached()?))
    }

    /// Processes another client's message; a Commit is applied at once.
    pub fn receive(&mut self, message: &Bytes) -> Result<Received> {
        let message = MlsMessageIn::tls_deserialize_exact(&message.0)?.try_into_protocol_message()?;
        let group = self.group.as_mut().context("not a member")?;
        let staged = match group.process_message(&self.mls, message)?.into_content() {
            ProcessedMessageContent::ApplicationMessage(m) => return Ok(Received::Application(m.into_bytes())),
            ProcessedMessageContent::ProposalMessage(proposal) => {
                group.store_pending_proposal(self.mls.storage(), *proposal)?;
                return Ok(Received::Proposal);
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(commit) => {
                let mut dictionary = group.app_data_dictionary_updater();
                components::apply(&mut dictionary, commit.app_data_update_proposals())?;
                let changes = dictionary.changes();
                group.stage_app_data_commit(&self.mls, *commit, changes)?
            }
            other => bail!("unexpected content: {other:?}"),
        };
        group.merge_staged_commit(&self.mls, staged)?;
        Ok(Received::Commit)
    }

    pub fn group(&self) -> Result<&MlsGroup> {
        self.group.as_ref().with_context(|| format!("{} is not a member", self.uri))
    }

    /// The GroupInfo of the current epoch, signed by this client.
    pub fn export_group_info(&self) -> Result<Bytes> {
        let info = self.group()?.export_group_info(self.mls.crypto(), &self.key.signer(), false)?;
        Ok(Bytes(info.tls_serialize_detached()?))
    }

    pub fn ratchet_tree(&self) -> Result<Bytes> {
        Ok(Bytes(self.group()?.export_ratchet_tree().tls_serialize_detached()?))
    }

    pub fn group_context(&self) -> Result<Bytes> {
        Ok(Bytes(self.group()?.public_group().group_context().tls_serialize_detached()?))
    }

    pub fn after(&self) -> Result<After> {
        view::after(self.group()?.public_group())
    }
}

fn committed(bundle: CommitMessageBundle) -> Result<Committed> {
    let (commit, welcome, group_info) = bundle.into_messages();
    Ok(Committed {
        commit: Bytes(commit.tls_serialize_detached()?),
        welcome: welcome.map(|w| w.tls_serialize_detached()).transpose()?.map(Bytes),
        group_info: Bytes(group_info.context("the Commit came without GroupInfo")?.tls_serialize_detached()?),
    })
}

fn lifetime() -> Lifetime {
    Lifetime::init(NOT_BEFORE_SECONDS, NOT_AFTER_SECONDS)
}

/// What every leaf says it can do: one suite, basic credentials, and what a MIMI room of -06 needs.
fn capabilities() -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[SUITE]),
        Some(&[ExtensionType::AppDataDictionary, ExtensionType::LastResort]),
        Some(&[ProposalType::AppDataUpdate, ProposalType::AppEphemeral, ProposalType::SelfRemove]),
        Some(&[CredentialType::Basic]),
    )
}

/// A leaf that supports app_data_dictionary advertises app_components in its own (mls-extensions, negotiation).
fn leaf_extensions() -> Result<Extensions<LeafNode>> {
    let components = ComponentsList { component_ids: vec![APP_COMPONENTS, PARTICIPANT_LIST, ROOM_METADATA, ROLES] };
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(APP_COMPONENTS, components::encode(&components)?);
    Ok(Extensions::single(Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)))?)
}

fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(false)
        .build()
}
