//! Who takes part, and where: the names that the recorded conversation shares with `parley dev`.

/// The provider that owns the room.
pub const HUB_PROVIDER: &str = "a.example";
/// The provider that follows it.
pub const FOLLOWER_PROVIDER: &str = "b.example";
/// The hub's identity in the room's external_senders.
pub const HUB_URI: &str = "mimi://a.example";

pub const ROOM_URI: &str = "mimi://a.example/r/clubhouse";
/// The MLS group_id, as UTF-8.
pub const GROUP_ID: &str = "mimi://a.example/g/clubhouse";

pub const ALICE_USER: &str = "mimi://a.example/u/alice";
pub const BOB_USER: &str = "mimi://b.example/u/bob";

pub const ALICE1: &str = "mimi://a.example/d/alice1";
pub const BOB1: &str = "mimi://b.example/d/bob1";
pub const BOB2: &str = "mimi://b.example/d/bob2";
pub const BOB3: &str = "mimi://b.example/d/bob3";

/// Every leaf is valid from 1999-12-31, so that a test whose virtual clock starts at 2000-01-01 can use it...
pub const NOT_BEFORE_SECONDS: u64 = 946_598_400;
/// ...until 2100-01-01. OpenMLS sets no upper limit on a lifetime that is given explicitly.
pub const NOT_AFTER_SECONDS: u64 = 4_102_444_800;
