//! All clients of one history.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use openmls::prelude::Ciphersuite;

use crate::{
    client::{Client, Committed, Setting},
    frames::{Answer, Bytes, Frame, Hello},
};

pub struct Population {
    setting: Setting,
    clients: BTreeMap<u32, Client>,
}

impl Population {
    /// What this population is, and the kinds of proposals and Commits that it can make.
    pub fn hello() -> Answer {
        let hello = Hello {
            name: "OpenMLS 0.9.2".into(),
            suites: vec![1, 2, 3],
            members: 20,
            can: vec![
                "add",
                "remove",
                "update",
                "rotate",
                "self_remove",
                "group_context_extensions",
                "psk",
                "resumption_psk",
                "component_update",
                "component_remove",
                "app_ephemeral",
                "propose_join",
                "external",
                "resync",
                "safe_aad",
                "swap",
                "entrant_psk",
                "entrant_component_update",
                "entrant_component_remove",
                "hub_add",
                "hub_remove",
                "hub_group_context_extensions",
            ],
        };
        Answer { hello: Some(hello), ..Answer::default() }
    }

    pub fn new(suite: u16, not_before: u64, not_after: u64) -> Result<Self> {
        let suite = Ciphersuite::try_from(suite).ok().with_context(|| format!("suite {suite} is not known"))?;
        let setting = Setting { suite, not_before, not_after, psks: Vec::new() };
        Ok(Self { setting, clients: BTreeMap::new() })
    }

    pub fn answer(&mut self, frame: Frame) -> Result<Answer> {
        match frame {
            Frame::Hello | Frame::Begin { .. } => bail!("a frame that is not for a history"),
            Frame::Psk { id, secret } => {
                for client in self.clients.values_mut() {
                    client.learn_psk(&id, &secret)?;
                }
                self.setting.psks.push((id, secret));
                Ok(Answer::default())
            }
            Frame::KeyPackage { client, codes } => message(self.client(client)?.key_package(&codes)?),
            Frame::Create { client, group_id, extensions, codes } => {
                let client = self.client(client)?;
                client.create(&group_id, &extensions, &codes)?;
                Ok(Answer {
                    group_info: Some(client.group_info()?),
                    members: vec![client.member()?],
                    ..Answer::default()
                })
            }
            Frame::Propose { client, proposal, aad } => message(self.client(client)?.propose(proposal, aad)?),
            Frame::ProposeJoin { client, key_package, group_id, epoch } => {
                message(self.client(client)?.propose_join(&key_package, &group_id, epoch)?)
            }
            Frame::Deliver { message, sender } => {
                for client in self.members().filter(|c| Some(c.number) != sender) {
                    client.receive(&message).with_context(|| format!("client {}", client.number))?;
                }
                Ok(Answer::default())
            }
            Frame::Commit { client, proposals, path, rotate, codes, aad } => {
                committed(self.client(client)?.commit(proposals, path, rotate, codes, aad)?)
            }
            Frame::External { client, group_info, ratchet_tree, self_removes, proposals, codes, aad } => {
                let client = self.client(client)?;
                committed(client.external(&group_info, &ratchet_tree, &self_removes, proposals, codes, aad)?)
            }
            Frame::Settle { client, commit } => self.settle(client, &commit),
            Frame::Join { client, welcome, ratchet_tree } => {
                let client = self.client(client)?;
                client.join(&welcome, &ratchet_tree)?;
                Ok(Answer { members: vec![client.member()?], ..Answer::default() })
            }
        }
    }

    fn settle(&mut self, committer: u32, commit: &Bytes) -> Result<Answer> {
        for client in self.members().filter(|c| c.number != committer) {
            client.receive(commit).with_context(|| format!("client {}", client.number))?;
        }
        self.client(committer)?.accept().with_context(|| format!("client {committer}"))?;
        let mut members = Vec::new();
        for client in self.clients.values_mut() {
            client.give_up_entering();
            if client.is_member() {
                members.push(client.member()?);
            } else {
                client.leave()?;
            }
        }
        Ok(Answer { members, ..Answer::default() })
    }

    fn client(&mut self, number: u32) -> Result<&mut Client> {
        if !self.clients.contains_key(&number) {
            self.clients.insert(number, Client::new(number, &self.setting)?);
        }
        self.clients.get_mut(&number).context("no such client")
    }

    fn members(&mut self) -> impl Iterator<Item = &mut Client> {
        self.clients.values_mut().filter(|c| c.is_member())
    }
}

fn message(bytes: Bytes) -> Result<Answer> {
    Ok(Answer { message: Some(bytes), ..Answer::default() })
}

fn committed(made: Committed) -> Result<Answer> {
    Ok(Answer {
        message: Some(made.commit),
        welcome: made.welcome,
        group_info: Some(made.group_info),
        ..Answer::default()
    })
}
