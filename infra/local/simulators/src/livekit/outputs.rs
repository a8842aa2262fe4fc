//! What an egress shall write, and where: the checks of a request, and the name of its file.

use super::egress::Kind;
use super::refusals::{Code, TwirpError};
use super::room_service::text;
use super::storage::S3Target;
use jiff::Timestamp;
use serde_json::Value;

/// Endings of names that the vendor knows, and takes away where they are not the file's.
const EXTENSIONS: [&str; 9] = [
    ".raw", ".ogg", ".mp3", ".ivf", ".mp4", ".ts", ".webm", ".m3u8", ".jpeg",
];

/// The file that an egress shall write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePlan {
    /// Its name in the bucket.
    pub(super) key: String,
    pub(super) content_type: &'static str,
    /// Whether a manifest is written beside it.
    pub(super) has_manifest: bool,
    pub(super) storage: Storage,
}

/// Where a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Storage {
    S3(Box<S3Target>),
    /// A storage that is not played here, by its name.
    Foreign(&'static str),
    /// The server's own.
    Server,
}

/// What stands for the words in braces in a file's name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) room_name: &'a str,
    pub(super) room_sid: &'a str,
    pub(super) at: Timestamp,
}

fn invalid(field: &str) -> TwirpError {
    let text = format!("request has missing or invalid field: {field}");
    TwirpError::new(Code::InvalidArgument, text)
}

/// The file that `request` asks for, if nothing is wrong with it.
pub(super) fn plan(kind: Kind, request: &Value, facts: Facts<'_>) -> Result<FilePlan, TwirpError> {
    let media = Media::of(kind, request)?;
    let file = the_file(kind, request)?;
    let storage = storage(kind, request, file)?;
    let (extension, content_type) = media.file_type(text(file, "file_type"))?;

    Ok(FilePlan {
        key: key(kind, request, file, extension, facts),
        content_type,
        has_manifest: file.get("disable_manifest") != Some(&Value::Bool(true)),
        storage,
    })
}

#[derive(Debug, Clone, Copy)]
struct Media {
    has_audio: bool,
    has_video: bool,
}

impl Media {
    fn of(kind: Kind, request: &Value) -> Result<Self, TwirpError> {
        let is_given = |name: &str| !text(request, name).is_empty();
        let (has_audio, has_video, missing) = match kind {
            Kind::RoomComposite => return Self::of_composite(request),
            Kind::Participant => (is_given("identity"), is_given("identity"), "identity"),
            Kind::TrackComposite => (
                is_given("audio_track_id"),
                is_given("video_track_id"),
                "audio_track_id or video_track_id",
            ),
            Kind::Track => {
                let is_video = text(request, "track_id").starts_with("TR_V");
                let is_track = is_given("track_id");
                (is_track && !is_video, is_track && is_video, "track_id")
            }
            Kind::Egress => return Self::of_source(request),
        };
        if !has_audio && !has_video {
            return Err(invalid(missing));
        }
        Ok(Self { has_audio, has_video })
    }

    fn of_composite(asked: &Value) -> Result<Self, TwirpError> {
        let is_on = |name: &str| asked.get(name) == Some(&Value::Bool(true));
        if is_on("audio_only") && is_on("video_only") {
            return Err(invalid("audio_only and video_only"));
        }
        if asked.get("preset").and_then(Value::as_str) == Some("PASSTHROUGH") {
            return Err(invalid("preset"));
        }
        Ok(Self {
            has_audio: !is_on("video_only"),
            has_video: !is_on("audio_only"),
        })
    }

    fn of_source(request: &Value) -> Result<Self, TwirpError> {
        if let Some(template) = request.get("template") {
            return Self::of_composite(template);
        }
        if request.get("web").is_some() {
            return Err(TwirpError::new(Code::Unimplemented, "not played here"));
        }
        let media = request.get("media").ok_or_else(|| invalid("source"))?;
        let is_heard = |pointer: &str| {
            let said = media.pointer(pointer);
            said.is_some_and(|said| {
                *said == Value::Bool(true) || said.as_array().is_some_and(|a| !a.is_empty())
            })
        };
        let has_audio = is_heard("/audio/capture_all") || is_heard("/audio/routes");
        let has_video = media.get("video_track_id").is_some() || media.get("participant_video").is_some();
        if !has_audio && !has_video {
            return Err(invalid("audio or video"));
        }
        Ok(Self { has_audio, has_video })
    }

