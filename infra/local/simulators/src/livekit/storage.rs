//! Uploads to S3, signed by AWS Signature Version 4.

use super::room_service::text;
use super::tokens::hmac256;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use url::{Host, Url};

/// An upload that broke is tried so often in all.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(100);

/// A bucket, and the keys to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Target {
    /// Where it is reached; Amazon's own if empty.
    pub endpoint: String,
    /// `us-east-1`, say. If this and the endpoint are empty, the bucket is asked.
    pub region: String,
    /// Its name.
    pub bucket: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret: String,
    /// What belongs to a key that is valid for a while; else empty.
    pub session_token: String,
    /// Whether the bucket stands in the path, not in the host's name.
    pub force_path_style: bool,
    /// What each object carries.
    pub metadata: BTreeMap<String, String>,
    /// Tags, as a query string.
    pub tagging: String,
    /// `inline` if empty.
    pub content_disposition: String,
    /// A role to take on, which nobody grants here.
    pub assume_role_arn: String,
}

impl S3Target {
    /// The target that a request names.
    pub(super) fn asked_for(s3: &Value) -> Self {
        let said = |name: &str| text(s3, name).to_owned();
        let metadata = s3.get("metadata").and_then(Value::as_object);
        let metadata = metadata.into_iter().flatten();
        Self {
            endpoint: said("endpoint"),
            region: said("region"),
            bucket: said("bucket"),
            access_key: said("access_key"),
            secret: said("secret"),
            session_token: said("session_token"),
            force_path_style: s3.get("force_path_style") == Some(&Value::Bool(true)),
            metadata: metadata
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            tagging: said("tagging"),
            content_disposition: said("content_disposition"),
            assume_role_arn: said("assume_role_arn"),
        }
    }

    /// Where the vendor says that an object is. It does not always work as an address.
    pub(super) fn location(&self, key: &str) -> String {
        let endpoint = if self.endpoint.is_empty() {
            "s3.amazonaws.com"
        } else {
            &self.endpoint
        };
        if !self.force_path_style {
            return format!("https://{}.{endpoint}/{key}", self.bucket);
        }
        let scheme = if endpoint.starts_with("http") {
            ""
        } else {
            "https://"
        };
        format!("{scheme}{endpoint}/{}/{key}", self.bucket)
    }

    /// Where an object really is. `amazon` is where Amazon is reached.
    fn address(&self, key: &str, region: &str, amazon: Option<&Url>) -> Result<Url, String> {
        let path = encode(key);
        let in_path = |base: &str| format!("{}/{}/{path}", base.trim_end_matches('/'), self.bucket);
        let address = match (self.endpoint.is_empty(), amazon) {
            (true, Some(amazon)) => in_path(amazon.as_str()),
            (true, None) if self.force_path_style => in_path(&format!("https://s3.{region}.amazonaws.com")),
            (true, None) => format!("https://{}.s3.{region}.amazonaws.com/{path}", self.bucket),
            (false, _) => {
                let wrong = || format!("Custom endpoint `{}` was not a valid URI", self.endpoint);
                let base: Url = self.endpoint.parse().map_err(|_| wrong())?;
                let is_http = matches!(base.scheme(), "http" | "https");
                let host = base.host().filter(|_| is_http).ok_or_else(wrong)?;
                match host {
                    Host::Domain(host) if !self.force_path_style => {
                        let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
                        format!("{}://{}.{host}{port}/{path}", base.scheme(), self.bucket)
                    }
                    Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => in_path(&self.endpoint),
                }
            }
        };
        address.parse().map_err(|_| format!("no address: {address}"))
    }
}

/// An object to upload.
pub(super) struct Object<'a> {
    pub(super) key: &'a str,
    pub(super) content_type: &'static str,
    pub(super) bytes: &'a [u8],
}

/// From where uploads are made, and when.
pub(super) struct Uploader<'a> {
    pub(super) http: &'a reqwest::Client,
    pub(super) amazon: Option<Url>,
    pub(super) now: Timestamp,
}

