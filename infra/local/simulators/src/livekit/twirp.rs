//! The API's face: Twirp over JSON.

use super::egress::Kind;
use super::proto::{self, Message};
use super::quirks::Fate;
use super::refusals::{Code, TwirpError};
use super::tokens::Claims;
use super::{LiveKit, schema};
use crate::mailbox::lost;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use std::time::Duration;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    CreateRoom,
    DeleteRoom,
    ListRooms,
    ListParticipants,
    GetParticipant,
    RemoveParticipant,
    Start(Kind),
    StopEgress,
    ListEgress,
}

/// Methods that the vendor has, and this does not play.
const OTHERS: [&str; 11] = [
    "MutePublishedTrack",
    "UpdateParticipant",
    "UpdateSubscriptions",
    "SendData",
    "UpdateRoomMetadata",
    "ForwardParticipant",
    "MoveParticipant",
    "PerformRpc",
    "UpdateLayout",
    "UpdateStream",
    "StartWebEgress",
];

impl Call {
    fn find(service: &str, method: &str) -> Result<Self, TwirpError> {
        let call = match (service, method) {
            ("livekit.RoomService", "CreateRoom") => Self::CreateRoom,
            ("livekit.RoomService", "DeleteRoom") => Self::DeleteRoom,
            ("livekit.RoomService", "ListRooms") => Self::ListRooms,
            ("livekit.RoomService", "ListParticipants") => Self::ListParticipants,
            ("livekit.RoomService", "GetParticipant") => Self::GetParticipant,
            ("livekit.RoomService", "RemoveParticipant") => Self::RemoveParticipant,
            ("livekit.Egress", "StartEgress") => Self::Start(Kind::Egress),
            ("livekit.Egress", "StartRoomCompositeEgress") => Self::Start(Kind::RoomComposite),
            ("livekit.Egress", "StartParticipantEgress") => Self::Start(Kind::Participant),
            ("livekit.Egress", "StartTrackCompositeEgress") => Self::Start(Kind::TrackComposite),
            ("livekit.Egress", "StartTrackEgress") => Self::Start(Kind::Track),
            ("livekit.Egress", "StopEgress") => Self::StopEgress,
            ("livekit.Egress", "ListEgress") => Self::ListEgress,
            ("livekit.RoomService" | "livekit.Egress", other) if OTHERS.contains(&other) => {
                return Err(TwirpError::new(Code::Unimplemented, "not played here"));
            }
            _ => {
                let text = format!("no handler for path \"/twirp/{service}/{method}\"");
                return Err(TwirpError::new(Code::BadRoute, text));
            }
        };
        Ok(call)
    }

    fn request(self) -> Message {
        match self {
            Self::CreateRoom => schema::CREATE_ROOM,
            Self::DeleteRoom | Self::ListParticipants => schema::OF_ROOM,
            Self::ListRooms => schema::LIST_ROOMS,
            Self::GetParticipant | Self::RemoveParticipant => schema::OF_PARTICIPANT,
            Self::Start(kind) => kind.request(),
            Self::StopEgress => schema::STOP_EGRESS,
            Self::ListEgress => schema::LIST_EGRESS,
        }
    }

    fn answer(self) -> Message {
        match self {
            Self::CreateRoom => schema::ROOM,
            Self::DeleteRoom | Self::RemoveParticipant => schema::NOTHING,
            Self::ListRooms => schema::ROOMS,
            Self::ListParticipants => schema::PARTICIPANTS,
            Self::GetParticipant => schema::PARTICIPANT,
            Self::Start(_) | Self::StopEgress => schema::EGRESS,
            Self::ListEgress => schema::EGRESSES,
        }
    }

    /// A missing grant is said as a missing login.
    fn permit(self, claims: Option<&Claims>, request: &Value) -> Result<(), TwirpError> {
        let grant = claims.and_then(|claims| claims.video.as_ref());
        let room = request.get("room").and_then(Value::as_str).unwrap_or_default();
        let may = grant.is_some_and(|grant| match self {
            Self::CreateRoom | Self::DeleteRoom => grant.room_create,
            Self::ListRooms => grant.room_list,
            Self::ListParticipants | Self::GetParticipant | Self::RemoveParticipant => {
                grant.room_admin && grant.room == room
            }
            Self::Start(_) | Self::StopEgress | Self::ListEgress => grant.room_record,
        });
        let denied = || TwirpError::new(Code::Unauthenticated, "permissions denied");
        may.then_some(()).ok_or_else(denied)
    }
}

