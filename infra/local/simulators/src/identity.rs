//! An issuer of user tokens, as Supabase Auth is one: publishes its keys and signs what it issues.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use platform::clock::Clock;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use uuid::Uuid;

/// The audience of Supabase's user tokens.
pub const AUDIENCE: &str = "authenticated";

/// A PKCS#8 key is a PKCS#1 key, which the token library wants, behind a header; for 2048 bits the header
/// has this many bytes.
const PKCS8_HEADER_OF_RSA_2048: usize = 26;

/// The issuer.
#[derive(Clone)]
pub struct Identity(Arc<Issuer>);

struct Issuer {
    name: String,
    clock: Clock,
    keys: Vec<Key>,
    key_requests: AtomicU32,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    published: Jwk,
}

#[allow(clippy::expect_used, reason = "fresh keys are well-formed")]
fn new_key(algorithm: Algorithm) -> Key {
    let signing = if algorithm == Algorithm::ES256 {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("an EC key");
        EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("PKCS#8").as_ref())
    } else {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS#8");
        EncodingKey::from_rsa_der(pkcs8.as_ref().get(PKCS8_HEADER_OF_RSA_2048..).expect("PKCS#1"))
    };
    let mut published = Jwk::from_encoding_key(&signing, algorithm).expect("a public key");
    let kid = Uuid::new_v4().to_string();
    published.common.key_id = Some(kid.clone());
    Key {
        kid,
        algorithm,
        signing,
        published,
    }
}

impl Identity {
    /// An issuer with fresh keys, one ES256 and one RS256.
    pub fn new(issuer: &str, clock: Clock) -> Self {
        let keys = vec![new_key(Algorithm::ES256), new_key(Algorithm::RS256)];
        Self(Arc::new(Issuer {
            name: issuer.into(),
            clock,
            keys,
            key_requests: AtomicU32::new(0),
        }))
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.0.name
    }

    /// How often its keys were fetched.
    pub fn key_requests(&self) -> u32 {
        self.0.key_requests.load(Ordering::Relaxed)
    }

    /// A token for `person` that is good for an hour.
    pub fn token(&self, person: Uuid) -> String {
        self.sign(Algorithm::ES256, &self.claims(person))
    }

    /// The claims of a good token.
    pub fn claims(&self, person: Uuid) -> Value {
        let now = self.0.clock.now().as_second();
        json!({"sub": person, "iss": self.0.name, "aud": AUDIENCE, "iat": now, "exp": now + 3600, "role": AUDIENCE})
    }

    /// Any claims, signed with the key of `algorithm`.
    ///
    /// # Panics
    /// If `algorithm` is neither ES256 nor RS256.
    #[allow(
        clippy::expect_used,
        reason = "there is a key for both algorithms, and claims are JSON"
    )]
    pub fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        let key = self
            .0
            .keys
            .iter()
            .find(|key| key.algorithm == algorithm)
            .expect("ES256 or RS256");
        let header = Header {
            kid: Some(key.kid.clone()),
            ..Header::new(algorithm)
        };
        encode(&header, claims, &key.signing).expect("a token")
    }

    /// The key id of the key of `algorithm`.
    pub fn kid(&self, algorithm: Algorithm) -> Option<String> {
        self.0
            .keys
            .iter()
            .find(|key| key.algorithm == algorithm)
            .map(|key| key.kid.clone())
    }

    /// `GET /.well-known/jwks.json`, `POST /token {"sub"}`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/.well-known/jwks.json", get(publish))
            .route("/token", post(sign_in))
            .with_state(self.clone())
    }
}

async fn publish(State(identity): State<Identity>) -> Json<JwkSet> {
    identity.0.key_requests.fetch_add(1, Ordering::Relaxed);
    Json(JwkSet {
        keys: identity.0.keys.iter().map(|key| key.published.clone()).collect(),
    })
}

#[derive(Deserialize)]
struct SignIn {
    sub: Uuid,
}

async fn sign_in(State(identity): State<Identity>, Json(who): Json<SignIn>) -> Json<Value> {
    Json(json!({"access_token": identity.token(who.sub), "token_type": "bearer", "expires_in": 3600}))
}
