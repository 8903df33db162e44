//! A store of which one request fails, and all after it: before it is carried out, or after, when only its answer is lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    NotDone,
    NotAnswered,
}

pub const FAULTS: [Fault; 2] = [Fault::NotDone, Fault::NotAnswered];

type Meanwhile = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
struct Script {
    asked: Arc<AtomicU64>,
    /// The request at which it happens; the first is 1.
    at: u64,
    fault: Option<Fault>,
    /// What others do before it is carried out.
    meanwhile: Option<Meanwhile>,
}

/// Such a store.
pub struct Failing {
    inner: Arc<dyn ObjectStore>,
    script: Script,
}

impl Failing {
    pub fn at(inner: &Arc<dyn ObjectStore>, at: u64, fault: Fault) -> Arc<Self> {
        Self::new(inner, at, Some(fault), None)
    }

    /// A store in which others do something before a request is carried out.
    pub fn meanwhile(inner: &Arc<dyn ObjectStore>, at: u64, meanwhile: Meanwhile) -> Arc<Self> {
        Self::new(inner, at, None, Some(meanwhile))
    }

    fn new(
        inner: &Arc<dyn ObjectStore>,
        at: u64,
        fault: Option<Fault>,
        meanwhile: Option<Meanwhile>,
    ) -> Arc<Self> {
        let script = Script {
            asked: Arc::default(),
            at,
            fault,
            meanwhile,
        };
        Arc::new(Self {
            inner: Arc::clone(inner),
            script,
        })
    }

    /// Whether the request came at which it happens.
    pub fn has_happened(&self) -> bool {
        self.script.asked.load(Ordering::SeqCst) >= self.script.at
    }
}

fn lost() -> Error {
    Error::Generic {
        store: "test",
        source: "as the test wants".into(),
    }
}

impl Script {
    async fn carry_out<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.at
            && let Some(meanwhile) = self.meanwhile.clone()
        {
            tokio::task::spawn_blocking(move || meanwhile()).await.unwrap();
        }
        match self.fault {
            Some(Fault::NotDone) if number == self.at => Err(lost()),
            Some(Fault::NotAnswered) if number == self.at => work.await.and(Err(lost())),
            // The process is gone, as far as the store can tell.
            Some(_) if number > self.at => Err(lost()),
            _ => work.await,
        }
    }

    fn carry_out_all<T: Send + 'static>(
        &self,
        found: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let script = self.clone();
        let all = async move { script.carry_out(found.try_collect::<Vec<T>>()).await };
        futures::stream::once(all)
            .map_ok(|all| futures::stream::iter(all.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}

impl fmt::Debug for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Failing({})", self.inner)
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.script
            .carry_out(self.inner.put_opts(location, payload, options))
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.script
            .carry_out(self.inner.put_multipart_opts(location, options))
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.script
            .carry_out(self.inner.get_opts(location, options))
            .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.script.carry_out_all(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.script.carry_out_all(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.script
            .carry_out_all(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.script
            .carry_out(self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.script
            .carry_out(self.inner.copy_opts(from, to, options))
            .await
    }
}