/// A request as it came.
struct Request<'a> {
    method: &'a Method,
    service: &'a str,
    name: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

pub(super) async fn call(
    State(vendor): State<LiveKit>,
    Path((service, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (fate, delay) = {
        let faults = &mut vendor.books().faults;
        (faults.meet(&name), faults.delay_ms)
    };
    tokio::time::sleep(Duration::from_millis(delay)).await;
    match fate {
        Fate::Vanished => return lost(),
        Fate::Failed => return vendor.failure(),
        Fate::Heard => (),
    }

    let request = Request {
        method: &method,
        service: &service,
        name: &name,
        headers: &headers,
        body: &body,
    };
    let answer = vendor.serve(&request).await;
    vendor.tell_waiting();

    let (fate, late) = {
        let faults = &mut vendor.books().faults;
        (faults.answer(&name), faults.answer_after_ms)
    };
    tokio::time::sleep(Duration::from_millis(late)).await;
    match fate {
        Fate::Vanished => lost(),
        Fate::Failed => vendor.failure(),
        Fate::Heard => answer,
    }
}

impl LiveKit {
    async fn serve(&self, request: &Request<'_>) -> Response {
        let claims = match self.bearer(request.headers) {
            Ok(claims) => claims,
            Err(text) => {
                self.books()
                    .refused
                    .push(json!({"method": request.name, "status": 401, "text": text}));
                return (StatusCode::UNAUTHORIZED, text).into_response();
            }
        };

        let answer = self.answer(request, claims.as_ref());
        if let Err(refusal) = &answer {
            let (code, status) = refusal.code.said();
            let row =
                json!({"method": request.name, "status": status, "code": code, "text": refusal.message});
            self.books().refused.push(row);
        }
        if answer.as_ref() == Err(&TwirpError::no_worker()) {
            let late = self.books().faults.no_worker_after_ms;
            tokio::time::sleep(Duration::from_millis(late)).await;
        }
        match answer {
            Ok(body) => Json(body).into_response(),
            Err(refusal) => refusal.into_response(),
        }
    }

    /// Who asks: nobody, if there is no header; else the token must be good.
    fn bearer(&self, headers: &HeaderMap) -> Result<Option<Claims>, String> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Ok(None);
        };
        let token = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        let token = token.ok_or("invalid authorization header. Must start with Bearer ")?;
        self.verify(token, self.now()).map(Some)
    }

    fn answer(&self, request: &Request<'_>, claims: Option<&Claims>) -> Result<Value, TwirpError> {
        if request.method != Method::POST {
            let text = format!("unsupported method \"{}\" (only POST is allowed)", request.method);
            return Err(TwirpError::new(Code::BadRoute, text));
        }
        let call = Call::find(request.service, request.name)?;
        let asked = decode(request, call.request())?;
        call.permit(claims, &asked)?;

        let now = self.now();
        let mut books = self.books();
        let settled = books.settle(now);
        books.keep(settled);
        let answer = books.carry_out(call, &asked, now)?;
        let row = json!({"at": now.to_string(), "method": request.name, "request": super::egress::redacted(&asked)});
        books.requests.push(row);
        Ok(proto::answer(&answer, call.answer()))
    }

    /// An answer that has nothing to do with the request.
    fn failure(&self) -> Response {
        let faults = self.books().faults.clone();
        let status = if faults.fail_with == 0 {
            503
        } else {
            faults.fail_with
        };
        let code = Code::of(status);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = if faults.html {
            (status, Html("<h1>Bad gateway</h1>")).into_response()
        } else {
            (status, Json(TwirpError::new(code, "try again later").body())).into_response()
        };
        if faults.retry_after_seconds > 0 {
            let seconds = faults.retry_after_seconds.into();
            response.headers_mut().insert("retry-after", seconds);
        }
        response
    }
}

/// The request's body, read as Twirp reads it. The vendor takes protocol buffers in binary as well; this does not.
fn decode(request: &Request<'_>, message: Message) -> Result<Value, TwirpError> {
    let given = request.headers.get(CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let text = format!("unexpected Content-Type: \"{given}\"");
        return Err(TwirpError::new(Code::BadRoute, text));
    }

    let body: Option<Value> = serde_json::from_slice(request.body).ok();
    let read = body.and_then(|body| proto::read(&body, message));
    read.ok_or_else(|| TwirpError::new(Code::Malformed, "the json request could not be decoded"))
}

