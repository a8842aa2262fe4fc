//! Queues and buckets of their own for each story.

use super::*;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use uuid::Uuid;

/// `MiniStack`, spoken to as AWS.
pub(crate) struct Aws {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) s3: aws_sdk_s3::Client,
}

impl Aws {
    pub(crate) async fn connect() -> Self {
        // Without it the client would look for the real AWS.
        variable("AWS_ENDPOINT_URL");
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build();
        Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
        }
    }

    pub(crate) async fn queue(&self, purpose: &str) -> String {
        let name = format!("{purpose}-{}", Uuid::new_v4().simple());
        self.sqs
            .create_queue()
            .queue_name(name)
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap()
    }

    pub(crate) async fn bucket(&self) -> String {
        let name = format!("artifacts-{}", Uuid::new_v4().simple());
        self.s3.create_bucket().bucket(&name).send().await.unwrap();
        name
    }

    /// Takes everything that is in the queue now.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<aws_sdk_sqs::types::Message> {
        let mut all = Vec::new();
        loop {
            let request = self
                .sqs
                .receive_message()
                .queue_url(queue)
                .max_number_of_messages(10);
            let some = request
                .message_system_attribute_names(MessageSystemAttributeName::All)
                .send()
                .await
                .unwrap()
                .messages
                .unwrap_or_default();
            if some.is_empty() {
                return all;
            }
            for message in &some {
                let receipt = message.receipt_handle.as_deref().unwrap();
                self.sqs
                    .delete_message()
                    .queue_url(queue)
                    .receipt_handle(receipt)
                    .send()
                    .await
                    .unwrap();
            }
            all.extend(some);
        }
    }

    pub(crate) async fn arn(&self, queue: &str) -> String {
        let request = self.sqs.get_queue_attributes().queue_url(queue);
        let answer = request
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .unwrap();
        answer.attributes.unwrap()[&QueueAttributeName::QueueArn].clone()
    }
}
