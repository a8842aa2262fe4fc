//! Users, and the magic links that log them in.

use super::PencilSpaces;
use super::books::{ADMIN, Books, Link, User, new_id};
use super::fields::{Fields, Refusal, Sent, body, inner, missing, refusal, wrong};
use super::lists::{Asked, Wanted};
use super::quirks::Quirk;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

/// What a user of the API may be. The vendor has other roles, and does not give them.
const ROLES: [&str; 2] = ["Teacher", "Student"];

/// By which fields of its rows the list of users can be filtered.
const FILTERS: [&str; 5] = ["userId", "name", "email", "userRole", "externalId"];

pub(super) async fn create(State(vendor): State<PencilSpaces>, sent: Sent) -> Response {
    let made = body(sent).and_then(|body| vendor.books().create_user(&body));
    vendor.answer_made(made)
}

pub(super) async fn list(State(vendor): State<PencilSpaces>, Query(asked): Query<Asked>) -> Response {
    let page = vendor.books().list_users(&asked);
    vendor.answer(page)
}

pub(super) async fn authorize(
    State(vendor): State<PencilSpaces>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let link = redirect_url(query.as_deref().unwrap_or_default()).and_then(|url| vendor.link(&user, &url));
    vendor.answer(link)
}

/// The only parameter of the query, if it is encoded as a whole. What is not would lose all that follows its first `&`.
fn redirect_url(query: &str) -> Result<String, Refusal> {
    let encoded = query
        .strip_prefix("redirectUrl=")
        .filter(|encoded| !encoded.is_empty())
        .ok_or_else(|| wrong("redirectUrl is required"))?;
    let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()%+".contains(&byte);
    if !encoded.bytes().all(is_encoded) {
        return Err(wrong("redirectUrl must be encoded, and nothing may follow it"));
    }

    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let url = pairs.next().map(|(_, url)| url.into_owned());
    url.ok_or_else(|| wrong("redirectUrl is required"))
}

impl PencilSpaces {
    fn link(&self, user: &str, redirect_url: &str) -> Result<Value, Refusal> {
        let url: Url = redirect_url
            .parse()
            .map_err(|_| wrong("redirectUrl must be a URL"))?;
        let own = self.base().parse::<Url>().map(|base| base.origin());
        if own != Ok(url.origin()) {
            return Err(wrong("redirectUrl must be on the app's host"));
        }

        let token = self.books().new_link(user, redirect_url, self.now())?;
        Ok(json!({ "url": format!("{}open/{token}", self.base()) }))
    }
}

impl Books {
    fn create_user(&mut self, body: &Value) -> Result<Value, Refusal> {
        let fields = Fields::of(body, &["name", "userRole", "email", "externalId"])?;
        let name = fields.wanted_text("name")?;
        fields.wanted_text("userRole")?;
        let role = fields.word("userRole", &ROLES)?.unwrap_or_default();
        let email = fields.text("email")?;
        let external_id = fields.text("externalId")?;
        if let Some(email) = email {
            self.check_email(email)?;
        }
        if external_id.is_some() && self.is(Quirk::RefusesExternalIds) {
            return Err(inner("value for argument \"externalId\" is not valid"));
        }

        let id = new_id(28);
        let invented = || format!("{}@api-users.pencil.example", id.to_lowercase());
        let user = User {
            email: email.map_or_else(invented, ToOwned::to_owned),
            name: name.to_owned(),
            role: role.to_owned(),
            external_id: external_id.map(ToOwned::to_owned),
            id,
        };
        let row = user.row();
        let id = user.id.clone();
        self.users.add(&id, user);
        Ok(row)
    }

    fn check_email(&self, email: &str) -> Result<(), Refusal> {
        let is_email = email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
        if !is_email {
            return Err(wrong("email must be an e-mail address"));
        }

        let is_taken = self.users.iter().any(|user| user.email == email);
        if is_taken && !self.is(Quirk::TakesTakenEmails) {
            return Err(inner("the email address is already in use by another account"));
        }
        Ok(())
    }

    fn list_users(&self, asked: &Asked) -> Result<Value, Refusal> {
        let wanted = Wanted::read(asked, &FILTERS, self)?;
        Ok(wanted.page(self.users.iter().map(User::row), self))
    }

    /// A link that nobody has had before. Nobody is let in as the admin whose key it is.
    fn new_link(&mut self, user: &str, redirect_url: &str, now: Timestamp) -> Result<String, Refusal> {
        let user = self.users.get(user).ok_or_else(|| missing("User"))?;
        if user.id == ADMIN {
            return Err(refusal(StatusCode::FORBIDDEN, "Only API users can be authorized"));
        }

        let link = Link {
            token: new_id(43),
            user: user.id.clone(),
            redirect_url: redirect_url.to_owned(),
            made: now,
            used: None,
        };
        let token = link.token.clone();
        self.links.add(&token, link);
        Ok(token)
    }
}

impl User {
    pub(super) fn row(&self) -> Value {
        let mut row =
            json!({"userId": self.id, "name": self.name, "email": self.email, "userRole": self.role});
        if let (Some(fields), Some(external_id)) = (row.as_object_mut(), &self.external_id) {
            fields.insert("externalId".into(), json!(external_id));
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_not_encoded_as_a_whole_is_refused() {
        let good = "redirectUrl=https%3A%2F%2Fapp%2Fspaces%2Fa%3Fstandalone%3Dtrue%26startCall%3Dtrue";

        assert_eq!(
            redirect_url(good).unwrap(),
            "https://app/spaces/a?standalone=true&startCall=true"
        );
        assert!(redirect_url("redirectUrl=https://app/spaces/a").is_err());
        assert!(redirect_url("redirectUrl=https%3A%2F%2Fapp%2Fspaces%2Fa%3Fgv%3D1&startCall=true").is_err());
        assert!(redirect_url("").is_err());
    }

    #[test]
    fn the_same_external_id_makes_another_user_and_a_role_is_spelt_with_its_capital() {
        let mut books = Books::new("secret");
        let ada = json!({"name": "Ada", "userRole": "Student", "externalId": "ours"});

        let (first, second) = (books.create_user(&ada).unwrap(), books.create_user(&ada).unwrap());

        assert_ne!(first["userId"], second["userId"]);
        assert!(
            books
                .create_user(&json!({"name": "Ada", "userRole": "student"}))
                .is_err()
        );
        assert!(
            books
                .create_user(&json!({"name": " ", "userRole": "Student"}))
                .is_err()
        );
    }
}
