//! How a Commit's AppDataUpdate proposals change the dictionary. The Go side knows the same two components.

use anyhow::{Result, bail};
use openmls::{
    component::{ComponentData, ComponentId},
    group::AppDataDictionaryUpdater,
    messages::proposals::{AppDataUpdateOperation, AppDataUpdateProposal},
};

/// The latest update is the new value.
pub const REPLACED: ComponentId = 0xff01;
/// Updates are appended to the value, in the order in which the Commit has them.
pub const APPENDED: ComponentId = 0xff02;

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
