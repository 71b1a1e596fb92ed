//! The committed recording: manifest.json. Every message stands in it as base64 of the bytes that a client sends.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// The version of the manifest's shape; a reader refuses any other.
pub const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub scenario: String,
    pub generator: Generator,
    /// Seconds since 1970.
    pub generated_at: u64,
    pub suite: Suite,
    pub providers: Providers,
    pub room: Room,
    pub hub_key: HubKey,
    pub clients: Vec<ClientEntry>,
    /// From the room's creation to epoch 3, in order.
    pub steps: Vec<Step>,
    /// Two Commits made at the same epoch: the winner decides which branch follows.
    pub race: Race,
    pub branches: Branches,
}

#[derive(Serialize, Deserialize)]
pub struct Generator {
    pub program: String,
    pub openmls: String,
    pub openmls_rust_crypto: String,
    pub features: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub struct Suite {
    pub id: u16,
    pub name: String,
}

#[derive(Serialize, Deserialize)]
pub struct Providers {
    pub hub: String,
    pub follower: String,
}

#[derive(Serialize, Deserialize)]
pub struct Room {
    pub uri: String,
    /// As UTF-8.
    pub group_id: String,
}

/// The hub's only key in external_senders: Ed25519, basic credential.
#[derive(Serialize, Deserialize)]
pub struct HubKey {
    pub development_only: bool,
    pub identity: String,
    pub seed_hex: String,
    pub public_hex: String,
}

#[derive(Serialize, Deserialize)]
pub struct ClientEntry {
    /// The basic credential's identity.
    pub uri: String,
    pub user: String,
    pub provider: String,
    pub signature_key: SignatureKey,
    /// In upload order: the first is the one that the conversation uses; those of last resort stand last.
    pub key_packages: Vec<KeyPackageEntry>,
}

#[derive(Serialize, Deserialize)]
pub struct SignatureKey {
    pub development_only: bool,
    pub seed_hex: String,
    pub public_hex: String,
}

#[derive(Serialize, Deserialize)]
pub struct KeyPackageEntry {
    /// MLSMessage.
    pub key_package: Bytes,
    /// KeyPackageRef.
    pub ref_hex: String,
    /// Seconds since 1970.
    pub not_before: u64,
    pub not_after: u64,
    pub last_resort: bool,
}

#[derive(Serialize, Deserialize)]
pub struct Race {
    pub epoch: u64,
    pub alice: Step,
    pub bob: Step,
}

/// What follows, by who won the race.
#[derive(Serialize, Deserialize)]
pub struct Branches {
    pub alice: Vec<Step>,
    pub bob: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    CreateGroup,
    Commit,
    ExternalCommit,
    Proposal,
    Message,
    /// A Commit for an epoch that is over when it is sent: the hub must answer wrongEpoch.
    RefusedCommit,
}

/// One thing that a client sends. What a kind does not have is absent.
#[derive(Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub kind: Kind,
    /// The sender's client URI.
    pub from: String,
    /// The epoch in which it is sent.
    pub epoch: u64,
    /// MLSMessage: PublicMessage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Bytes>,
    /// MLSMessage: PublicMessage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Bytes>,
    /// MLSMessage: PrivateMessage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Bytes>,
    /// MLSMessage: Welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub welcome: Option<Bytes>,
    /// MLSMessage: GroupInfo of the epoch that a Commit begins, with external_pub and without ratchet_tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_info: Option<Bytes>,
    /// `optional<Node> ratchet_tree<V>` of that epoch, bare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratchet_tree: Option<Bytes>,
    /// GroupContext of that epoch, bare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_context: Option<Bytes>,
    /// What `message` decrypts to, as UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<String>,
    /// KeyPackageRefs of the clients that a Commit adds by Welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adds: Option<Vec<Added>>,
    /// ProposalRef: of `proposal`, or of what a Commit includes by reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal_refs_hex: Option<Vec<String>>,
    /// The group once the Commit is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
}

impl Step {
    pub fn new(name: impl Into<String>, kind: Kind, from: &str, epoch: u64) -> Self {
        Self {
            name: name.into(),
            kind,
            from: from.to_string(),
            epoch,
            commit: None,
            proposal: None,
            message: None,
            welcome: None,
            group_info: None,
            ratchet_tree: None,
            group_context: None,
            plaintext: None,
            adds: None,
            proposal_refs_hex: None,
            after: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct Added {
    pub client: String,
    pub key_package_ref_hex: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    pub epoch: u64,
    pub tree_hash_hex: String,
    pub confirmed_transcript_hash_hex: String,
    pub confirmation_tag_hex: String,
    pub participants: Vec<Participant>,
    pub room_name: String,
    pub room_subject: String,
    /// Client URIs by leaf index.
    pub members: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    pub user: String,
    pub role_index: u32,
}

/// Octets; base64 with padding in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes).map_err(serde::de::Error::custom)
    }
}

/// Writes the manifest into `dir`, which is made where it is missing.
pub fn write(dir: &Path, manifest: &Manifest) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut text = serde_json::to_string_pretty(manifest).context("encode the manifest")?;
    text.push('\n');
    let path = dir.join("manifest.json");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Reads the manifest of `dir`.
pub fn read(dir: &Path) -> Result<Manifest> {
    let path = dir.join("manifest.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).with_context(|| format!("decode {}", path.display()))?;
    ensure!(manifest.format == FORMAT, "format {} is not {FORMAT}", manifest.format);
    Ok(manifest)
}
