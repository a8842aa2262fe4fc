//! User tokens: who is believed to be who.

use crate::harness::LEGACY_SECRET;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use platform::auth::{AuthConfig, AuthError, Authenticator};
use platform::clock::{Clock, ClockHand};
use platform::config::Env;
use serde_json::{Value, json};
use simulators::identity::{AUDIENCE, Identity};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use uuid::Uuid;

struct Scene {
    identity: Identity,
    authenticator: Authenticator,
    clock: ClockHand,
    person: Uuid,
}

async fn scene() -> Scene {
    scene_with(Some(LEGACY_SECRET)).await
}

async fn scene_with(legacy_secret: Option<&'static str>) -> Scene {
    let (clock, hand) = Clock::manual(Timestamp::now());
    let identity = Identity::new("https://issuer.story/auth/v1", clock.clone());
    let address = simulators::serve(identity.router()).await.unwrap();
    let mut env = Env::from_lookup(move |name| match name {
        "JWT_ISSUER" => Some("https://issuer.story/auth/v1".into()),
        "JWT_AUDIENCE" => Some(AUDIENCE.into()),
        "JWKS_URL" => Some(format!("http://{address}/.well-known/jwks.json")),
        "JWT_LEGACY_SECRET" => legacy_secret.map(Into::into),
        _ => None,
    });
    let config = AuthConfig::from_env(&mut env).unwrap();
    Scene {
        identity,
        authenticator: Authenticator::new(config, clock),
        clock: hand,
        person: Uuid::new_v4(),
    }
}

impl Scene {
    async fn believes(&self, token: &str) -> Result<Uuid, AuthError> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        self.authenticator.user(&headers).await
    }

    fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.identity.claims(self.person);
        claims[name] = value;
        claims
    }
}

fn is_rejected(result: &Result<Uuid, AuthError>) -> bool {
    matches!(result, Err(AuthError::Rejected(_)))
}

#[tokio::test]
async fn all_three_kinds_of_supabase_tokens_are_believed() {
    let scene = scene().await;
    let claims = scene.identity.claims(scene.person);
    let legacy = encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(LEGACY_SECRET.as_bytes()),
    );
    let tokens = [
        scene.identity.sign(Algorithm::ES256, &claims),
        scene.identity.sign(Algorithm::RS256, &claims),
        legacy.unwrap(),
    ];
    for token in tokens {
        assert_eq!(scene.believes(&token).await, Ok(scene.person));
    }
    assert_eq!(scene.identity.key_requests(), 1, "keys are fetched once");
}

#[tokio::test]
async fn every_claim_is_checked() {
    let scene = scene().await;
    // The scene's clock stands still while the machine's goes on.
    let now = scene.identity.claims(scene.person)["iat"].as_i64().unwrap();
    let wrong = [
        ("iss", json!("https://elsewhere.example")),
        ("aud", json!("anon")),
        ("exp", json!(now - 31)),
        ("exp", json!("tomorrow")),
        ("exp", Value::Null),
        ("nbf", json!(now + 60)),
        ("sub", json!("not-a-uuid")),
        ("sub", Value::Null),
    ];
    for (name, value) in wrong {
        let token = scene
            .identity
            .sign(Algorithm::ES256, &scene.claims_with(name, value.clone()));
        assert!(
            is_rejected(&scene.believes(&token).await),
            "{name} = {value} is believed"
        );
    }
    for (name, value) in [
        ("exp", json!(now - 10)),
        ("nbf", json!(now + 10)),
        ("aud", json!(["x", AUDIENCE])),
    ] {
        let token = scene
            .identity
            .sign(Algorithm::ES256, &scene.claims_with(name, value.clone()));
        assert_eq!(
            scene.believes(&token).await,
            Ok(scene.person),
            "{name} = {value} is within the leeway"
        );
    }
    let token = scene.identity.token(scene.person);
    scene.clock.advance(SignedDuration::from_mins(61));
    assert!(
        is_rejected(&scene.believes(&token).await),
        "the injected clock counts"
    );
}