impl Uploader<'_> {
    /// Puts an object into a bucket; else why not, as the vendor says it.
    pub(super) async fn put(&self, target: &S3Target, object: &Object<'_>) -> Result<(), String> {
        self.try_put(target, object)
            .await
            .map_err(|why| format!("S3 upload failed: {why}"))
    }

    async fn try_put(&self, target: &S3Target, object: &Object<'_>) -> Result<(), String> {
        if !target.assume_role_arn.is_empty() {
            return Err("operation error STS: AssumeRole, AccessDenied".into());
        }
        if target.bucket.is_empty() {
            return Err("operation error S3: PutObject, input member Bucket must not be empty".into());
        }
        if target.access_key.is_empty() || target.secret.is_empty() {
            return Err("operation error S3: PutObject, get identity: no credentials".into());
        }

        let region = self.region(target).await?;
        let address = target.address(object.key, &region, self.amazon.as_ref())?;
        let mut headers = headers_of(target);
        headers.insert("content-type".into(), object.content_type.into());
        self.send(
            "PutObject",
            Method::PUT,
            &address,
            target,
            &region,
            headers,
            object.bytes,
        )
        .await
        .map(drop)
    }

    /// The bucket's region, which is asked for if the target names neither it nor an endpoint.
    async fn region(&self, target: &S3Target) -> Result<String, String> {
        const DEFAULT: &str = "us-east-1";
        if !target.region.is_empty() {
            return Ok(target.region.clone());
        }
        if !target.endpoint.is_empty() {
            return Ok(DEFAULT.into());
        }

        let mut address = target.address("", DEFAULT, self.amazon.as_ref())?;
        address.set_query(Some("location="));
        let none = BTreeMap::new();
        let answer = self
            .send(
                "GetBucketLocation",
                Method::GET,
                &address,
                target,
                DEFAULT,
                none,
                b"",
            )
            .await?;
        let named = answer.split_once("LocationConstraint").and_then(|(_, rest)| {
            let (_, inside) = rest.split_once('>')?;
            inside.split_once('<').map(|(region, _)| region.trim().to_owned())
        });
        Ok(named
            .filter(|region| !region.is_empty())
            .unwrap_or_else(|| DEFAULT.into()))
    }

    #[allow(clippy::too_many_arguments, reason = "a request has so many parts")]
    async fn send(
        &self,
        operation: &str,
        method: Method,
        address: &Url,
        target: &S3Target,
        region: &str,
        headers: BTreeMap<String, String>,
        body: &[u8],
    ) -> Result<String, String> {
        let signing = Signing {
            target,
            region,
            at: self.now,
        };
        let headers = signing.sign(method.as_str(), address, headers, body);

        let mut failure = String::new();
        for attempt in 0..TRIES {
            let mut request = self.http.request(method.clone(), address.clone());
            for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
                request = request.header(name, value);
            }
            let answered = request.body(body.to_vec()).send().await;
            let status = answered.as_ref().map_or(0, |answer| answer.status().as_u16());
            let said = match answered {
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(_) => "connection failed".into(),
            };
            if (200..300).contains(&status) {
                return Ok(said);
            }
            let said: String = said.chars().take(200).collect();
            failure =
                format!("operation error S3: {operation}, https response error StatusCode: {status}, {said}");
            if (400..500).contains(&status) && status != 429 && status != 409 {
                break;
            }
            tokio::time::sleep(WAIT * 2_u32.pow(attempt)).await;
        }
        Err(failure)
    }
}

fn headers_of(target: &S3Target) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = target
        .metadata
        .iter()
        .map(|(name, value)| (format!("x-amz-meta-{}", name.to_ascii_lowercase()), value.clone()))
        .collect();
    let disposition = if target.content_disposition.is_empty() {
        "inline"
    } else {
        &target.content_disposition
    };
    headers.insert("content-disposition".into(), disposition.into());
    if !target.tagging.is_empty() {
        headers.insert("x-amz-tagging".into(), target.tagging.clone());
    }
    headers
}

/// With what a request to S3 is signed.
struct Signing<'a> {
    target: &'a S3Target,
    region: &'a str,
    at: Timestamp,
}

