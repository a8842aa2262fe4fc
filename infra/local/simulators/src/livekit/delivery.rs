//! How webhooks are sent.

use super::LiveKit;
use super::webhooks::Webhook;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Deliveries are tried so often, waiting twice as long each time. The vendor begins with a second.
const DELIVERY_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The vendor waits for ever for an answer. No story does.
const PATIENCE: Duration = Duration::from_mins(1);

/// What has waited longer in its queue is thrown away, as is what comes to a queue that is full. The vendor keeps it
/// ten times as long, as it waits ten times as long between tries.
const OLDEST_IN_QUEUE: Duration = Duration::from_secs(3);
const LONGEST_QUEUE: usize = 200;

impl LiveKit {
    /// Sends a webhook as the vendor does: again after 429, 5xx or no answer, a few times; never again after any other
    /// refusal. Returns the last status, or 0.
    pub async fn deliver(&self, webhook: &Webhook) -> u16 {
        let Some(url) = &webhook.url else {
            return 0;
        };
        let mut status = 0;
        for attempt in 0..DELIVERY_TRIES {
            let mut request = self.0.http.post(url.clone()).timeout(PATIENCE);
            for (name, value) in &webhook.headers {
                request = request.header(*name, value);
            }
            let sent = request.body(webhook.body.clone()).send().await;
            status = sent.map_or(0, |answer| answer.status().as_u16());
            if !is_tried_again(status) {
                break;
            }
            if attempt + 1 < DELIVERY_TRIES {
                tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt)).await;
            }
        }
        status
    }

    /// Sends webhooks as one queue: in order, one at a time. What has waited too long, because those before it took
    /// their time, is thrown away, and so is what did not fit into the queue. The last status of each; 0 for what was
    /// never sent.
    pub async fn deliver_all(&self, webhooks: &[Webhook]) -> Vec<u16> {
        let queued = Instant::now();
        let mut queue: VecDeque<&Webhook> = webhooks.iter().take(LONGEST_QUEUE).collect();
        let mut statuses = Vec::new();
        while let Some(webhook) = queue.pop_front() {
            let is_fresh = queued.elapsed() <= OLDEST_IN_QUEUE;
            statuses.push(if is_fresh { self.deliver(webhook).await } else { 0 });
        }
        statuses.resize(webhooks.len(), 0);
        statuses
    }

    /// Tells what waits, if it is told at once.
    pub(super) fn tell_waiting(&self) {
        if !self.books().setup.tells_at_once {
            return;
        }
        let (vendor, webhooks) = (self.clone(), self.take_webhooks());
        tokio::spawn(async move { vendor.deliver_all(&webhooks).await });
    }
}

fn is_tried_again(status: u16) -> bool {
    match status {
        0 | 429 => true,
        501 => false,
        status => status >= 500,
    }
}

#[cfg(test)]
mod tests {
    use crate::livekit::stage::Stage;
    use axum::Router;
    use axum::extract::Path;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn only_trouble_is_met_by_another_try() {
        let stage = Stage::set().await;
        let tries = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&tries);
        let door = Router::new().route(
            "/{status}",
            post(move |Path(status): Path<u16>, headers: HeaderMap| {
                let kind = headers["content-type"].to_str().unwrap().to_owned();
                seen.lock().unwrap().push((status, kind));
                async move { StatusCode::from_u16(status).unwrap() }
            }),
        );
        let address = crate::serve(door).await.unwrap();

        for (status, times) in [(200, 1), (401, 1), (404, 1), (501, 1), (429, 5), (503, 5)] {
            stage
                .livekit
                .report_to(format!("http://{address}/{status}").parse().unwrap());
            let webhook = stage
                .livekit
                .join(&stage.token("b-1", "tutor"), stage.at(0))
                .unwrap()
                .pop();
            assert_eq!(stage.livekit.deliver(&webhook.unwrap()).await, status);

            let requests = std::mem::take(&mut *tries.lock().unwrap());
            assert_eq!(
                requests,
                vec![(status, "application/webhook+json".to_owned()); times]
            );
        }
    }
}