#[tokio::test]
async fn the_algorithm_belongs_to_the_key() {
    let scene = scene().await;
    let claims = scene.identity.claims(scene.person);
    // Signed with the legacy algorithm and a published key's id, keyed with what is public.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = scene.identity.kid(Algorithm::RS256);
    let confused = encode(&header, &claims, &EncodingKey::from_secret(b"the public key")).unwrap();
    assert!(is_rejected(&scene.believes(&confused).await));
    // An ES256 signature under the RS256 key's id.
    let token = scene.identity.sign(Algorithm::ES256, &claims);
    let mut parts = token.split('.');
    let (_, body, signature) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
    let header = json!({"alg": "ES256", "kid": scene.identity.kid(Algorithm::RS256)}).to_string();
    let other_key = format!("{}.{body}.{signature}", base64_url(header.as_bytes()));
    assert!(is_rejected(&scene.believes(&other_key).await));
    // No signature at all.
    let unsigned = format!("{}.{body}.", base64_url(br#"{"alg":"none"}"#));
    assert!(is_rejected(&scene.believes(&unsigned).await));
    // Without a legacy secret HS256 is nothing.
    let strict = scene_with(None).await;
    let claims = strict.identity.claims(strict.person);
    let legacy = encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(LEGACY_SECRET.as_bytes()),
    );
    assert!(is_rejected(&strict.believes(&legacy.unwrap()).await));
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextets = |chunk: &[u8]| {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        (0..=chunk.len())
            .map(|n| char::from(ALPHABET[(bits >> (18 - 6 * n)) as usize & 63]))
            .collect::<String>()
    };
    bytes.chunks(3).map(sextets).collect()
}

#[tokio::test]
async fn made_up_key_ids_cannot_make_us_flood_the_issuer() {
    let scene = scene().await;
    let claims = scene.identity.claims(scene.person);
    let stranger = Identity::new(scene.identity.issuer(), Clock::system());
    for _ in 0..50 {
        let token = stranger.sign(Algorithm::ES256, &claims);
        assert!(is_rejected(&scene.believes(&token).await));
    }
    assert_eq!(
        scene.identity.key_requests(),
        1,
        "fifty unknown ids within the interval"
    );
    scene.clock.advance(SignedDuration::from_secs(31));
    for _ in 0..50 {
        assert!(is_rejected(
            &scene.believes(&stranger.sign(Algorithm::ES256, &claims)).await
        ));
    }
    assert_eq!(
        scene.identity.key_requests(),
        2,
        "one refetch an interval: a rotated key is found"
    );
    assert_eq!(
        scene.believes(&scene.identity.token(scene.person)).await,
        Ok(scene.person)
    );
}

#[tokio::test]
async fn an_issuer_that_is_down_is_not_the_callers_fault_and_its_known_keys_still_count() {
    let (clock, hand) = Clock::manual(Timestamp::now());
    let identity = Identity::new("https://issuer.story/auth/v1", clock.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = identity.router();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let config = AuthConfig {
        issuer: identity.issuer().into(),
        audience: AUDIENCE.into(),
        jwks_url: format!("http://{address}/.well-known/jwks.json").parse().unwrap(),
        legacy_secret: None,
    };
    let person = Uuid::new_v4();
    let scene = Scene {
        authenticator: Authenticator::new(config, clock),
        identity,
        clock: hand,
        person,
    };
    assert_eq!(scene.believes(&scene.identity.token(person)).await, Ok(person));
    server.abort();
    let _ = server.await;
    scene.clock.advance(SignedDuration::from_mins(11));
    assert_eq!(
        scene.believes(&scene.identity.token(person)).await,
        Ok(person),
        "the last known keys are kept"
    );
    let config = AuthConfig {
        issuer: "x".into(),
        audience: "x".into(),
        jwks_url: "http://127.0.0.1:1/".parse().unwrap(),
        legacy_secret: None,
    };
    let cold = Authenticator::new(config, Clock::system());
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        format!("Bearer {}", scene.identity.token(person))
            .parse()
            .unwrap(),
    );
    assert!(matches!(
        cold.user(&headers).await,
        Err(AuthError::Unavailable(_))
    ));
}

/// Publishes an issuer's keys, altered or not, and can fall silent: then it takes questions and answers none.
#[derive(Clone, Default)]
struct KeyServer {
    keys: Value,
    is_silent: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl KeyServer {
    /// The keys of `identity`, each as `alter` leaves it.
    async fn of(identity: &Identity, alter: impl Fn(&mut Value)) -> Self {
        let address = simulators::serve(identity.router()).await.unwrap();
        let published = reqwest::get(format!("http://{address}/.well-known/jwks.json"));
        let mut keys: Value = published.await.unwrap().json().await.unwrap();
        keys["keys"].as_array_mut().unwrap().iter_mut().for_each(alter);
        Self {
            keys,
            ..Self::default()
        }
    }

    async fn answer(State(server): State<Self>) -> Json<Value> {
        server.asked.fetch_add(1, Ordering::Relaxed);
        if server.is_silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Json(server.keys)
    }

    /// A scene in which tokens of `identity` are checked by these keys.
    async fn scene(&self, identity: Identity, clock: Clock, hand: ClockHand) -> Scene {
        let router = Router::new()
            .route("/", get(Self::answer))
            .with_state(self.clone());
        let address = simulators::serve(router).await.unwrap();
        let config = AuthConfig {
            issuer: identity.issuer().into(),
            audience: AUDIENCE.into(),
            jwks_url: format!("http://{address}/").parse().unwrap(),
            legacy_secret: None,
        };
        Scene {
            identity,
            authenticator: Authenticator::new(config, clock),
            clock: hand,
            person: Uuid::new_v4(),
        }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn an_issuer_that_hangs_is_waited_for_once_in_half_a_minute_and_its_known_keys_still_count() {
    let (clock, hand) = Clock::manual(Timestamp::now());
    let identity = Identity::new("https://issuer.story/auth/v1", clock.clone());
    let server = KeyServer::of(&identity, |_| ()).await;
    let scene = server.scene(identity, clock, hand).await;
    let stranger = Identity::new(scene.identity.issuer(), Clock::system());
    let believed = async || {
        let token = scene.identity.token(scene.person);
        scene.believes(&token).await == Ok(scene.person)
    };
    assert!(believed().await);

    server.is_silent.store(true, Ordering::Relaxed);
    scene.clock.advance(SignedDuration::from_mins(11));
    for _ in 0..20 {
        assert!(believed().await, "the last known keys are kept");
        let made_up = stranger.sign(Algorithm::ES256, &scene.identity.claims(scene.person));
        let answer = scene.believes(&made_up).await;
        assert!(
            matches!(answer, Err(AuthError::Unavailable(_))),
            "it may be a new key of theirs: {answer:?}"
        );
    }
    assert_eq!(
        server.asked(),
        2,
        "once more after the keys had grown old, and then not at each call"
    );

    scene.clock.advance(SignedDuration::from_secs(30));
    assert!(believed().await);
    assert_eq!(server.asked(), 3);

    server.is_silent.store(false, Ordering::Relaxed);
    scene.clock.advance(SignedDuration::from_secs(30));
    assert!(believed().await);
    let made_up = stranger.sign(Algorithm::ES256, &scene.identity.claims(scene.person));
    assert!(
        is_rejected(&scene.believes(&made_up).await),
        "now it is known to be nobody's"
    );
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn a_key_that_is_published_for_something_else_verifies_nothing() {
    for (declared, is_believed) in [
        (json!("RSA-OAEP"), false),
        (json!("made-up"), false),
        (json!("HS256"), false),
        (Value::Null, true),
    ] {
        let (clock, hand) = Clock::manual(Timestamp::now());
        let identity = Identity::new("https://issuer.story/auth/v1", clock.clone());
        let alter = |key: &mut Value| {
            let key = key.as_object_mut().unwrap();
            key.remove("alg");
            if !declared.is_null() {
                key.insert("alg".into(), declared.clone());
            }
        };
        let scene = KeyServer::of(&identity, alter)
            .await
            .scene(identity, clock, hand)
            .await;
        for algorithm in [Algorithm::ES256, Algorithm::RS256] {
            let token = scene
                .identity
                .sign(algorithm, &scene.identity.claims(scene.person));
            let answer = scene.believes(&token).await;
            assert_eq!(
                answer.is_ok(),
                is_believed,
                "{algorithm:?}, declared {declared}: {answer:?}"
            );
        }
    }
}
