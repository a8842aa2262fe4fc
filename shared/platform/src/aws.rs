//! One AWS configuration per environment, and clients that exist from their first use on. Endpoints,
//! region and credentials are the SDK's own business (`AWS_ENDPOINT_URL` points it at the local stack).

use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use std::time::Duration;
use tokio::sync::OnceCell;

static CONFIG: OnceCell<SdkConfig> = OnceCell::const_new();
static SQS: OnceCell<aws_sdk_sqs::Client> = OnceCell::const_new();
static S3: OnceCell<aws_sdk_s3::Client> = OnceCell::const_new();
static SSM: OnceCell<aws_sdk_ssm::Client> = OnceCell::const_new();

async fn config() -> &'static SdkConfig {
    CONFIG
        .get_or_init(|| async {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .operation_attempt_timeout(Duration::from_secs(5))
                .operation_timeout(Duration::from_secs(12))
                .build();

            aws_config::defaults(BehaviorVersion::latest())
                .timeout_config(timeouts)
                .load()
                .await
        })
        .await
}

pub(crate) async fn sqs() -> &'static aws_sdk_sqs::Client {
    SQS.get_or_init(|| async { aws_sdk_sqs::Client::new(config().await) })
        .await
}

pub(crate) async fn s3() -> &'static aws_sdk_s3::Client {
    S3.get_or_init(|| async {
        // Path-style addresses are only for emulators: a bucket of AWS is reached by its own host name.
        let emulated = std::env::var_os("AWS_ENDPOINT_URL").is_some();
        let config = aws_sdk_s3::config::Builder::from(config().await).force_path_style(emulated);
        aws_sdk_s3::Client::from_conf(config.build())
    })
    .await
}

pub(crate) async fn ssm() -> &'static aws_sdk_ssm::Client {
    SSM.get_or_init(|| async { aws_sdk_ssm::Client::new(config().await) })
        .await
}
