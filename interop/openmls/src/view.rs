//! What anyone can see of a group, members and hub alike.

use anyhow::{Context, Result};
use openmls::prelude::{tls_codec::Serialize, *};

use crate::{
    components::{self, PARTICIPANT_LIST, ParticipantListData, ROOM_METADATA, RoomMetaData},
    manifest::{After, Participant},
};

pub fn after(group: &PublicGroup) -> Result<After> {
    let context = group.group_context();
    let dictionary =
        context.extensions().app_data_dictionary().context("no app_data_dictionary in the GroupContext")?.dictionary();
    let list: ParticipantListData =
        components::decode(dictionary.get(&PARTICIPANT_LIST).context("no participant_list")?)?;
    let room: RoomMetaData = components::decode(dictionary.get(&ROOM_METADATA).context("no room_metadata")?)?;
    let participants = list
        .participants
        .into_iter()
        .map(|p| Ok(Participant { user: String::from_utf8(p.user)?, role_index: p.role_index }))
        .collect::<Result<_>>()?;
    let members = group
        .members()
        .map(|m| Ok(String::from_utf8(m.credential.serialized_content().to_vec())?))
        .collect::<Result<_>>()?;
    Ok(After {
        epoch: context.epoch().as_u64(),
        tree_hash_hex: hex::encode(context.tree_hash()),
        confirmed_transcript_hash_hex: hex::encode(context.confirmed_transcript_hash()),
        confirmation_tag_hex: hex::encode(confirmation_tag(group)?),
        participants,
        room_name: String::from_utf8(room.room_name)?,
        room_subject: String::from_utf8(room.room_subject)?,
        members,
    })
}

/// The tag's octets; OpenMLS shows them only as `opaque mac<V>`, here of one length octet.
fn confirmation_tag(group: &PublicGroup) -> Result<Vec<u8>> {
    components::decode(&group.confirmation_tag().tls_serialize_detached()?)
}
