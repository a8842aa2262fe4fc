//! The vendor's messages, as far as they are played here.

mod recording;

pub(super) use recording::{
    EGRESS, PARTICIPANT_EGRESS, ROOM_COMPOSITE, START_EGRESS, TRACK_COMPOSITE, TRACK_EGRESS,
};

use super::proto::{Message, choice, flag, int32, int64, map, message, text, uint32};
use recording::{ADVANCED, FILE_OUTPUTS, PRESET, SEGMENT_OUTPUTS, TO_ALI_OSS, TO_AZURE, TO_GCP, TO_S3};

pub(super) const ROOM: Message = &[
    text("sid"),
    text("name"),
    uint32("empty_timeout"),
    uint32("departure_timeout"),
    uint32("max_participants"),
    int64("creation_time"),
    int64("creation_time_ms"),
    text("turn_password"),
    message("enabled_codecs", &[text("mime"), text("fmtp_line")]).many(),
    text("metadata"),
    uint32("num_participants"),
    uint32("num_publishers"),
    flag("active_recording"),
    message("version", TIMED_VERSION),
];

const TIMED_VERSION: Message = &[int64("unix_micro"), int32("ticks")];

const PERMISSION: Message = &[
    flag("can_subscribe"),
    flag("can_publish"),
    flag("can_publish_data"),
    choice("can_publish_sources", SOURCES).many(),
    flag("hidden"),
    flag("recorder"),
    flag("can_update_metadata"),
    flag("agent"),
    flag("can_subscribe_metrics"),
    flag("can_manage_agent_session"),
];

pub(super) const SOURCES: &[&str] = &[
    "UNKNOWN",
    "CAMERA",
    "MICROPHONE",
    "SCREEN_SHARE",
    "SCREEN_SHARE_AUDIO",
];

pub(super) const PARTICIPANT_KINDS: &[&str] = &[
    "STANDARD",
    "INGRESS",
    "EGRESS",
    "SIP",
    "AGENT",
    "",
    "",
    "CONNECTOR",
    "BRIDGE",
];

const DISCONNECT_REASONS: &[&str] = &[
    "UNKNOWN_REASON",
    "CLIENT_INITIATED",
    "DUPLICATE_IDENTITY",
    "SERVER_SHUTDOWN",
    "PARTICIPANT_REMOVED",
    "ROOM_DELETED",
    "STATE_MISMATCH",
    "JOIN_FAILURE",
    "MIGRATION",
    "SIGNAL_CLOSE",
    "ROOM_CLOSED",
    "USER_UNAVAILABLE",
    "USER_REJECTED",
    "SIP_TRUNK_FAILURE",
    "CONNECTION_TIMEOUT",
    "MEDIA_FAILURE",
    "AGENT_ERROR",
];

pub(super) const PARTICIPANT: Message = &[
    text("sid"),
    text("identity"),
    choice("state", &["JOINING", "JOINED", "ACTIVE", "DISCONNECTED"]),
    message("tracks", TRACK).many(),
    text("metadata"),
    int64("joined_at"),
    int64("joined_at_ms"),
    text("name"),
    uint32("version"),
    message("permission", PERMISSION),
    text("region"),
    flag("is_publisher"),
    choice("kind", PARTICIPANT_KINDS),
    map("attributes"),
    choice("disconnect_reason", DISCONNECT_REASONS),
    text("kind_details").many(),
    text("data_tracks").many(),
    int32("client_protocol"),
    text("capabilities").many(),
];

const TRACK: Message = &[
    text("sid"),
    choice("type", &["AUDIO", "VIDEO", "DATA"]),
    text("name"),
    flag("muted"),
    uint32("width"),
    uint32("height"),
    flag("simulcast"),
    flag("disable_dtx"),
    choice("source", SOURCES),
    text("layers").many(),
    text("mime_type"),
    text("mid"),
    text("codecs").many(),
    flag("stereo"),
    flag("disable_red"),
    choice("encryption", &["NONE", "GCM", "CUSTOM"]),
    text("stream"),
    message("version", TIMED_VERSION),
    text("audio_features").many(),
    choice(
        "backup_codec_policy",
        &["PREFER_REGRESSION", "SIMULCAST", "REGRESSION"],
    ),
    text("packet_trailer_features").many(),
];

// Requests and answers --------------------------------------------------------------------------------------------

const AUTO_PARTICIPANT: Message = &[PRESET, ADVANCED, FILE_OUTPUTS, SEGMENT_OUTPUTS];
const AUTO_TRACKS: Message = &[
    text("filepath"),
    flag("disable_manifest"),
    TO_S3,
    TO_GCP,
    TO_AZURE,
    TO_ALI_OSS,
];
const ROOM_EGRESS: Message = &[
    message("room", ROOM_COMPOSITE),
    message("participant", AUTO_PARTICIPANT),
    message("tracks", AUTO_TRACKS),
];
const AGENT_DISPATCH: Message = &[text("agent_name"), text("metadata")];

pub(super) const CREATE_ROOM: Message = &[
    text("name"),
    text("room_preset"),
    uint32("empty_timeout"),
    uint32("departure_timeout"),
    uint32("max_participants"),
    text("node_id"),
    text("metadata"),
    map("tags"),
    message("egress", ROOM_EGRESS),
    uint32("min_playout_delay"),
    uint32("max_playout_delay"),
    flag("sync_streams"),
    flag("replay_enabled"),
    message("agents", AGENT_DISPATCH).many(),
];
/// What a join token may say about the room that it brings into being.
pub(super) const ROOM_CONFIGURATION: Message = &[
    text("name"),
    uint32("empty_timeout"),
    uint32("departure_timeout"),
    uint32("max_participants"),
    text("metadata"),
    message("egress", ROOM_EGRESS),
    uint32("min_playout_delay"),
    uint32("max_playout_delay"),
    flag("sync_streams"),
    message("agents", AGENT_DISPATCH).many(),
    map("tags"),
];
pub(super) const OF_ROOM: Message = &[text("room")];
pub(super) const OF_PARTICIPANT: Message = &[text("room"), text("identity"), int64("revoke_token_ts")];
pub(super) const LIST_ROOMS: Message = &[text("names").many()];
pub(super) const LIST_EGRESS: Message = &[
    text("room_name"),
    text("egress_id"),
    flag("active"),
    message("page_token", PAGE_TOKEN),
];
pub(super) const STOP_EGRESS: Message = &[text("egress_id")];
const PAGE_TOKEN: Message = &[text("token")];

pub(super) const NOTHING: Message = &[];
pub(super) const ROOMS: Message = &[message("rooms", ROOM).many()];
pub(super) const PARTICIPANTS: Message = &[message("participants", PARTICIPANT).many()];
pub(super) const EGRESSES: Message = &[
    message("items", EGRESS).many(),
    message("next_page_token", PAGE_TOKEN),
];

pub(super) const WEBHOOK_EVENT: Message = &[
    text("event"),
    message("room", ROOM),
    message("participant", PARTICIPANT),
    message("egress_info", EGRESS),
    message("track", TRACK),
    text("id"),
    int64("created_at"),
];
