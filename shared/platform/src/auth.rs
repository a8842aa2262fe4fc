//! Who is calling: a Supabase user token, verified here because HTTP API authorizers take only RSA.
//!
//! Asymmetric tokens (ES256, RS256) are checked against the issuer's published keys (JWKS), legacy tokens
//! (HS256) against a shared secret. The algorithm belongs to the key, never to the token: a token that
//! names another one is refused.

use crate::clock::Clock;
use crate::freshness::{Freshness, patience};
use crate::outbound;
use crate::secrets::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

/// Tolerated difference between the issuer's clock and ours, in seconds.
const LEEWAY_SECONDS: i64 = 30;
/// In bytes; no real token is longer.
const LONGEST_TOKEN: usize = 8 * 1024;

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token, or not a good one. The reason is for the log, not for the caller.
    #[error("token refused: {0}")]
    Rejected(&'static str),
    /// The keys cannot be fetched. The caller may try again.
    #[error("tokens cannot be verified: {0}")]
    Unavailable(&'static str),
}

/// Which tokens are believed.
pub struct AuthConfig {
    /// The `iss` of good tokens.
    pub issuer: String,
    /// The `aud` of good tokens; Supabase: `authenticated`.
    pub audience: String,
    /// Where the issuer publishes its keys (JWKS).
    pub jwks_url: Url,
    /// The secret of legacy tokens; without it HS256 is refused.
    pub legacy_secret: Option<Secret>,
}

impl AuthConfig {
    /// Reads `JWT_ISSUER`, `JWT_AUDIENCE`, `JWKS_URL` and, if there, `JWT_LEGACY_SECRET`.
    pub fn from_env(env: &mut crate::config::Env) -> Option<Self> {
        // Read before any `?`, so that one failed start names everything that is missing.
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

/// Verifies user tokens. Keeps the issuer's published keys while its environment lives.
pub struct Authenticator {
    config: AuthConfig,
    clock: Clock,
    keys: Mutex<PublishedKeys>,
}

/// The issuer's keys as it last published them; none before the first fetch.
#[derive(Default)]
struct PublishedKeys {
    set: Option<JwkSet>,
    freshness: Freshness,
}

impl PublishedKeys {
    fn find(&self, kid: &str) -> Option<&Jwk> {
        self.set.as_ref().and_then(|set| set.find(kid))
    }
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
            keys: Mutex::default(),
        }
    }

    /// The `sub` of the bearer token in `headers`, which is the caller's `profiles.id`.
    pub async fn user(&self, headers: &HeaderMap) -> Result<Uuid, AuthError> {
        let token = bearer(headers)?;
        let header = decode_header(token).map_err(|_| AuthError::Rejected("not a token"))?;

        // Only the header's algorithm HS256 chooses the shared secret. For any other the key itself says
        // which it is.
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

    /// The key of that id. A refresh that fails, or takes longer than a second, leaves the last known keys in
    /// force, and is not tried again at once: neither by the next request nor for the next made-up id.
    async fn find(&self, kid: &str) -> Result<Jwk, AuthError> {
        let mut keys = self.keys.lock().await;
        let (now, is_known) = (self.clock.now(), keys.find(kid).is_some());

        if keys.freshness.is_due(is_known, now) {
            keys.freshness.asked(now);
            let answer = timeout(patience(is_known), self.fetch()).await;
            match answer.unwrap_or(Err(AuthError::Unavailable("the key server does not answer"))) {
                Ok(set) => {
                    keys.freshness.fetched(now);
                    keys.set = Some(set);
                }
                Err(error) => tracing::warn!(%error, "the issuer's keys could not be fetched"),
            }
        }

        match keys.find(kid) {
            Some(key) => Ok(key.clone()),
            // A key id that we do not know may be a new key of the issuer, so this is trouble of ours and no
            // refusal.
            None if keys.freshness.has_failed() => Err(AuthError::Unavailable("key server")),
            None => Err(AuthError::Rejected("unknown key id")),
        }
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
    // Of two headers a proxy might read the one and we the other.
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
    match &jwk.common.key_algorithm {
        None => Some(algorithm),
        // An `alg` that is not for signatures, or that we do not know, does not confirm anything: the key is
        // not used.
        Some(declared) => (declared.to_string().parse() == Ok(algorithm)).then_some(algorithm),
    }
}
