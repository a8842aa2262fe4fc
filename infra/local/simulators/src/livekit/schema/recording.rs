//! Messages about recordings.

use super::PARTICIPANT_KINDS;
use crate::livekit::proto::{Field, Message, choice, double, flag, int32, int64, map, message, text, uint32};

// Where recordings go ------------------------------------------------------------------------------------------

const S3: Message = &[
    text("access_key"),
    text("secret"),
    text("session_token"),
    text("assume_role_arn"),
    text("assume_role_external_id"),
    text("region"),
    text("endpoint"),
    text("bucket"),
    flag("force_path_style"),
    map("metadata"),
    text("tagging"),
    text("content_disposition"),
    message("proxy", PROXY),
];
const GCP: Message = &[text("credentials"), text("bucket"), message("proxy", PROXY)];
const AZURE: Message = &[text("account_name"), text("account_key"), text("container_name")];
const ALI_OSS: Message = &[
    text("access_key"),
    text("secret"),
    text("region"),
    text("endpoint"),
    text("bucket"),
];
const PROXY: Message = &[text("url"), text("username"), text("password")];

pub(super) const TO_S3: Field = message("s3", S3).of("storage");
pub(super) const TO_GCP: Field = message("gcp", GCP).of("storage");
pub(super) const TO_AZURE: Field = message("azure", AZURE).of("storage");
pub(super) const TO_ALI_OSS: Field = message("aliOSS", ALI_OSS).of("storage");

const STORAGE: Message = &[TO_S3, TO_GCP, TO_AZURE, TO_ALI_OSS];

const FILE_TYPE: Field = choice("file_type", &["DEFAULT_FILETYPE", "MP4", "OGG", "MP3", "MCAP"]);

const ENCODED_FILE: Message = &[
    FILE_TYPE,
    text("filepath"),
    flag("disable_manifest"),
    TO_S3,
    TO_GCP,
    TO_AZURE,
    TO_ALI_OSS,
];
const DIRECT_FILE: Message = &[
    text("filepath"),
    flag("disable_manifest"),
    TO_S3,
    TO_GCP,
    TO_AZURE,
    TO_ALI_OSS,
];
const STREAM: Message = &[
    choice("protocol", &["DEFAULT_PROTOCOL", "RTMP", "SRT", "WEBSOCKET"]),
    text("urls").many(),
];
const SEGMENTS: Message = &[
    choice("protocol", &["DEFAULT_SEGMENTED_FILE_PROTOCOL", "HLS_PROTOCOL"]),
    text("filename_prefix"),
    text("playlist_name"),
    text("live_playlist_name"),
    uint32("segment_duration"),
    choice("filename_suffix", &["INDEX", "TIMESTAMP"]),
    flag("disable_manifest"),
    TO_S3,
    TO_GCP,
    TO_AZURE,
    TO_ALI_OSS,
];
const IMAGES: Message = &[
    uint32("capture_interval"),
    int32("width"),
    int32("height"),
    text("filename_prefix"),
    flag("disable_manifest"),
    TO_S3,
    TO_GCP,
    TO_AZURE,
    TO_ALI_OSS,
];

// What is recorded ----------------------------------------------------------------------------------------------

pub(super) const PRESET: Field = choice(
    "preset",
    &[
        "H264_720P_30",
        "H264_720P_60",
        "H264_1080P_30",
        "H264_1080P_60",
        "PORTRAIT_H264_720P_30",
        "PORTRAIT_H264_720P_60",
        "PORTRAIT_H264_1080P_30",
        "PORTRAIT_H264_1080P_60",
        "PASSTHROUGH",
    ],
)
.of("options");
pub(super) const ADVANCED: Field = message("advanced", ENCODING).of("options");
const ENCODING: Message = &[
    int32("width"),
    int32("height"),
    int32("depth"),
    int32("framerate"),
    choice("audio_codec", &["DEFAULT_AC", "OPUS", "AAC", "AC_MP3"]),
    int32("audio_bitrate"),
    int32("audio_frequency"),
    choice(
        "video_codec",
        &["DEFAULT_VC", "H264_BASELINE", "H264_MAIN", "H264_HIGH", "VP8"],
    ),
    int32("video_bitrate"),
    double("key_frame_interval"),
];
const WEBHOOKS: Field = message("webhooks", &[text("url"), text("signing_key")]).many();
pub(super) const FILE_OUTPUTS: Field = message("file_outputs", ENCODED_FILE).many();
const STREAM_OUTPUTS: Field = message("stream_outputs", STREAM).many();
pub(super) const SEGMENT_OUTPUTS: Field = message("segment_outputs", SEGMENTS).many();
const IMAGE_OUTPUTS: Field = message("image_outputs", IMAGES).many();
const FILE: Field = message("file", ENCODED_FILE).of("output");
const ONE_STREAM: Field = message("stream", STREAM).of("output");
const ONE_SEGMENTS: Field = message("segments", SEGMENTS).of("output");