impl Signing<'_> {
    /// All headers of the request, its signature among them.
    fn sign(
        &self,
        method: &str,
        address: &Url,
        mut headers: BTreeMap<String, String>,
        body: &[u8],
    ) -> BTreeMap<String, String> {
        let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", address.host_str().unwrap_or_default());
        let hash = hex::encode(Sha256::digest(body));
        let time = self.at.strftime("%Y%m%dT%H%M%SZ").to_string();
        headers.insert("host".into(), host);
        headers.insert("x-amz-date".into(), time.clone());
        headers.insert("x-amz-content-sha256".into(), hash.clone());
        if !self.target.session_token.is_empty() {
            let token = self.target.session_token.clone();
            headers.insert("x-amz-security-token".into(), token);
        }

        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()));
        let canonical = format!(
            "{method}\n{}\n{}\n{}\n{names}\n{hash}",
            address.path(),
            address.query().unwrap_or_default(),
            lines.collect::<String>()
        );

        let scope = format!("{}/{}/s3/aws4_request", self.at.strftime("%Y%m%d"), self.region);
        let hashed = hex::encode(Sha256::digest(canonical.as_bytes()));
        let signature = self.signature(&format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashed}"));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.target.access_key
        );
        headers.insert("authorization".into(), authorization);
        headers
    }

    fn signature(&self, signed: &str) -> String {
        let day = self.at.strftime("%Y%m%d").to_string();
        let mut key = format!("AWS4{}", self.target.secret).into_bytes();
        for part in [day.as_str(), self.region, "s3", "aws4_request"] {
            key = hmac256(&key, part.as_bytes());
        }
        hex::encode(hmac256(&key, signed.as_bytes()))
    }
}

/// Percent-encodes everything but letters, digits, `-`, `.`, `_`, `~` and slashes.
fn encode(path: &str) -> String {
    let bytes = path.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example "PUT Object" of Amazon's page about signing.
    #[test]
    fn amazons_own_example_is_signed_alike() {
        let target = S3Target {
            bucket: "examplebucket".into(),
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            ..S3Target::default()
        };
        let signing = Signing {
            target: &target,
            region: "us-east-1",
            at: "2013-05-24T00:00:00Z".parse().unwrap(),
        };
        let path = encode("test$file.text");
        let address = format!("https://examplebucket.s3.amazonaws.com/{path}")
            .parse()
            .unwrap();
        let headers = BTreeMap::from([
            ("date".to_owned(), "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
            ("x-amz-storage-class".to_owned(), "REDUCED_REDUNDANCY".to_owned()),
        ]);

        let signed = signing.sign("PUT", &address, headers, b"Welcome to Amazon S3.");

        let wanted = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
        assert!(
            signed["authorization"].ends_with(wanted),
            "{}",
            signed["authorization"]
        );
    }

    #[test]
    fn buckets_stand_in_the_host_or_in_the_path() {
        let at = |endpoint: &str, force_path_style| {
            let target = S3Target {
                endpoint: endpoint.into(),
                bucket: "b".into(),
                force_path_style,
                ..S3Target::default()
            };
            let address = target.address("a/x y.mp4", "eu-central-1", None);
            (address.map(String::from), target.location("a/x"))
        };

        let (address, location) = at("", false);
        assert_eq!(
            address.unwrap(),
            "https://b.s3.eu-central-1.amazonaws.com/a/x%20y.mp4"
        );
        assert_eq!(location, "https://b.s3.amazonaws.com/a/x");
        let (address, location) = at("http://minio.test:9000", true);
        assert_eq!(address.unwrap(), "http://minio.test:9000/b/a/x%20y.mp4");
        assert_eq!(location, "http://minio.test:9000/b/a/x");
        let (address, location) = at("http://minio.test:9000", false);
        assert_eq!(address.unwrap(), "http://b.minio.test:9000/a/x%20y.mp4");
        assert_eq!(
            location, "https://b.http://minio.test:9000/a/x",
            "as broken as the vendor's"
        );
        assert_eq!(
            at("http://127.0.0.1:9000", false).0.unwrap(),
            "http://127.0.0.1:9000/b/a/x%20y.mp4"
        );
        assert!(at("minio.test", true).0.is_err());
    }
}
