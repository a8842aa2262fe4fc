//! Who is calling: a Supabase user token, verified here because HTTP API authorizers take only RSA.
//!
//! Asymmetric tokens (ES256, RS256) are checked against the issuer's published keys (JWKS), legacy tokens
//! (HS256) against a shared secret. The algorithm belongs to the key, never to the token: a token that
//! names another one is refused.

use crate::clock::Clock;
use crate::outbound;
use crate::secrets::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

/// How long published keys are used before they are fetched again.
const KEYS_TIME_TO_LIVE: SignedDuration = SignedDuration::from_mins(10);
/// An unknown key id fetches the keys again at most this often, so that made-up ids cannot make us flood
/// the issuer.
const REFETCH_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// Tolerated difference between the issuer's clock and ours, in seconds.
const LEEWAY_SECONDS: i64 = 30;
/// No real token is longer.
const LONGEST_TOKEN: usize = 8 * 1024;

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token, or not a good one. The reason is for the log, not for the caller.
    #[error("token refused: {0}")]
    Rejected(&'static str),
    /// The keys cannot be had. Try again.
    #[error("tokens cannot be verified: {0}")]
    Unavailable(&'static str),
}

/// Whom to believe.
pub struct AuthConfig {
    /// The `iss` of good tokens.
    pub issuer: String,
    /// The `aud` of good tokens; Supabase: `authenticated`.
    pub audience: String,
    /// Where the issuer publishes its keys.
    pub jwks_url: Url,
    /// The secret of legacy tokens; without it HS256 is refused.
    pub legacy_secret: Option<Secret>,
}

impl AuthConfig {
    /// Reads `JWT_ISSUER`, `JWT_AUDIENCE`, `JWKS_URL` and, if there, `JWT_LEGACY_SECRET`.
    pub fn from_env(env: &mut crate::config::Env) -> Option<Self> {
        let (issuer, audience) = (
            env.required("JWT_ISSUER"),
            env.or("JWT_AUDIENCE", "authenticated".to_owned()),
        );
        let (jwks_url, legacy_secret) = (env.required("JWKS_URL"), env.optional_secret("JWT_LEGACY_SECRET"));
        Some(Self {
            issuer: issuer?,
            audience: audience?,
            jwks_url: jwks_url?,
            legacy_secret,
        })
    }
}

/// Verifies tokens.
pub struct Authenticator {
    config: AuthConfig,
    clock: Clock,
    keys: Mutex<Option<PublishedKeys>>,
}

struct PublishedKeys {
    set: Arc<JwkSet>,
    fetched_at: Timestamp,
}

#[derive(Deserialize)]
struct Claims {
    sub: Uuid,
    exp: i64,
    nbf: Option<i64>,
}

impl Authenticator {
    /// An authenticator; fetches nothing yet.
    pub fn new(config: AuthConfig, clock: Clock) -> Self {
        Self {
            config,
            clock,
            keys: Mutex::new(None),
        }
    }

    /// The `sub` of the bearer token in `headers`, which is the caller's `profiles.id`.
    pub async fn user(&self, headers: &HeaderMap) -> Result<Uuid, AuthError> {
        let token = bearer(headers)?;
        let header = decode_header(token).map_err(|_| AuthError::Rejected("not a token"))?;
        let (key, algorithm) = match header.alg {
            Algorithm::HS256 => (self.legacy_key().await?, Algorithm::HS256),
            _ => self.published_key(&header).await?,
        };
        let claims = self.claims(token, &key, algorithm)?;
        self.check_times(&claims)?;
        Ok(claims.sub)
    }

    fn claims(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, AuthError> {
        let mut rules = Validation::new(algorithm);
        rules.set_issuer(&[&self.config.issuer]);
        rules.set_audience(&[&self.config.audience]);
        rules.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
        // Times are checked against the injected clock instead.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        let verified = decode::<Claims>(token, key, &rules);
        verified
            .map(|token| token.claims)
            .map_err(|_| AuthError::Rejected("signature or claims"))
    }

    fn check_times(&self, claims: &Claims) -> Result<(), AuthError> {
        let now = self.clock.now().as_second();
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now {
            return Err(AuthError::Rejected("expired"));
        }
        if claims
            .nbf
            .is_some_and(|nbf| nbf.saturating_sub(LEEWAY_SECONDS) > now)
        {
            return Err(AuthError::Rejected("not valid yet"));
        }
        Ok(())
    }

    async fn legacy_key(&self) -> Result<DecodingKey, AuthError> {
        let secret = self
            .config
            .legacy_secret
            .as_ref()
            .ok_or(AuthError::Rejected("HS256 is not accepted"))?;
        let value = secret
            .first()
            .await
            .map_err(|_| AuthError::Unavailable("legacy secret"))?;
        Ok(DecodingKey::from_secret(value.expose_secret().as_bytes()))
    }

    async fn published_key(&self, header: &Header) -> Result<(DecodingKey, Algorithm), AuthError> {
        let kid = header.kid.as_deref().ok_or(AuthError::Rejected("no key id"))?;
        let jwk = self.find(kid).await?;
        let algorithm = pinned_algorithm(&jwk).ok_or(AuthError::Rejected("unusable key"))?;
        if header.alg != algorithm {
            return Err(AuthError::Rejected("algorithm does not fit the key"));
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| AuthError::Rejected("unusable key"))?;
        Ok((key, algorithm))
    }

    async fn find(&self, kid: &str) -> Result<Jwk, AuthError> {
        let mut keys = self.keys.lock().await;
        let now = self.clock.now();
        let age = keys
            .as_ref()
            .map(|keys| now.duration_since(keys.fetched_at).abs());
        let known = |keys: &Option<PublishedKeys>| keys.as_ref().and_then(|keys| keys.set.find(kid).cloned());
        let is_due = match (age, known(&keys)) {
            (None, _) => true,
            (Some(age), Some(_)) => age >= KEYS_TIME_TO_LIVE,
            (Some(age), None) => age >= REFETCH_INTERVAL,
        };
        if is_due {
            match self.fetch().await {
                Ok(set) => {
                    *keys = Some(PublishedKeys {
                        set: Arc::new(set),
                        fetched_at: now,
                    });
                }
                // The last known keys are better than none.
                Err(error) if keys.is_none() => return Err(error),
                Err(error) => tracing::warn!(%error, "keeping the last known keys"),
            }
        }
        known(&keys).ok_or(AuthError::Rejected("unknown key id"))
    }

    async fn fetch(&self) -> Result<JwkSet, AuthError> {
        let client = outbound::client()
            .await
            .map_err(|_| AuthError::Unavailable("client"))?;
        let request = client
            .get(self.config.jwks_url.clone())
            .timeout(outbound::budget());
        let response = request.send().await.and_then(reqwest::Response::error_for_status);
        let response = response.map_err(|_| AuthError::Unavailable("key server"))?;
        response
            .json()
            .await
            .map_err(|_| AuthError::Unavailable("key server answered no keys"))
    }
}

pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(AuthError::Rejected("no single Authorization header"));
    };
    let text = value.to_str().map_err(|_| AuthError::Rejected("not text"))?;
    let token = text
        .strip_prefix("Bearer ")
        .or_else(|| text.strip_prefix("bearer "));
    token
        .filter(|token| token.len() <= LONGEST_TOKEN)
        .ok_or(AuthError::Rejected("not a bearer token"))
}

/// The one algorithm a key may be used with: by its curve or type, confirmed by its `alg` if it has one.
fn pinned_algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    let declared = jwk
        .common
        .key_algorithm
        .and_then(|declared| declared.to_string().parse().ok());
    (declared.is_none() || declared == Some(algorithm)).then_some(algorithm)
}