pub(in crate::livekit) const ROOM_COMPOSITE: Message = &[
    text("room_name"),
    text("layout"),
    flag("audio_only"),
    choice(
        "audio_mixing",
        &["DEFAULT_MIXING", "DUAL_CHANNEL_AGENT", "DUAL_CHANNEL_ALTERNATE"],
    ),
    flag("video_only"),
    text("custom_base_url"),
    FILE,
    ONE_STREAM,
    ONE_SEGMENTS,
    PRESET,
    ADVANCED,
    FILE_OUTPUTS,
    STREAM_OUTPUTS,
    SEGMENT_OUTPUTS,
    IMAGE_OUTPUTS,
    WEBHOOKS,
];
pub(in crate::livekit) const PARTICIPANT_EGRESS: Message = &[
    text("room_name"),
    text("identity"),
    flag("screen_share"),
    PRESET,
    ADVANCED,
    FILE_OUTPUTS,
    STREAM_OUTPUTS,
    SEGMENT_OUTPUTS,
    IMAGE_OUTPUTS,
    WEBHOOKS,
];
pub(in crate::livekit) const TRACK_COMPOSITE: Message = &[
    text("room_name"),
    text("audio_track_id"),
    text("video_track_id"),
    FILE,
    ONE_STREAM,
    ONE_SEGMENTS,
    PRESET,
    ADVANCED,
    FILE_OUTPUTS,
    STREAM_OUTPUTS,
    SEGMENT_OUTPUTS,
    IMAGE_OUTPUTS,
    WEBHOOKS,
];
pub(in crate::livekit) const TRACK_EGRESS: Message = &[
    text("room_name"),
    text("track_id"),
    message("file", DIRECT_FILE).of("output"),
    text("websocket_url").of("output"),
    WEBHOOKS,
];

const TEMPLATE: Message = &[
    text("layout"),
    flag("audio_only"),
    flag("video_only"),
    text("custom_base_url"),
];
const WEB: Message = &[
    text("url"),
    flag("audio_only"),
    flag("video_only"),
    flag("await_start_signal"),
];
const AUDIO_ROUTE: Message = &[
    text("track_id").of("match"),
    text("participant_identity").of("match"),
    choice("participant_kind", PARTICIPANT_KINDS).of("match"),
    choice(
        "channel",
        &["AUDIO_CHANNEL_BOTH", "AUDIO_CHANNEL_LEFT", "AUDIO_CHANNEL_RIGHT"],
    ),
];
const MEDIA: Message = &[
    text("video_track_id").of("video"),
    message(
        "participant_video",
        &[text("identity"), flag("prefer_screen_share")],
    )
    .of("video"),
    message(
        "audio",
        &[flag("capture_all"), message("routes", AUDIO_ROUTE).many()],
    ),
];
const OUTPUT: Message = &[
    message("file", &[FILE_TYPE, text("filepath"), flag("disable_manifest")]).of("config"),
    message("stream", STREAM).of("config"),
    message("segments", SEGMENTS).of("config"),
    message("images", IMAGES).of("config"),
    message("storage", STORAGE),
];
pub(in crate::livekit) const START_EGRESS: Message = &[
    text("room_name"),
    message("template", TEMPLATE).of("source"),
    message("web", WEB).of("source"),
    message("media", MEDIA).of("source"),
    PRESET,
    ADVANCED,
    message("outputs", OUTPUT).many(),
    message("storage", STORAGE),
    WEBHOOKS,
];

const FILE_INFO: Message = &[
    text("filename"),
    int64("started_at"),
    int64("ended_at"),
    int64("duration"),
    int64("size"),
    text("location"),
];
const STATUSES: &[&str] = &[
    "EGRESS_STARTING",
    "EGRESS_ACTIVE",
    "EGRESS_ENDING",
    "EGRESS_COMPLETE",
    "EGRESS_FAILED",
    "EGRESS_ABORTED",
    "EGRESS_LIMIT_REACHED",
];
pub(in crate::livekit) const EGRESS: Message = &[
    text("egress_id"),
    text("room_id"),
    text("room_name"),
    choice(
        "source_type",
        &["EGRESS_SOURCE_TYPE_WEB", "EGRESS_SOURCE_TYPE_SDK"],
    ),
    choice("status", STATUSES),
    int64("started_at"),
    int64("ended_at"),
    int64("updated_at"),
    message("egress", START_EGRESS).of("request"),
    message("room_composite", ROOM_COMPOSITE).of("request"),
    message("participant", PARTICIPANT_EGRESS).of("request"),
    message("track_composite", TRACK_COMPOSITE).of("request"),
    message("track", TRACK_EGRESS).of("request"),
    message("file", FILE_INFO).of("result"),
    text("stream_results").many(),
    message("file_results", FILE_INFO).many(),
    text("segment_results").many(),
    text("image_results").many(),
    text("error"),
    int32("error_code"),
    text("details"),
    text("manifest_location"),
    flag("backup_storage_used"),
    int32("retry_count"),
];