#[cfg(test)]
mod tests {
    use crate::livekit::Faults;
    use crate::livekit::stage::Stage;
    use serde_json::json;

    #[tokio::test]
    async fn whoever_asks_needs_a_good_token_and_the_right_grant() {
        let stage = Stage::set().await;
        let lists = stage.signed(&json!({"video": {"roomList": true}}));
        let admin = stage.signed(&json!({"video": {"roomAdmin": true, "room": "b-2"}}));
        let denied = r#"{"code":"unauthenticated","msg":"permissions denied"}"#;

        for (authorization, method, words) in [
            (Some(lists.clone()), "ListRooms", "Must start with Bearer"),
            (
                Some("Bearer a.b.c".to_owned()),
                "ListRooms",
                "invalid authorization token",
            ),
            (None, "ListRooms", denied),
            (Some(format!("Bearer {lists}")), "CreateRoom", denied),
            (Some(format!("Bearer {lists}")), "ListEgress", denied),
            (Some(format!("Bearer {admin}")), "ListParticipants", denied),
        ] {
            let asked = json!({"room": "b-1", "name": "b-1"});
            let (status, text) = stage.call_as(authorization.as_deref(), method, &asked).await;
            assert_eq!(status, 401, "{text}");
            assert!(text.contains(words), "{method}: {text}");
        }
        let fine = stage
            .call_as(Some(&format!("Bearer {lists}")), "ListRooms", &json!({}))
            .await;
        assert_eq!(fine, (200, r#"{"rooms":[]}"#.to_owned()));
    }

    #[tokio::test]
    async fn a_room_is_made_once_and_answered_with_every_default() {
        let stage = Stage::set().await;
        let asked = json!({"name": "b-1", "departureTimeout": 600, "empty_timeout": 900, "colour": "red"});

        let (status, room) = stage.call("CreateRoom", &asked).await;
        let (_, again) = stage.call("CreateRoom", &asked).await;

        assert_eq!((status, &room["sid"]), (200, &again["sid"]));
        assert_eq!(
            (&room["departure_timeout"], &room["empty_timeout"]),
            (&json!(600), &json!(900))
        );
        assert_eq!(
            (&room["creation_time"], &room["metadata"]),
            (&json!("1789984800"), &json!(""))
        );
        assert_eq!(
            (&room["num_participants"], &room["version"]),
            (&json!(0), &json!(null))
        );
        assert_eq!(stage.livekit.take_webhooks().len(), 1, "it began once");
        assert_eq!(stage.livekit.requests().len(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_found_is_said_as_twirp_says_it() {
        let stage = Stage::set().await;
        for (method, body, status, code) in [
            ("CreateRoom", json!({"name": 5}), 400, "malformed"),
            ("CreateRoom", json!({}), 400, "invalid_argument"),
            ("DeleteRoom", json!({"room": "b-1"}), 404, "not_found"),
            ("ListParticipants", json!({"room": "b-1"}), 404, "not_found"),
            (
                "RemoveParticipant",
                json!({"room": "b-1", "identity": "x"}),
                404,
                "not_found",
            ),
            ("SendData", json!({}), 501, "unimplemented"),
            ("Dance", json!({}), 404, "bad_route"),
            ("StopEgress", json!({"egressId": "EG_x"}), 404, "not_found"),
            (
                "StartRoomCompositeEgress",
                json!({"room_name": "b-1"}),
                404,
                "not_found",
            ),
        ] {
            let (answered, error) = stage.call(method, &body).await;
            assert_eq!(
                (answered, &error["code"]),
                (status, &json!(code)),
                "{method}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn requests_fail_before_anything_happens_and_answers_after_it() {
        let stage = Stage::set().await;
        let asked = json!({"name": "b-1"});

        stage.livekit.misbehave(Faults {
            fail_next: 1,
            fail_with: 429,
            ..Faults::default()
        });
        let (status, error) = stage.call("CreateRoom", &asked).await;
        assert_eq!((status, &error["code"]), (429, &json!("resource_exhausted")));
        assert!(stage.livekit.rooms().is_empty());

        stage.livekit.misbehave(Faults {
            fail_after_next: 1,
            ..Faults::default()
        });
        assert_eq!(stage.call("CreateRoom", &asked).await.0, 503);
        assert_eq!(stage.livekit.rooms().len(), 1);
    }
}
