//! The MIMI components of the room's app_data_dictionary (mimi-protocol-06 §7.5, §7.6; room-policy-03 §3), their TLS
//! encodings, and how their AppDataUpdate proposals change them. OpenMLS carries them as opaque bytes.

use anyhow::{Context, Result, bail, ensure};
use openmls::{
    component::{ComponentData, ComponentId},
    group::AppDataDictionaryUpdater,
    messages::proposals::{AppDataUpdateOperation, AppDataUpdateProposal},
};
use tls_codec::{Deserialize, Serialize, TlsDeserialize, TlsSerialize, TlsSize};

pub const APP_COMPONENTS: ComponentId = 0x0001;
pub const LAST_RESORT: ComponentId = 0x0004;
pub const PARTICIPANT_LIST: ComponentId = 0x0022;
pub const ROOM_METADATA: ComponentId = 0x0023;
pub const ROLES: ComponentId = 0x0025;

pub const ROLE_BANNED: u32 = 1;
pub const ROLE_MEMBER: u32 = 2;
pub const ROLE_ADMIN: u32 = 3;

/// `struct { ComponentID component_ids<V>; } ComponentsList;` (mls-extensions, negotiation)
#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct ComponentsList {
    pub component_ids: Vec<u16>,
}

/// `struct { opaque user<V>; uint32 role_index; } UserRolePair;`
#[derive(Clone, Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct UserRolePair {
    pub user: Vec<u8>,
    pub role_index: u32,
}

impl UserRolePair {
    pub fn new(user: &str, role_index: u32) -> Self {
        Self { user: user.as_bytes().to_vec(), role_index }
    }
}

/// `struct { UserRolePair participants<V>; } ParticipantListData;`
#[derive(Clone, Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct ParticipantListData {
    pub participants: Vec<UserRolePair>,
}

/// `struct { uint32 user_index; uint32 role_index; } UserindexRolePair;`
#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct UserIndexRolePair {
    pub user_index: u32,
    pub role_index: u32,
}

/// ```text
/// struct {
///   UserindexRolePair changedRoleParticipants<V>;
///   uint32 removedIndices<V>;
///   UserRolePair addedParticipants<V>;
/// } ParticipantListUpdate;
/// ```
#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct ParticipantListUpdate {
    pub changed_roles: Vec<UserIndexRolePair>,
    pub removed_indices: Vec<u32>,
    pub added: Vec<UserRolePair>,
}

/// `struct { opaque media_type<V>; opaque language_tag<V>; opaque description_content<V>; } RichDescription;`
#[derive(Clone, Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct RichDescription {
    pub media_type: Vec<u8>,
    pub language_tag: Vec<u8>,
    pub content: Vec<u8>,
}

/// ```text
/// struct {
///   Uri room_uri;
///   UTF8String room_name;
///   RichDescription room_descriptions<V>;
///   Uri room_avatar;
///   UTF8String room_subject;
///   UTF8String room_mood;
/// } RoomMetaData;
/// ```
#[derive(Clone, Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct RoomMetaData {
    pub room_uri: Vec<u8>,
    pub room_name: Vec<u8>,
    pub room_descriptions: Vec<RichDescription>,
    pub room_avatar: Vec<u8>,
    pub room_subject: Vec<u8>,
    pub room_mood: Vec<u8>,
}

/// `struct { uint32 from_role_index; uint32 target_role_indexes<V>; } SingleSourceRoleChangeTargets;`
#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct RoleChangeTargets {
    pub from_role_index: u32,
    pub target_role_indexes: Vec<u32>,
}

/// ```text
/// struct {
///   uint32 role_index;
///   opaque role_name<V>;
///   opaque role_description<V>;
///   CapabilityType role_capabilities<V>;
///   uint32 minimum_participants_constraint;
///   optional uint32 maximum_participants_constraint;
///   uint32 minimum_active_participants_constraint;
///   optional uint32 maximum_active_participants_constraint;
///   SingleSourceRoleChangeTargets authorized_role_changes<V>;
/// } Role;
/// ```
#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct Role {
    pub role_index: u32,
    pub role_name: Vec<u8>,
    pub role_description: Vec<u8>,
    pub role_capabilities: Vec<u16>,
    pub minimum_participants: u32,
    pub maximum_participants: Option<u32>,
    pub minimum_active_participants: u32,
    pub maximum_active_participants: Option<u32>,
    pub authorized_role_changes: Vec<RoleChangeTargets>,
}

/// `struct { Role roles<V>; } RoleData;`
#[derive(Debug, TlsSerialize, TlsDeserialize, TlsSize)]
pub struct RoleData {
    pub roles: Vec<Role>,
}

// Capability numbers of room-policy-03 §10.2.
const CAN_ADD_PARTICIPANT: u16 = 0x0000;
const CAN_REMOVE_PARTICIPANT: u16 = 0x0001;
const CAN_ADD_OWN_CLIENT: u16 = 0x0002;
const CAN_REMOVE_OWN_CLIENT: u16 = 0x0003;
const CAN_REMOVE_SELF: u16 = 0x0006;
const CAN_BAN: u16 = 0x000a;
const CAN_UNBAN: u16 = 0x000b;
const CAN_KICK: u16 = 0x000c;
const CAN_CHANGE_USER_ROLE: u16 = 0x000f;
const CAN_SEND_MESSAGE: u16 = 0x0100;
const CAN_RECEIVE_MESSAGE: u16 = 0x0101;
const CAN_COPY_MESSAGE: u16 = 0x0102;
const CAN_REPORT_ABUSE: u16 = 0x0103;
const CAN_REPLY_TO_MESSAGE: u16 = 0x0104;
const CAN_REACT_TO_MESSAGE: u16 = 0x0105;
const CAN_CHANGE_ROOM_NAME: u16 = 0x0300;
const CAN_CHANGE_ROOM_DESCRIPTION: u16 = 0x0301;
const CAN_CHANGE_ROOM_AVATAR: u16 = 0x0302;
const CAN_CHANGE_ROOM_SUBJECT: u16 = 0x0303;
const CAN_CHANGE_ROOM_MOOD: u16 = 0x0304;
const CAN_DESTROY_ROOM: u16 = 0x0501;

