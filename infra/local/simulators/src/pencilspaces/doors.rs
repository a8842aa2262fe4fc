//! The pages behind the vendor's links.

use super::PencilSpaces;
use super::books::{Books, new_id};
use super::quirks::Quirk;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};

/// How long a magic link works. What it is at the vendor is not known.
const LINK_LASTS: SignedDuration = SignedDuration::from_secs(60);

const COOKIE: &str = "pencil_session";

fn page(status: StatusCode, text: &str) -> Response {
    let text = format!("<!doctype html><title>Pencil Spaces, simulated</title><p>{text}</p>");
    (status, Html(text)).into_response()
}

/// Logs in whoever has a magic link, once, and sends them to their space.
pub(super) async fn open(State(vendor): State<PencilSpaces>, Path(token): Path<String>) -> Response {
    let admission = vendor.books().admit(&token, vendor.now());
    let Some((redirect_url, cookie)) = admission else {
        return page(StatusCode::FORBIDDEN, "This link does not work any more.");
    };
    let headers = [
        ("location", redirect_url),
        ("set-cookie", format!("{COOKIE}={cookie}; Path=/; HttpOnly")),
    ];
    (StatusCode::FOUND, headers).into_response()
}

/// Shows a space to whoever is logged in and may see it.
pub(super) async fn space(
    State(vendor): State<PencilSpaces>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let books = vendor.books();
    let Some(space) = books.space(&id) else {
        return page(StatusCode::NOT_FOUND, "There is no such space.");
    };
    let user = cookie(&headers).and_then(|cookie| books.logins.get(cookie));
    let Some(user) = user else {
        return page(StatusCode::UNAUTHORIZED, "Log in first.");
    };

    if space.is_archived || (space.visibility != "public" && !space.has(user)) {
        return page(StatusCode::FORBIDDEN, "You are not in this space.");
    }
    page(StatusCode::OK, "You are in the space.")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get("cookie")?.to_str().ok()?;
    let mut cookies = cookies
        .split(';')
        .filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find_map(|(name, value)| (name == COOKIE).then_some(value))
}

impl Books {
    /// Where a link leads and the cookie of whoever has opened it, if it is fresh and was never opened.
    fn admit(&mut self, token: &str, now: Timestamp) -> Option<(String, String)> {
        let is_expired = self.is(Quirk::LinksExpired);
        let link = self.links.get_mut(token)?;
        let age = now.duration_since(link.made);
        if link.used.is_some() || is_expired || age > LINK_LASTS {
            return None;
        }
        link.used = Some(now);

        let (redirect_url, user) = (link.redirect_url.clone(), link.user.clone());
        let cookie = new_id(32);
        self.logins.insert(cookie.clone(), user);
        Some((redirect_url, cookie))
    }
}