    fn file_type(self, wanted: &str) -> Result<(&'static str, &'static str), TwirpError> {
        let mp4 = (".mp4", "video/mp4");
        let ogg = (".ogg", "audio/ogg");
        match wanted {
            "MP4" => Ok(mp4),
            "OGG" | "MP3" if self.has_video => {
                let kind = if wanted == "OGG" {
                    "audio/ogg"
                } else {
                    "audio/mpeg"
                };
                let text = format!("format {kind} incompatible with codec video/h264");
                Err(TwirpError::new(Code::InvalidArgument, text))
            }
            "OGG" => Ok(ogg),
            "MP3" => Ok((".mp3", "audio/mpeg")),
            "MCAP" => Err(invalid("file_type")),
            _ if self.has_video || !self.has_audio => Ok(mp4),
            _ => Ok(ogg),
        }
    }
}

/// The one file among the outputs: there is at most one of each sort. Other sorts may stand beside it, and are not
/// played here.
fn the_file(kind: Kind, request: &Value) -> Result<&Value, TwirpError> {
    let listed = |name: &str| request.get(name).and_then(Value::as_array).map(Vec::as_slice);
    let outputs = listed("outputs").unwrap_or_default();
    let of = |sort: &str, list: &str| -> Vec<&Value> {
        match (kind, listed(list)) {
            (Kind::Egress, _) => outputs.iter().filter_map(|output| output.get(sort)).collect(),
            (_, Some(list)) if !list.is_empty() => list.iter().collect(),
            _ => request.get(sort).into_iter().collect(),
        }
    };

    let files = of("file", "file_outputs");
    let streams = of("stream", "stream_outputs");
    let segments = of("segments", "segment_outputs");
    let images = of("images", "image_outputs");
    for (outputs, words) in [
        (&files, "multiple file outputs"),
        (&streams, "multiple stream outputs"),
        (&segments, "multiple segmented file outputs"),
    ] {
        if outputs.len() > 1 {
            return Err(invalid(words));
        }
    }
    let others = streams.len() + segments.len() + images.len();
    match files.first() {
        Some(file) => Ok(file),
        None if others > 0 || request.get("websocket_url").is_some() => {
            Err(TwirpError::new(Code::Unimplemented, "not played here"))
        }
        None => Err(invalid("output")),
    }
}

/// Where the file goes: by its output, by the request, or by the server.
fn storage(kind: Kind, request: &Value, file: &Value) -> Result<Storage, TwirpError> {
    let chosen = match kind {
        Kind::Egress => {
            let outputs = request.get("outputs").and_then(Value::as_array);
            let output = outputs
                .into_iter()
                .flatten()
                .find(|output| output.get("file").is_some());
            let own = output.and_then(|output| output.get("storage"));
            own.or_else(|| request.get("storage"))
        }
        Kind::RoomComposite | Kind::Participant | Kind::TrackComposite | Kind::Track => Some(file),
    };
    let given = |name: &str| chosen.and_then(|chosen| chosen.get(name));

    if let Some(s3) = given("s3") {
        let target = S3Target::asked_for(s3);
        if !text(s3, "assume_role_arn").is_empty() && target.access_key.is_empty() {
            let text = "S3 upload using AssumeRole is disabled for this account";
            return Err(TwirpError::new(Code::PermissionDenied, text));
        }
        return Ok(Storage::S3(Box::new(target)));
    }
    let foreign = [("gcp", "GCP"), ("azure", "Azure"), ("aliOSS", "AliOSS")];
    let foreign = foreign.into_iter().find(|(name, _)| given(name).is_some());
    Ok(foreign.map_or(Storage::Server, |(_, name)| Storage::Foreign(name)))
}