const MEMBER_CAPABILITIES: [u16; 11] = [
    CAN_ADD_OWN_CLIENT,
    CAN_REMOVE_OWN_CLIENT,
    CAN_REMOVE_SELF,
    CAN_SEND_MESSAGE,
    CAN_RECEIVE_MESSAGE,
    CAN_COPY_MESSAGE,
    CAN_REPORT_ABUSE,
    CAN_REPLY_TO_MESSAGE,
    CAN_REACT_TO_MESSAGE,
    CAN_CHANGE_ROOM_NAME,
    CAN_CHANGE_ROOM_SUBJECT,
];

const ADMIN_CAPABILITIES: [u16; 10] = [
    CAN_ADD_PARTICIPANT,
    CAN_REMOVE_PARTICIPANT,
    CAN_BAN,
    CAN_UNBAN,
    CAN_KICK,
    CAN_CHANGE_USER_ROLE,
    CAN_CHANGE_ROOM_DESCRIPTION,
    CAN_CHANGE_ROOM_AVATAR,
    CAN_CHANGE_ROOM_MOOD,
    CAN_DESTROY_ROOM,
];

/// The room's roles: banned (no client may be in the group), member, admin (all that a member may, and more).
/// A cooperative room: members may rename it and bring in their own further devices.
pub fn clubhouse_roles() -> RoleData {
    let mut admin: Vec<u16> = MEMBER_CAPABILITIES.iter().chain(&ADMIN_CAPABILITIES).copied().collect();
    admin.sort_unstable();
    RoleData {
        roles: vec![
            role(ROLE_BANNED, "banned", "may not take part", Vec::new(), Some(0), &[]),
            role(ROLE_MEMBER, "member", "takes part", MEMBER_CAPABILITIES.to_vec(), None, &[(ROLE_MEMBER, &[0])]),
            role(
                ROLE_ADMIN,
                "admin",
                "takes part and decides who does",
                admin,
                None,
                &[
                    (0, &[ROLE_BANNED, ROLE_MEMBER, ROLE_ADMIN]),
                    (ROLE_BANNED, &[0, ROLE_MEMBER]),
                    (ROLE_MEMBER, &[0, ROLE_BANNED, ROLE_ADMIN]),
                    (ROLE_ADMIN, &[0, ROLE_MEMBER]),
                ],
            ),
        ],
    }
}

fn role(
    index: u32,
    name: &str,
    description: &str,
    capabilities: Vec<u16>,
    maximum_active: Option<u32>,
    changes: &[(u32, &[u32])],
) -> Role {
    Role {
        role_index: index,
        role_name: name.into(),
        role_description: description.into(),
        role_capabilities: capabilities,
        minimum_participants: 0,
        maximum_participants: None,
        minimum_active_participants: 0,
        maximum_active_participants: maximum_active,
        authorized_role_changes: changes
            .iter()
            .map(|(from, targets)| RoleChangeTargets { from_role_index: *from, target_role_indexes: targets.to_vec() })
            .collect(),
    }
}

/// A component's TLS encoding.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    value.tls_serialize_detached().context("encode a component")
}

/// A component from its TLS encoding; trailing bytes are an error.
pub fn decode<T: Deserialize>(bytes: &[u8]) -> Result<T> {
    T::tls_deserialize_exact(bytes).context("decode a component")
}

/// Puts into `updater` what a Commit's AppDataUpdate proposals, sorted by component, make of the dictionary.
/// participant_list takes a ParticipantListUpdate; every other component is replaced whole, and only once in a Commit.
pub fn apply<'a>(
    updater: &mut AppDataDictionaryUpdater<'_>,
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
) -> Result<()> {
    let mut last = None;
    for proposal in proposals {
        let id = proposal.component_id();
        ensure!(last != Some(id), "component {id:#06x} is updated twice in one Commit");
        last = Some(id);
        let AppDataUpdateOperation::Update(update) = proposal.operation() else {
            bail!("component {id:#06x} is removed, which this conversation never does");
        };
        let data = match id {
            PARTICIPANT_LIST => {
                let old = updater.old_value(id).context("the dictionary has no participant_list")?;
                encode(&updated_list(decode(old)?, decode(update.as_slice())?)?)?
            }
            ROOM_METADATA => {
                decode::<RoomMetaData>(update.as_slice())?;
                update.as_slice().to_vec()
            }
            _ => bail!("component {id:#06x} is not one that this conversation updates"),
        };
        updater.set(ComponentData::from_parts(id, data.into()));
    }
    Ok(())
}

/// Roles first, then removals by the old indices, then additions at the end (mimi-protocol-06 §7.5).
fn updated_list(mut list: ParticipantListData, update: ParticipantListUpdate) -> Result<ParticipantListData> {
    for change in &update.changed_roles {
        let entry = list.participants.get_mut(change.user_index as usize).context("a user_index is out of range")?;
        entry.role_index = change.role_index;
    }
    let mut removed = update.removed_indices;
    removed.sort_unstable();
    for index in removed.into_iter().rev() {
        ensure!((index as usize) < list.participants.len(), "a removed index is out of range");
        list.participants.remove(index as usize);
    }
    list.participants.extend(update.added);
    Ok(list)
}
