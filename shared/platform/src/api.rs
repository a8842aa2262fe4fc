//! Entry point of functions behind the HTTP API: reads a request safely, answers problems in one shape.

use crate::auth::{self, AuthError, Authenticator};
use crate::invocation::{self, Invocation, Outcome};
use crate::logs;
use crate::problem::Problem;
use crate::secrets::Secret;
use futures::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt, Response, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// The largest JSON body a user may send, in bytes; none of ours comes near.
const LARGEST_JSON: usize = 64 * 1024;
/// How long a route may run beyond the time that its own calls are given, to tidy up after the last of them.
/// The answer still goes out before the deadline.
const TIDYING_UP: Duration = Duration::from_millis(300);

/// A successful answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    status: StatusCode,
    body: Value,
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: impl Serialize) -> Self {
        Self::with_status(StatusCode::OK, body)
    }

    /// A given success status with a body.
    pub fn with_status(status: StatusCode, body: impl Serialize) -> Self {
        // Serialising our own answer types cannot fail: they hold no maps with foreign keys.
        Self {
            status,
            body: serde_json::to_value(body).unwrap_or_default(),
        }
    }
}

/// One HTTP request to a route.
pub struct Call {
    request: Request,
}

impl Call {
    /// The id of the caller, by their bearer token. It is noted in the log.
    pub async fn user(&self, authenticator: &Authenticator) -> Result<Uuid, AuthError> {
        // The future of a verification is large. Boxed, it does not make every route's future as large.
        let user = invocation::phase("auth_ms", Box::pin(authenticator.user(self.headers()))).await?;
        invocation::note("user_id", user);
        Ok(user)
    }

    /// Lets the call through if its bearer token is `secret`.
    pub async fn bearer_is(&self, secret: &Secret) -> Result<(), Problem> {
        let given = auth::bearer(self.headers())?;
        if secret.is(given).await? {
            Ok(())
        } else {
            Err(AuthError::Rejected("wrong secret").into())
        }
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The id in the path, logged as `name`. A malformed id names nothing, and is answered like an id of
    /// somebody else's.
    pub fn path_id<T: FromStr + ToString>(&self, name: &'static str) -> Result<T, Problem> {
        let parameters = self.request.path_parameters();
        let id: T = parameters
            .first("id")
            .and_then(|id| id.parse().ok())
            .ok_or_else(Problem::forbidden)?;
        invocation::note(name, id.to_string());
        Ok(id)
    }

    /// A query parameter, decoded; `None` if it was not given.
    pub fn query(&self, name: &str) -> Option<String> {
        self.request
            .query_string_parameters()
            .first(name)
            .map(ToOwned::to_owned)
    }

    /// The body's bytes as they were sent; empty if there is none.
    pub fn raw_body(&self) -> &[u8] {
        match self.request.body() {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }

    /// The JSON body. Unknown fields are refused by the types read here (`deny_unknown_fields`).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = self.raw_body();
        if body.len() > LARGEST_JSON {
            let detail = format!("The body is larger than {LARGEST_JSON} bytes.");
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                detail,
            ));
        }

        // serde's message names fields, lines and columns, never a value of a string field.
        serde_json::from_slice(body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let detail = if error.is_data() {
                "has a missing, unknown or ill-typed field"
            } else {
                "is not JSON"
            };
            Problem::bad_request("malformed-body", format!("The body {detail} ({place})."))
        })
    }
}

/// What a function behind the HTTP API does with a call.
pub trait Route: Send + Sync {
    /// Answers one call.
    fn handle(&self, call: Call) -> impl Future<Output = Result<Reply, Problem>> + Send;
}

/// Runs the function: answers requests with `route` until the environment ends.
pub async fn serve(function: &'static str, route: impl Route) -> Result<(), Error> {
    logs::init();
    let route = &route;
    lambda_http::run(service_fn(move |request: Request| {
        answer(function, route, request)
    }))
    .await
}

async fn answer(
    function: &'static str,
    route: &impl Route,
    request: Request,
) -> Result<Response<Body>, Error> {
    let context = request.lambda_context();
    let invocation = Invocation::begin(function, &context.request_id, context.deadline);

    let work = async {
        let handled = AssertUnwindSafe(route.handle(Call { request })).catch_unwind();
        let allowed = invocation::remaining().saturating_add(TIDYING_UP);
        let result = timeout(allowed, handled).await;

        // Three layers: the time-out, a caught panic, and the route's own result.
        let (outcome, response) = match result.unwrap_or_else(|_| Ok(Err(out_of_time()))) {
            Ok(Ok(reply)) => (Outcome::Ok, success(&reply)),
            Ok(Err(problem)) => (outcome_of(&problem), failure(&problem, &context.request_id)),
            Err(_) => (
                Outcome::Panicked,
                failure(&Problem::internal(), &context.request_id),
            ),
        };

        invocation::note("status", response.status().as_u16());
        invocation.finish(outcome, &[]);
        response
    };

    Ok(invocation.scope(work).await)
}

/// The answer for a route that was stopped because the function's time was up. Without it API Gateway would
/// answer with a bare error.
fn out_of_time() -> Problem {
    tracing::error!("stopped at the deadline");
    Problem::unavailable("out-of-time", "This took too long. Please try again.", 5)
}

fn outcome_of(problem: &Problem) -> Outcome {
    invocation::note("problem", problem.kind);
    if problem.status.is_server_error() {
        Outcome::Failed
    } else {
        Outcome::Refused
    }
}

fn respond(status: StatusCode, media_type: &'static str, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::Text(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    // Every answer is about one person's booking, many carry links.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn success(reply: &Reply) -> Response<Body> {
    respond(reply.status, "application/json", &reply.body)
}

fn failure(problem: &Problem, request_id: &str) -> Response<Body> {
    let mut response = respond(
        problem.status,
        "application/problem+json",
        &problem.body(request_id),
    );

    if let Some(seconds) = problem.retry_after_seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }

    if problem.kind == "unauthenticated" {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }

    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::Context;
    use tokio::time::sleep;

    struct Slow(Duration);

    impl Route for Slow {
        async fn handle(&self, _: Call) -> Result<Reply, Problem> {
            sleep(self.0).await;
            Ok(Reply::ok("done"))
        }
    }

    struct Strict;

    impl Route for Strict {
        async fn handle(&self, call: Call) -> Result<Reply, Problem> {
            auth::bearer(call.headers())?;
            Ok(Reply::ok("done"))
        }
    }

    async fn asked(route: impl Route) -> Response<Body> {
        // No deadline is told, so twenty seconds are assumed.
        let request = Request::new(Body::Empty).with_lambda_context(Context::default());
        answer("slow", &route, request).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_that_does_not_end_is_answered_for_before_the_deadline() {
        let in_time = asked(Slow(Duration::from_secs(20))).await;
        assert_eq!(in_time.status(), StatusCode::OK);

        let endless = asked(Slow(Duration::from_hours(1))).await;
        assert_eq!(endless.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(endless.headers()[RETRY_AFTER], "5");
        let Body::Text(body) = endless.body() else {
            panic!("not text: {endless:?}")
        };
        assert!(body.contains("urn:firstbell:problem:out-of-time"), "{body}");
    }

    #[tokio::test]
    async fn who_has_no_token_is_told_which_kind_is_wanted() {
        let answer = asked(Strict).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer");
    }
}