/// The file's name in the bucket.
fn key(kind: Kind, request: &Value, file: &Value, extension: &str, facts: Facts<'_>) -> String {
    let time = facts.at.strftime("%Y-%m-%dT%H%M%S").to_string();
    let milliseconds = facts.at.subsec_millisecond();
    let utc = format!("{}{milliseconds:03}", facts.at.strftime("%Y%m%d%H%M%S"));
    let mut key = clean(text(file, "filepath"));
    for (word, meaning) in [
        ("{room_name}", facts.room_name),
        ("{room_id}", facts.room_sid),
        ("{time}", time.as_str()),
        ("{utc}", utc.as_str()),
    ] {
        key = key.replace(word, meaning);
    }
    match kind {
        Kind::Participant => key = key.replace("{publisher_identity}", text(request, "identity")),
        Kind::Track => key = key.replace("{track_id}", text(request, "track_id")),
        Kind::Egress | Kind::RoomComposite | Kind::TrackComposite => (),
    }

    if key.is_empty() || key.ends_with('/') {
        let name = match kind {
            Kind::Track => text(request, "track_id"),
            Kind::Participant => text(request, "identity"),
            Kind::Egress | Kind::RoomComposite | Kind::TrackComposite => facts.room_name,
        };
        return format!("{key}{name}-{time}{extension}");
    }
    if !key.ends_with(extension) {
        if let Some(dot) = key.rfind('.')
            && key.get(dot..).is_some_and(|ending| EXTENSIONS.contains(&ending))
        {
            key.truncate(dot);
        }
        key.push_str(extension);
    }
    key
}

/// A path without `.`, `..` and empty parts.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => (),
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }

    let root = if path.starts_with('/') { "/" } else { "" };
    let end = if path.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    format!("{root}{}{end}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn planned(kind: Kind, request: &Value) -> Result<FilePlan, TwirpError> {
        let at = "2026-09-21T10:20:30.045Z".parse().unwrap();
        let facts = Facts {
            room_name: "b-1",
            room_sid: "RM_1",
            at,
        };
        plan(kind, request, facts)
    }

    fn key_of(filepath: &str) -> String {
        let request = json!({"file_outputs": [{"filepath": filepath}]});
        planned(Kind::RoomComposite, &request).unwrap().key
    }

    #[test]
    fn words_in_braces_are_replaced_and_endings_corrected() {
        for (filepath, key) in [
            ("", "b-1-2026-09-21T102030.mp4"),
            ("lessons/", "lessons/b-1-2026-09-21T102030.mp4"),
            ("l/{room_name}/{time}.mp4", "l/b-1/2026-09-21T102030.mp4"),
            ("{room_id}-{utc}", "RM_1-20260921102030045.mp4"),
            ("x.webm", "x.mp4"),
            ("x.1", "x.1.mp4"),
            ("../../a//./b/{retry}", "a/b/{retry}.mp4"),
        ] {
            assert_eq!(key_of(filepath), key, "{filepath}");
        }
    }

    #[test]
    fn sound_alone_is_ogg_unless_somebody_says_otherwise() {
        for (asked, ending) in [("DEFAULT_FILETYPE", "ogg"), ("MP4", "mp4"), ("MP3", "mp3")] {
            let request =
                json!({"audio_only": true, "file_outputs": [{"filepath": "x", "file_type": asked}]});
            let plan = planned(Kind::RoomComposite, &request).unwrap();
            assert_eq!(plan.key, format!("x.{ending}"));
        }
    }

    #[test]
    fn each_fault_of_a_request_is_named() {
        let file = json!({"filepath": "x"});
        for (kind, request, words) in [
            (Kind::RoomComposite, json!({}), "output"),
            (
                Kind::RoomComposite,
                json!({"file_outputs": [file, file]}),
                "multiple file outputs",
            ),
            (
                Kind::RoomComposite,
                json!({"audio_only": true, "video_only": true}),
                "audio_only and",
            ),
            (
                Kind::RoomComposite,
                json!({"file_outputs": [{"file_type": "MP3"}]}),
                "incompatible",
            ),
            (Kind::Participant, json!({"file_outputs": [file]}), "identity"),
            (Kind::Egress, json!({"outputs": [{"file": file}]}), "source"),
            (Kind::Egress, json!({"template": {}}), "output"),
            (
                Kind::Egress,
                json!({"media": {}, "outputs": [{"file": file}]}),
                "audio or video",
            ),
            (
                Kind::RoomComposite,
                json!({"file_outputs": [{"s3": {"bucket": "b", "assume_role_arn": "a"}}]}),
                "disabled",
            ),
        ] {
            let refusal = planned(kind, &request).unwrap_err();
            assert!(refusal.message.contains(words), "{request}: {refusal:?}");
        }
    }
}
