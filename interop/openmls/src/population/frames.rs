//! What is said on the pipe. `../../../README.md` describes it for every population; octets are base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Octets, as base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map(Bytes).map_err(de::Error::custom)
    }
}

/// What the population is told to do. A client is a number; it comes to be when it is first named.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Frame {
    /// Who are you, and what can you do?
    Hello,
    /// Forget every client; what follows is a history in this suite. Lifetimes are in seconds since 1970.
    Begin {
        suite: u16,
        not_before: u64,
        not_after: u64,
    },
    /// A secret that every client shares from now on, those to come as well.
    Psk {
        id: Bytes,
        secret: Bytes,
    },
    KeyPackage {
        client: u32,
        codes: Vec<u16>,
    },
    Create {
        client: u32,
        group_id: Bytes,
        extensions: Bytes,
        codes: Vec<u16>,
    },
    /// A Proposal by itself, from a member.
    Propose {
        client: u32,
        proposal: Proposal,
        aad: Aad,
    },
    /// A client that is no member proposes its own Add.
    ProposeJoin {
        client: u32,
        key_package: Bytes,
        group_id: Bytes,
        epoch: u64,
    },
    /// A Proposal has been accepted: every member but its sender takes it.
    Deliver {
        message: Bytes,
        sender: Option<u32>,
    },
    /// A Commit of all proposals that have been delivered and of `proposals`; it stays pending.
    Commit {
        client: u32,
        proposals: Vec<Proposal>,
        path: bool,
        rotate: bool,
        codes: Option<Vec<u16>>,
        aad: Aad,
    },
    /// A Commit by which a client joins, for the first time or anew.
    External {
        client: u32,
        group_info: Bytes,
        ratchet_tree: Bytes,
        self_removes: Vec<Bytes>,
        proposals: Vec<Proposal>,
        codes: Vec<u16>,
        aad: Aad,
    },
    /// The client's pending Commit has been accepted: all others process it and drop what they had pending.
    Settle {
        client: u32,
        commit: Bytes,
    },
    Join {
        client: u32,
        welcome: Bytes,
        ratchet_tree: Bytes,
    },
}

/// authenticated_data: octets as they are, or one item of component 0xff01 in a SafeAAD.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aad {
    Free(Bytes),
    Safe(Bytes),
}

/// A Proposal, as it is to be made.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Proposal {
    Add {
        key_package: Bytes,
    },
    Remove {
        leaf: u32,
    },
    /// The sender's new leaf: with a new signature key where `rotate`, and with these further code points.
    Update {
        rotate: bool,
        codes: Option<Vec<u16>>,
    },
    SelfRemove,
    GroupContextExtensions {
        extensions: Bytes,
    },
    Psk {
        id: Bytes,
        nonce: Bytes,
    },
    ResumptionPsk {
        epoch: u64,
        nonce: Bytes,
    },
    ComponentUpdate {
        component: u16,
        data: Bytes,
    },
    ComponentRemove {
        component: u16,
    },
    AppEphemeral {
        component: u16,
        data: Bytes,
    },
}

/// What the population answers; a field that a frame has no use for stays out.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    /// Why nothing was done; empty where it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello: Option<Hello>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub welcome: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_info: Option<Bytes>,
    /// The members that the frame changed, as they now see the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

#[derive(Debug, Serialize)]
pub struct Hello {
    pub name: String,
    pub suites: Vec<u16>,
    /// As many as a group should have, so that a history takes no longer than it has to.
    pub members: u32,
    pub can: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct Member {
    pub client: u32,
    pub leaf: u32,
    pub epoch: u64,
    pub group_context: Bytes,
    pub ratchet_tree: Bytes,
    pub epoch_authenticator: Bytes,
}
