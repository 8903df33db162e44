//! What an address and the environment say of a bucket.

use std::ffi::OsString;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use super::Bucket;
use crate::durable::create_folder;
use crate::error::{Error, Result};

/// What can be written.
const FORMS: &str = "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, \
                     abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX or file:///FOLDER";

/// How often, and for how long, one request is tried again.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 4,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    }
}

/// Builds a store of one kind of `$builder` with the variables of the environment that begin with `$of`.
macro_rules! build {
    ($builder:ty, $url:expr, $variables:expr, $of:literal) => {{
        let mut builder = <$builder>::new().with_url($url.as_str()).with_retry(retries());
        for (name, value) in $variables {
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else {
                continue;
            };
            if !name.starts_with($of) || value.is_empty() {
                continue;
            }
            // Variables that the store does not know are for others.
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        builder
            .build()
            .map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
    }};
}

/// The bucket at `url`, with what `variables` say of credentials and endpoints.
pub(super) fn open(text: &str, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Bucket> {
    let Ok(url) = Url::parse(text) else {
        return Err(Error::BucketUrl {
            url: text.to_owned(),
            reason: format!("it is no address; {FORMS}"),
        });
    };
    // Whatever else stands in it may be secret, and is not told.
    let bare = format!(
        "{}://{}{}",
        url.scheme(),
        url.host_str().unwrap_or(""),
        url.path()
    );
    let refuse = |reason: String| Error::BucketUrl {
        url: bare.clone(),
        reason,
    };
    if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(
            "an address holds no credentials and no options; they are read from the environment: AWS_*, GOOGLE_*, AZURE_*".to_owned(),
        ));
    }
    let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|_| refuse(FORMS.to_owned()))?;
    if matches!(url.scheme(), "http" | "https") {
        return Err(refuse(FORMS.to_owned()));
    }
    // object_store asks for TLS through this process's own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (objects, prefix) = match scheme {
        ObjectStoreScheme::AmazonS3 => (build!(AmazonS3Builder, url, variables, "AWS_"), prefix),
        ObjectStoreScheme::GoogleCloudStorage => (
            build!(GoogleCloudStorageBuilder, url, variables, "GOOGLE_"),
            prefix,
        ),
        ObjectStoreScheme::MicrosoftAzure => {
            (build!(MicrosoftAzureBuilder, url, variables, "AZURE_"), prefix)
        }
        ObjectStoreScheme::Local => {
            let folder = url.to_file_path().map_err(|()| refuse(FORMS.to_owned()))?;
            (folder_store(&folder)?, Path::default())
        }
        _ => return Err(refuse(FORMS.to_owned())),
    };
    let objects = objects.map_err(|error| refuse(error.to_string()))?;
    Ok(Bucket::over(text.trim_end_matches('/'), objects, prefix))
}

fn folder_store(folder: &FilePath) -> Result<object_store::Result<Arc<dyn ObjectStore>>> {
    create_folder(folder)?;
    let made = LocalFileSystem::new_with_prefix(folder);
    Ok(made.map(|store| Arc::new(store.with_fsync(true)) as Arc<dyn ObjectStore>))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(url: &str, variables: &[(&str, &str)]) -> Result<Bucket> {
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        open(url, variables)
    }

    #[test]
    fn an_address_says_which_store_and_where_in_it() {
        let azure = [("AZURE_STORAGE_ACCOUNT_NAME", "account")];
        for (url, store, prefix) in [
            ("s3://bucket/a/b/", "AmazonS3(bucket)", "a/b"),
            ("s3://bucket", "AmazonS3(bucket)", ""),
            ("gs://bucket/a", "GoogleCloudStorage(bucket)", "a"),
            ("az://container/a", "account: account, container: container", "a"),
            (
                "abfss://container@other.dfs.core.windows.net/a",
                "account: other, container: container",
                "a",
            ),
        ] {
            let bucket = opened(url, &azure).unwrap();
            let told = bucket.objects.to_string();
            assert!(told.contains(store), "{url}: {told}");
            assert_eq!(bucket.prefix.as_ref(), prefix, "{url}");
            assert_eq!(bucket.url(), url.trim_end_matches('/'));
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_what_can_be_written_and_without_secrets() {
        for (url, reason) in [
            ("bucket/prefix", "write s3://"),
            ("https://example.com/bucket", "write s3://"),
            ("memory:///", "write s3://"),
            ("ftp://host/bucket", "write s3://"),
            ("s3://key:hidden@bucket/prefix", "no credentials"),
            ("az://container/prefix?sig=hidden", "no credentials"),
            ("az://container/prefix", "ccount"),
        ] {
            let error = opened(url, &[]).unwrap_err().to_string();
            assert!(
                error.contains(reason) && !error.contains("hidden"),
                "{url}: {error}"
            );
        }
    }

    #[test]
    fn the_environment_says_endpoint_and_credentials_and_messages_do_not() {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_PAGER", "less"),
            ("BUCKET", "another"),
        ];
        let bucket = opened("s3://bucket/prefix", &variables).unwrap();
        let store = format!("{:?}", bucket.objects);
        assert!(
            store.contains("127.0.0.1:1") && store.contains("eu-central-1"),
            "{store}"
        );
        assert!(!store.contains("another"), "{store}");
        assert_eq!(format!("{bucket:?}"), "Bucket(\"s3://bucket/prefix\")");
        assert_eq!(bucket.title("lake"), "s3://bucket/prefix/lake");
    }

    #[test]
    fn a_folder_is_a_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let url = Url::from_file_path(folder.path().join("new")).unwrap();
        let bucket = opened(url.as_str(), &[]).unwrap();
        assert!(bucket.create("a/b%3A.c/one", b"1".to_vec()).unwrap());
        assert!(!bucket.create("a/b%3A.c/one", b"2".to_vec()).unwrap());
        bucket.put("a/two", b"2".to_vec()).unwrap();
        assert_eq!(bucket.get("a/b%3A.c/one").unwrap(), Some(b"1".to_vec()));
        assert_eq!(bucket.get("a/three").unwrap(), None);
        let names = |after: Option<&str>| -> Vec<String> {
            let found = bucket.list("a", after).unwrap();
            found.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(None), ["a/b%3A.c/one", "a/two"]);
        assert_eq!(names(Some("a/b%3A.c/one")), ["a/two"]);
        assert_eq!(bucket.folders("a").unwrap(), ["b%3A.c"]);
        let gone = ["a/two".to_owned(), "a/two".to_owned()];
        bucket.delete("a", &gone, || {}).unwrap();
        assert_eq!(names(None), ["a/b%3A.c/one"]);
    }
}
