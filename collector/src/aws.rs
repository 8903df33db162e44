//! How AWS is asked: the SDK with its chain of credentials, the time an answer may take, and what its refusals mean.
//!
//! Architecture invariant: nothing but the SDK looks for credentials, and none is ever kept or printed.

use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::error::{Error, Result, chain};

/// Where AWS keeps what is no region's own: Cost Explorer and the price lists.
const REGION: &str = "us-east-1";

/// How long connecting, one attempt and all attempts of a request may take.
const CONNECTING_TAKES: Duration = Duration::from_secs(10);
const ATTEMPT_TAKES: Duration = Duration::from_secs(60);
const REQUEST_TAKES: Duration = Duration::from_secs(300);

/// How often a request is sent at most, where the environment does not say (`AWS_MAX_ATTEMPTS`).
const ATTEMPTS: u32 = 4;

/// A service of AWS, ready to be asked.
#[derive(Debug, Clone)]
pub struct Aws {
    /// The service as messages call it.
    service: &'static str,
    pub(crate) config: SdkConfig,
    /// Which of the chain gave the credentials, and until when they hold.
    credentials: String,
}

impl Aws {
    /// Finds credentials by the SDK's chain; `endpoint_url` stands instead of AWS's own address.
    ///
    /// # Errors
    /// [`Error::Aws`] where there are none, or expired ones, or the URL is none.
    pub async fn connect(service: &'static str, endpoint_url: Option<&str>) -> Result<Self> {
        let wrong = |reason: String| Error::Aws {
            asked: service.to_owned(),
            reason,
        };
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(client())
            .region(Region::new(REGION))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECTING_TAKES)
                    .operation_attempt_timeout(ATTEMPT_TAKES)
                    .operation_timeout(REQUEST_TAKES)
                    .build(),
            );
        if std::env::var_os("AWS_MAX_ATTEMPTS").is_none() {
            loader = loader.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
        }
        if let Some(url) = endpoint_url {
            let parsed: http::Uri = url
                .parse()
                .map_err(|error| wrong(format!("`{url}` is no URL: {error}")))?;
            if !matches!(parsed.scheme_str(), Some("http" | "https")) {
                return Err(wrong(format!("`{url}` is no URL; write http:// or https://")));
            }
            loader = loader.endpoint_url(url);
        }
        let config = loader.load().await;
        let found = match config.credentials_provider() {
            Some(provider) => provider
                .provide_credentials()
                .await
                .map_err(|error| chain(&error)),
            None => Err("the chain is empty".to_owned()),
        };
        let found = found.map_err(|reason| {
            wrong(format!(
                "no credentials: {reason}; looked in {CHAIN}; sign in (`aws sso login`), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY"
            ))
        })?;
        let aws = Self {
            service,
            config,
            credentials: named(&found),
        };
        if found.expiry().is_some_and(|expiry| expiry <= SystemTime::now()) {
            return Err(wrong(aws.expired("they are past their own end")));
        }
        Ok(aws)
    }

    fn expired(&self, reason: &str) -> String {
        format!(
            "the credentials have expired ({reason}); they are of {} in the chain of the SDK ({CHAIN}); sign in again (`aws sso login`), or \
             renew AWS_SESSION_TOKEN or the profile",
            self.credentials
        )
    }

    /// What a request that failed means, and what to do about it. `action` is what a policy has to allow.
    pub(crate) fn failed<E>(&self, action: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let reason = match error {
            SdkError::ServiceError(told) if !told.raw().status().is_success() => {
                let (code, message) = (told.err().code(), told.err().message().unwrap_or_default());
                let status = told.raw().status().as_u16();
                let told = format!("{}: {message}", code.unwrap_or("an error without a name"));
                match code.unwrap_or_default() {
                    "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => {
                        self.expired(&told)
                    }
                    "UnrecognizedClientException"
                    | "InvalidClientTokenId"
                    | "InvalidSignatureException"
                    | "SignatureDoesNotMatch"
                    | "IncompleteSignature"
                    | "MissingAuthenticationToken" => format!(
                        "AWS does not know the credentials ({told}); they are of {} in the chain of the SDK ({CHAIN}); check them, and the clock",
                        self.credentials
                    ),
                    "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => format!(
                        "the credentials may not do this ({told}); they are of {}; allow them `{action}`",
                        self.credentials
                    ),
                    "LimitExceededException"
                    | "Throttling"
                    | "ThrottlingException"
                    | "ThrottledException"
                    | "RequestLimitExceeded"
                    | "TooManyRequestsException" => {
                        format!(
                            "AWS says that it is asked too often, and said so again when asked later ({told}); try again in a while"
                        )
                    }
                    _ => format!("AWS answers {told} (HTTP {status})"),
                }
            }
            SdkError::TimeoutError(_) => {
                format!("no answer within {} s; try again later", ATTEMPT_TAKES.as_secs())
            }
            SdkError::ResponseError(_) | SdkError::ServiceError(_) => format!(
                "the answer breaks off or is none of AWS: {}; try again",
                chain(error)
            ),
            _ => chain(error),
        };
        self.wrong(reason)
    }

    /// Something is wrong with what the service does.
    pub(crate) fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Aws {
            asked: self.service.to_owned(),
            reason: reason.into(),
        }
    }
}

/// HTTP through the proxy that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, less `NO_PROXY`, in either case), which the
/// SDK's own client does not ask for.
fn client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}

/// Where the SDK looks, in this order.
const CHAIN: &str = "the environment, profiles, web identity, the container, the machine";

/// Which of the chain gave credentials.
fn named(credentials: &Credentials) -> String {
    use AwsCredentialFeature as Feature;
    let features = credentials.get_property::<Vec<Feature>>();
    let names = features
        .into_iter()
        .flatten()
        .filter_map(|feature| match feature {
            Feature::CredentialsEnvVars => Some("the environment"),
            Feature::CredentialsProfile | Feature::CredentialsProfileSourceProfile => Some("a profile"),
            Feature::CredentialsProfileSso | Feature::CredentialsSso => Some("single sign-on"),
            Feature::CredentialsProfileProcess | Feature::CredentialsProcess => {
                Some("a program that a profile names")
            }
            Feature::CredentialsEnvVarsStsWebIdToken
            | Feature::CredentialsProfileStsWebIdToken
            | Feature::CredentialsStsAssumeRoleWebId => Some("web identity"),
            Feature::CredentialsStsAssumeRole => Some("a role that was assumed"),
            Feature::CredentialsHttp => Some("the container"),
            Feature::CredentialsImds => Some("the machine"),
            _ => None,
        });
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    if names.is_empty() {
        return "one member".to_owned();
    }
    names.join(", ")
}
