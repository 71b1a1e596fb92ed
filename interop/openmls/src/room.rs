//! The clients of one room, played against each other: whatever one sends, all others must take.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use openmls::{component::ComponentId, prelude::KeyPackage};

use crate::{
    client::{Client, Committed, Received},
    manifest::{Bytes, Kind, Step},
};

/// What a Commit holds by value, beside the pending proposals by reference.
#[derive(Default)]
pub struct Contents {
    pub adds: Vec<KeyPackage>,
    pub updates: Vec<(ComponentId, Vec<u8>)>,
    /// Asks for an UpdatePath where none is needed.
    pub path: bool,
}

pub struct Room {
    clients: Vec<Client>,
}

impl Room {
    pub fn new(clients: Vec<Client>) -> Self {
        Self { clients }
    }

    /// The same room a second time, every client with a copy of its state.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self { clients: self.clients.iter().map(Client::fork).collect::<Result<_>>()? })
    }

    pub fn client(&mut self, uri: &str) -> Result<&mut Client> {
        self.clients.iter_mut().find(|c| c.uri == uri).with_context(|| format!("no client {uri}"))
    }

    fn epoch_of(&mut self, uri: &str) -> Result<u64> {
        Ok(self.client(uri)?.group()?.epoch().as_u64())
    }

    /// An application message, decrypted and compared by every other member.
    pub fn say(&mut self, from: &str, name: impl Into<String>, text: &str) -> Result<Step> {
        let mut step = Step::new(name, Kind::Message, from, self.epoch_of(from)?);
        let message = self.client(from)?.send(text)?;
        for member in self.others(from) {
            match member.receive(&message)? {
                Received::Application(plain) if plain == text.as_bytes() => {}
                _ => bail!("{} did not read {text:?}", member.uri),
            }
        }
        step.message = Some(message);
        step.plaintext = Some(text.to_string());
        Ok(step)
    }

    /// A standalone Proposal to update a component, stored by every other member.
    pub fn propose(&mut self, from: &str, name: &str, id: ComponentId, update: Vec<u8>) -> Result<Step> {
        let mut step = Step::new(name, Kind::Proposal, from, self.epoch_of(from)?);
        let (proposal, reference) = self.client(from)?.propose(id, update)?;
        for member in self.others(from) {
            ensure!(matches!(member.receive(&proposal)?, Received::Proposal), "{} saw no Proposal", member.uri);
        }
        step.proposal = Some(proposal);
        step.proposal_refs_hex = Some(vec![reference]);
        Ok(step)
    }

    /// Makes a Commit that stays pending at its sender. What it would lead to is read from a copy of the sender.
    pub fn prepare(&mut self, from: &str, name: impl Into<String>, contents: Contents) -> Result<Step> {
        let mut step = Step::new(name, Kind::Commit, from, self.epoch_of(from)?);
        let client = self.client(from)?;
        let references: Vec<String> =
            client.group()?.pending_proposals().map(|p| hex::encode(p.proposal_reference_ref().as_slice())).collect();
        let made = client.commit(contents.adds, contents.updates, contents.path)?;
        let mut merged = client.fork()?;
        merged.merge()?;
        record(&mut step, made, &merged)?;
        step.proposal_refs_hex = (!references.is_empty()).then_some(references);
        Ok(step)
    }

    /// A prepared Commit wins: its sender merges it, every other member drops its own pending Commit and takes this one.
    pub fn accept(&mut self, step: &Step) -> Result<()> {
        let commit = step.commit.as_ref().context("no Commit")?;
        self.client(&step.from)?.merge()?;
        for member in self.others(&step.from) {
            if member.group()?.pending_commit().is_some() {
                member.discard()?;
            }
            ensure!(matches!(member.receive(commit)?, Received::Commit), "{} saw no Commit", member.uri);
        }
        self.agree(step)
    }

    pub fn commit(&mut self, from: &str, name: impl Into<String>, contents: Contents) -> Result<Step> {
        let step = self.prepare(from, name, contents)?;
        self.accept(&step)?;
        Ok(step)
    }

    /// `uri` joins by external Commit from the GroupInfo and tree of `last`.
    pub fn join_externally(&mut self, uri: &str, name: &str, last: &Step) -> Result<Step> {
        let info = last.group_info.as_ref().context("no GroupInfo to join from")?;
        let tree = last.ratchet_tree.as_ref().context("no tree to join from")?;
        let epoch = last.after.as_ref().context("no epoch to join in")?.epoch;
        let mut step = Step::new(name, Kind::ExternalCommit, uri, epoch);
        let joiner = self.client(uri)?;
        let made = joiner.join_by_external_commit(info, tree)?;
        record(&mut step, made, joiner)?;
        let commit = step.commit.as_ref().context("no Commit")?;
        for member in self.others(uri) {
            ensure!(matches!(member.receive(commit)?, Received::Commit), "{} saw no Commit", member.uri);
        }
        self.agree(&step)?;
        Ok(step)
    }

    /// Every member stands where the step says: same GroupContext, same secrets, same tree, and the GroupInfo was the true one.
    pub fn agree(&self, step: &Step) -> Result<()> {
        let mut authenticators = HashSet::new();
        for member in self.clients.iter().filter(|c| c.group().is_ok()) {
            let group = member.group()?;
            authenticators.insert(group.epoch_authenticator().as_slice().to_vec());
            ensure!(step.group_context == Some(member.group_context()?), "{}: another GroupContext", member.uri);
            ensure!(step.ratchet_tree == Some(member.ratchet_tree()?), "{}: another tree", member.uri);
            ensure!(step.after == Some(member.after()?), "{}: another state", member.uri);
            ensure!(group.pending_proposals().next().is_none(), "{}: a Proposal was left over", member.uri);
            if member.uri == step.from {
                ensure!(step.group_info == Some(member.export_group_info()?), "{}: another GroupInfo", member.uri);
            }
        }
        ensure!(authenticators.len() == 1, "{}: the epoch authenticators differ", step.name);
        Ok(())
    }

    fn others<'a>(&'a mut self, from: &'a str) -> impl Iterator<Item = &'a mut Client> {
        self.clients.iter_mut().filter(move |c| c.uri != from && c.group().is_ok())
    }
}

/// Fills a Commit's step with what was sent and with the group that `at` then holds.
pub fn record(step: &mut Step, made: Committed, at: &Client) -> Result<()> {
    step.commit = Some(made.commit);
    step.welcome = made.welcome;
    record_group(step, made.group_info, at)
}

/// Fills a step with the group that `at` holds.
pub fn record_group(step: &mut Step, group_info: Bytes, at: &Client) -> Result<()> {
    step.group_info = Some(group_info);
    step.ratchet_tree = Some(at.ratchet_tree()?);
    step.group_context = Some(at.group_context()?);
    step.after = Some(at.after()?);
    Ok(())
}
