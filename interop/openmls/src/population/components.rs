//! How a Commit's AppDataUpdate proposals change the dictionary. The Go side knows the same two components.

use anyhow::{Result, bail};
use openmls::{
    component::{ComponentData, ComponentId},
    group::AppDataDictionaryUpdater,
    messages::proposals::{AppDataUpdateOperation, AppDataUpdateProposal},
    prelude::{AppDataDictionary, AppDataDictionaryExtension, Extension, Extensions, LeafNode},
};
use tls_codec::Serialize;

const APP_COMPONENTS: ComponentId = 1;
const SAFE_AAD: ComponentId = 2;

/// The latest update is the new value.
pub const REPLACED: ComponentId = 0xff01;
/// Updates are appended to the value, in the order in which the Commit has them.
pub const APPENDED: ComponentId = 0xff02;

/// A leaf lists both in app_components, and the first in safe_aad (mls-extensions, negotiation).
pub fn leaf_extensions() -> Result<Extensions<LeafNode>> {
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(APP_COMPONENTS, vec![REPLACED, APPENDED].tls_serialize_detached()?);
    dictionary.insert(SAFE_AAD, vec![REPLACED].tls_serialize_detached()?);
    Ok(Extensions::single(Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)))?)
}

pub fn apply<'a>(
    updater: &mut AppDataDictionaryUpdater<'_>,
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
) -> Result<()> {
    let mut appended: Option<Vec<u8>> = None;
    for proposal in proposals {
        let id = proposal.component_id();
        match (id, proposal.operation()) {
            (REPLACED | APPENDED, AppDataUpdateOperation::Remove) => updater.remove(&id),
            (REPLACED, AppDataUpdateOperation::Update(data)) => {
                updater.set(ComponentData::from_parts(id, data.as_slice().to_vec().into()));
            }
            (APPENDED, AppDataUpdateOperation::Update(data)) => {
                let value =
                    appended.get_or_insert_with(|| updater.old_value(id).map(<[u8]>::to_vec).unwrap_or_default());
                value.extend_from_slice(data.as_slice());
            }
            _ => bail!("component {id:#06x} is not known"),
        }
    }
    if let Some(value) = appended {
        updater.set(ComponentData::from_parts(APPENDED, value.into()));
    }
    Ok(())
}
