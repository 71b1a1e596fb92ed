//! One MLS client: its signature key, its storage and its view of the group. All that it receives, it receives as bytes.

use anyhow::{Context, Result, anyhow, bail, ensure};
use openmls::{
    framing::SafeAadItem,
    messages::{
        external_proposals::JoinProposal,
        proposals::{AppDataUpdateProposal, AppEphemeralProposal, PreSharedKeyProposal},
    },
    prelude::{
        tls_codec::{Deserialize, Serialize},
        *,
    },
    schedule::{PreSharedKeyId, psk::ResumptionPskUsage},
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider;

use crate::{
    components,
    frames::{Aad, Bytes, Member, Proposal as Wanted},
};

/// What all clients of a history have in common.
#[derive(Clone)]
pub struct Setting {
    pub suite: Ciphersuite,
    pub not_before: u64,
    pub not_after: u64,
    pub psks: Vec<(Bytes, Bytes)>,
}

pub struct Client {
    pub number: u32,
    setting: Setting,
    mls: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    /// The key that takes the signer's place once the Commit or Update that brings it is accepted.
    next_signer: Option<SignatureKeyPair>,
    group: Option<MlsGroup>,
    /// The group that the client enters by an external Commit that has not been accepted yet.
    entering: Option<MlsGroup>,
}

/// What a committer sends.
pub struct Committed {
    pub commit: Bytes,
    pub welcome: Option<Bytes>,
    pub group_info: Bytes,
}

impl Client {
    pub fn new(number: u32, setting: &Setting) -> Result<Self> {
        let signer = SignatureKeyPair::new(setting.suite.signature_algorithm()).map_err(|e| anyhow!("{e:?}"))?;
        let mut client = Self {
            number,
            setting: Setting { psks: Vec::new(), ..setting.clone() },
            mls: OpenMlsRustCrypto::default(),
            signer,
            next_signer: None,
            group: None,
            entering: None,
        };
        for (id, secret) in &setting.psks {
            client.learn_psk(id, secret)?;
        }
        Ok(client)
    }

    pub fn learn_psk(&mut self, id: &Bytes, secret: &Bytes) -> Result<()> {
        Ok(PreSharedKeyId::external(id.0.clone(), Vec::new()).store(&self.mls, &secret.0)?)
    }

    fn credential(&self, signer: &SignatureKeyPair) -> CredentialWithKey {
        let identity = format!("mimi://a.example/d/client/{}", self.number);
        CredentialWithKey {
            credential: BasicCredential::new(identity.into_bytes()).into(),
            signature_key: signer.public().into(),
        }
    }

    fn capabilities(&self, codes: &[u16]) -> Capabilities {
        let mut extensions = vec![ExtensionType::AppDataDictionary, ExtensionType::LastResort];
        extensions.extend([0xf000, 0xf001].map(ExtensionType::Unknown));
        extensions.extend(codes.iter().copied().map(ExtensionType::Unknown));
        let mut proposals = vec![ProposalType::AppDataUpdate, ProposalType::AppEphemeral, ProposalType::SelfRemove];
        proposals.extend(codes.iter().copied().map(ProposalType::Custom));
        Capabilities::new(
            Some(&[ProtocolVersion::Mls10]),
            Some(&[self.setting.suite]),
            Some(&extensions),
            Some(&proposals),
            Some(&[CredentialType::Basic]),
        )
    }

    fn leaf(&self, codes: Option<Vec<u16>>) -> LeafNodeParameters {
        match codes {
            None => LeafNodeParameters::default(),
            Some(codes) => LeafNodeParameters::builder().with_capabilities(self.capabilities(&codes)).build(),
        }
    }

    fn config() -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(false)
            .number_of_resumption_psks(8)
            .build()
    }

    pub fn key_package(&self, codes: &[u16]) -> Result<Bytes> {
        let bundle = KeyPackage::builder()
            .key_package_lifetime(Lifetime::init(self.setting.not_before, self.setting.not_after))
            .leaf_node_capabilities(self.capabilities(codes))
            .leaf_node_extensions(components::leaf_extensions()?)
            .build(self.setting.suite, &self.mls, &self.signer, self.credential(&self.signer))?;
        Ok(Bytes(MlsMessageOut::from(bundle.into_key_package()).tls_serialize_detached()?))
    }

    pub fn create(&mut self, group_id: &Bytes, extensions: &Bytes, codes: &[u16]) -> Result<()> {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(&group_id.0))
            .ciphersuite(self.setting.suite)
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(false)
            .number_of_resumption_psks(8)
            .with_capabilities(self.capabilities(codes))
            .with_leaf_node_extensions(components::leaf_extensions()?)?
            .lifetime(Lifetime::init(self.setting.not_before, self.setting.not_after))
            .with_group_context_extensions(Extensions::tls_deserialize_exact(&extensions.0)?)
            .build(&self.mls, &self.signer, self.credential(&self.signer))?;
        self.group = Some(group);
        Ok(())
    }

    pub fn join(&mut self, welcome: &Bytes, tree: &Bytes) -> Result<()> {
        let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact(&welcome.0)?.extract() else {
            bail!("not a Welcome");
        };
        let tree = RatchetTreeIn::tls_deserialize_exact(&tree.0)?;
        let staged = StagedWelcome::build_from_welcome(&self.mls, &Self::config(), welcome)?
            .with_ratchet_tree(tree)
            .replace_old_group()
            .build()?;
        self.group = Some(staged.into_group(&self.mls)?);
        Ok(())
    }

    pub fn propose_join(&self, key_package: &Bytes, group_id: &Bytes, epoch: u64) -> Result<Bytes> {
        let package = self.read_package(key_package)?;
        let message = JoinProposal::new::<<OpenMlsRustCrypto as OpenMlsProvider>::StorageProvider>(
            package,
            GroupId::from_slice(&group_id.0),
            epoch.into(),
            &self.signer,
        )?;
        Ok(Bytes(message.tls_serialize_detached()?))
    }

    fn read_package(&self, bytes: &Bytes) -> Result<KeyPackage> {
        let MlsMessageBodyIn::KeyPackage(package) = MlsMessageIn::tls_deserialize_exact(&bytes.0)?.extract() else {
            bail!("not a KeyPackage");
        };
        Ok(package.validate(self.mls.crypto(), ProtocolVersion::Mls10)?)
    }

    /// Makes what is wanted, for a Commit of this client.
    fn proposal(&self, group_id: &GroupId, wanted: Wanted) -> Result<Proposal> {
        Ok(match wanted {
            Wanted::Add { key_package } => Proposal::Add(Box::new(AddProposal::from(self.read_package(&key_package)?))),
            Wanted::Remove { leaf } => {
                Proposal::Remove(Box::new(RemoveProposal::tls_deserialize_exact(leaf.to_be_bytes())?))
            }
            Wanted::Psk { id, nonce } => psk(PreSharedKeyId::external(id.0, nonce.0)),
            Wanted::ResumptionPsk { epoch, nonce } => psk(PreSharedKeyId::resumption(
                ResumptionPskUsage::Application,
                group_id.clone(),
                epoch.into(),
                nonce.0,
            )),
            Wanted::ComponentUpdate { component, data } => {
                Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(component, data.0)))
            }
            Wanted::ComponentRemove { component } => {
                Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::remove(component)))
            }
            Wanted::AppEphemeral { component, data } => {
                Proposal::AppEphemeral(Box::new(AppEphemeralProposal::new(component, data.0)))
            }
            other => bail!("{other:?} cannot stand in a Commit here"),
        })
    }

    pub fn propose(&mut self, wanted: Wanted, aad: Aad) -> Result<Bytes> {
        let leaf = match &wanted {
            Wanted::Update { codes, .. } => self.leaf(codes.clone()),
            _ => LeafNodeParameters::default(),
        };
        let package = match &wanted {
            Wanted::Add { key_package } => Some(self.read_package(key_package)?),
            _ => None,
        };
        let group = self.group.as_mut().context("not a member")?;
        aad.stage(group)?;
        let what = match wanted {
            Wanted::Update { rotate: true, .. } => {
                let next = SignatureKeyPair::new(self.setting.suite.signature_algorithm())
                    .map_err(|e| anyhow!("make a key: {e:?}"))?;
                let identity = group.credential()?.clone();
                let credential_with_key =
                    CredentialWithKey { credential: identity, signature_key: next.public().into() };
                let bundle = NewSignerBundle { signer: &next, credential_with_key };
                let (message, _) = group.propose_self_update_with_new_signer(&self.mls, &self.signer, bundle, leaf)?;
                self.next_signer = Some(next);
                return Ok(Bytes(message.tls_serialize_detached()?));
            }
            Wanted::SelfRemove => {
                let message = group.leave_group_via_self_remove(&self.mls, &self.signer)?;
                return Ok(Bytes(message.tls_serialize_detached()?));
            }
            Wanted::Update { .. } => Propose::Update(leaf),
            Wanted::Add { .. } => Propose::Add(package.context("no KeyPackage")?),
            Wanted::Remove { leaf } => Propose::Remove(leaf),
            Wanted::GroupContextExtensions { extensions } => {
                Propose::GroupContextExtensions(Extensions::tls_deserialize_exact(&extensions.0)?)
            }
            Wanted::Psk { id, nonce } => Propose::PreSharedKey(PreSharedKeyId::external(id.0, nonce.0)),
            Wanted::ComponentUpdate { component, data } => {
                Propose::UpdateAppDataComponent { component_id: component, update: data.0 }
            }
            Wanted::ComponentRemove { component } => Propose::RemoveAppDataComponent { component_id: component },
            other => bail!("{other:?} cannot be proposed by itself here"),
        };
        let (message, _) = group.propose(&self.mls, &self.signer, what, ProposalOrRefType::Reference)?;
        Ok(Bytes(message.tls_serialize_detached()?))
    }

    pub fn commit(
        &mut self,
        wanted: Vec<Wanted>,
        path: bool,
        rotate: bool,
        codes: Option<Vec<u16>>,
        aad: Aad,
    ) -> Result<Committed> {
        let leaf = self.leaf(codes);
        let group_id = self.group.as_ref().context("not a member")?.group_id().clone();
        let mut proposals = Vec::new();
        for one in wanted {
            proposals.push(match one {
                Wanted::GroupContextExtensions { extensions } => {
                    InOrder::Extensions(Extensions::tls_deserialize_exact(&extensions.0)?)
                }
                one => InOrder::Other(self.proposal(&group_id, one)?),
            });
        }
        self.next_signer = None;
        let next = if rotate {
            Some(SignatureKeyPair::new(self.setting.suite.signature_algorithm()).map_err(|e| anyhow!("{e:?}"))?)
        } else {
            None
        };
        let credential_with_key = next.as_ref().map(|n| self.credential(n));
        let group = self.group.as_mut().context("not a member")?;
        aad.stage(group)?;
        let mut builder = group.commit_builder().force_self_update(path).leaf_node_parameters(leaf);
        for proposal in proposals {
            builder = match proposal {
                InOrder::Extensions(extensions) => builder.propose_group_context_extensions(extensions)?,
                InOrder::Other(proposal) => builder.add_proposal(proposal),
            };
        }
        let mut builder = builder.load_psks(self.mls.storage())?.create_group_info(true);
        let mut dictionary = builder.app_data_dictionary_updater();
        components::apply(&mut dictionary, builder.app_data_update_proposals())?;
        let changes = dictionary.changes();
        builder.with_app_data_dictionary_updates(changes);
        let (rand, crypto) = (self.mls.rand(), self.mls.crypto());
        let built = match (&next, credential_with_key) {
            (Some(next), Some(credential_with_key)) => {
                let bundle = NewSignerBundle { signer: next, credential_with_key };
                builder.build_with_new_signer(rand, crypto, &self.signer, bundle, |_| true)?
            }
            _ => builder.build(rand, crypto, &self.signer, |_| true)?,
        };
        let bundle = built.stage_commit(&self.mls)?;
        self.next_signer = next;
        committed(bundle)
    }

    pub fn external(
        &mut self,
        group_info: &Bytes,
        tree: &Bytes,
        self_removes: &[Bytes],
        wanted: Vec<Wanted>,
        codes: Vec<u16>,
        aad: Aad,
    ) -> Result<Committed> {
        let MlsMessageBodyIn::GroupInfo(info) = MlsMessageIn::tls_deserialize_exact(&group_info.0)?.extract() else {
            bail!("not a GroupInfo");
        };
        let mut messages = Vec::new();
        for bytes in self_removes {
            let MlsMessageBodyIn::PublicMessage(message) = MlsMessageIn::tls_deserialize_exact(&bytes.0)?.extract()
            else {
                bail!("not a PublicMessage");
            };
            messages.push(message);
        }
        let group_id = info.group_id().clone();
        let proposals = wanted.into_iter().map(|w| self.proposal(&group_id, w)).collect::<Result<Vec<_>>>()?;
        let leaf = LeafNodeParameters::builder()
            .with_capabilities(self.capabilities(&codes))
            .with_extensions(components::leaf_extensions()?)
            .build();
        let mut builder = MlsGroup::external_commit_builder()
            .with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(&tree.0)?)
            .with_proposals(messages)
            .with_aad(aad.outside())
            .with_config(Self::config())
            .build_group(&self.mls, info, self.credential(&self.signer))?
            .leaf_node_parameters(leaf);
        for proposal in proposals {
            builder = match proposal {
                Proposal::PreSharedKey(psk) => builder.add_psk_proposal(*psk),
                Proposal::AppDataUpdate(update) => builder.add_app_data_update_proposal(*update),
                other => bail!("{other:?} cannot stand in an external Commit here"),
            };
        }
        let mut builder = builder.load_psks(self.mls.storage())?.create_group_info(true);
        let mut dictionary = builder.app_data_dictionary_updater();
        components::apply(&mut dictionary, builder.app_data_update_proposals())?;
        let changes = dictionary.changes();
        builder.with_app_data_dictionary_updates(changes);
        let (group, bundle) =
            builder.build(self.mls.rand(), self.mls.crypto(), &self.signer, |_| true)?.finalize(&self.mls)?;
        self.entering = Some(group);
        committed(bundle)
    }

    /// The client's own Commit has been accepted.
    pub fn accept(&mut self) -> Result<()> {
        if let Some(entered) = self.entering.take() {
            self.group = Some(entered);
        } else {
            let group = self.group.as_mut().context("not a member")?;
            ensure!(group.pending_commit().is_some(), "client {} has no pending Commit", self.number);
            group.merge_pending_commit(&self.mls)?;
        }
        self.renew_signer()
    }

    /// A new key counts once the client's leaf has it; one that was never committed is forgotten.
    fn renew_signer(&mut self) -> Result<()> {
        let Some(next) = self.next_signer.take() else { return Ok(()) };
        let leaf = self.group.as_ref().and_then(MlsGroup::own_leaf).context("no leaf of its own")?;
        if leaf.signature_key().as_slice() == next.public() {
            self.signer = next;
        }
        Ok(())
    }

    /// Takes another's Proposal, or processes another's Commit and drops its own.
    pub fn receive(&mut self, message: &Bytes) -> Result<()> {
        let message = MlsMessageIn::tls_deserialize_exact(&message.0)?.try_into_protocol_message()?;
        let group = self.group.as_mut().context("not a member")?;
        let staged = match group.process_message(&self.mls, message)?.into_content() {
            ProcessedMessageContent::ProposalMessage(p) | ProcessedMessageContent::ExternalJoinProposalMessage(p) => {
                group.store_pending_proposal(self.mls.storage(), *p)?;
                return Ok(());
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
        group.clear_pending_commit(self.mls.storage())?;
        group.merge_staged_commit(&self.mls, staged)?;
        if self.is_member() { self.renew_signer() } else { Ok(()) }
    }

    /// Another's Commit has been accepted: an entry that was under way came too late.
    pub fn give_up_entering(&mut self) {
        self.entering = None;
    }

    pub fn is_member(&self) -> bool {
        self.group.as_ref().is_some_and(MlsGroup::is_active)
    }

    /// Where the client has been removed, it forgets the group; it comes back with the key that it had last.
    pub fn leave(&mut self) -> Result<()> {
        let Some(mut group) = self.group.take() else { return Ok(()) };
        group.delete(self.mls.storage())?;
        self.next_signer = None;
        Ok(())
    }

    pub fn group_info(&self) -> Result<Bytes> {
        let group = self.group.as_ref().context("not a member")?;
        let info = group.export_group_info(self.mls.crypto(), &self.signer, false)?;
        Ok(Bytes(info.tls_serialize_detached()?))
    }

    pub fn member(&self) -> Result<Member> {
        let group = self.group.as_ref().context("not a member")?;
        ensure!(group.pending_proposals().next().is_none(), "client {}: a Proposal was left over", self.number);
        Ok(Member {
            client: self.number,
            leaf: group.own_leaf_index().u32(),
            epoch: group.epoch().as_u64(),
            group_context: Bytes(group.public_group().group_context().tls_serialize_detached()?),
            ratchet_tree: Bytes(group.export_ratchet_tree().tls_serialize_detached()?),
            epoch_authenticator: Bytes(group.epoch_authenticator().as_slice().to_vec()),
        })
    }
}

impl Aad {
    fn stage(self, group: &mut MlsGroup) -> Result<()> {
        match self {
            Aad::Free(data) => group.set_aad(data.0),
            Aad::Safe(data) => group.set_safe_aad(vec![SafeAadItem::new(components::REPLACED, data.0)])?,
        }
        Ok(())
    }

    /// What an external Commit can have: OpenMLS lets it send no items.
    fn outside(self) -> Vec<u8> {
        match self {
            Aad::Free(data) => data.0,
            Aad::Safe(_) => Vec::new(),
        }
    }
}

/// A Proposal of a Commit. OpenMLS lets nobody but its own builder make a GroupContextExtensions.
enum InOrder {
    Extensions(Extensions<GroupContext>),
    Other(Proposal),
}

fn psk(id: PreSharedKeyId) -> Proposal {
    Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)))
}

fn committed(bundle: CommitMessageBundle) -> Result<Committed> {
    let (commit, welcome, group_info) = bundle.into_messages();
    Ok(Committed {
        commit: Bytes(commit.tls_serialize_detached()?),
        welcome: welcome.map(|w| w.tls_serialize_detached()).transpose()?.map(Bytes),
        group_info: Bytes(group_info.context("the Commit came without GroupInfo")?.tls_serialize_detached()?),
    })
}
