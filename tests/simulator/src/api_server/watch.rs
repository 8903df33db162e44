//! Watches: what is there, what changes, and how far one has come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::header;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::ApiServer;
use super::failure::Failure;
use super::history::Happened;
use super::request::{Form, Parameters};
use super::resources::Resource;
use super::selector::Selector;
use super::store::Store;
use super::table;
use super::version::Version;

/// How long before its end a watch gets its last bookmark, as Kubernetes has it.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// How a watch breaks off.
#[derive(Debug)]
enum End {
    /// The line is cut.
    Cut,
    Closed,
}

/// A watch that is open.
struct Watch {
    server: ApiServer,
    number: usize,
    resource: Resource,
    selector: Selector,
    form: Form,
    parameters: Parameters,
    has_columns: bool,
    wants_bookmarks: bool,
    reader: Arc<AtomicU64>,
    news: watch::Receiver<u64>,
    bookmarks: u64,
    closings: u64,
    /// What is sent before anything that happens.
    first: Bytes,
    /// What is told and not sent yet, because it is sent slowly.
    unsent: Bytes,
    repeats: u64,
    end: Option<End>,
    next_bookmark: Instant,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
}

/// Opens a watch.
pub(super) fn open(
    server: &ApiServer,
    number: usize,
    selector: Selector,
    form: Form,
    parameters: Parameters,
) -> Result<Response, Failure> {
    check(&parameters, server.settings().has_streaming_lists)?;
    let asked = parameters.number("resourceVersion")?;
    let timeout = parameters
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0);
    let sends_initial = match parameters.text("sendInitialEvents") {
        "" => asked.is_none_or(|revision| revision == 0),
        _ => parameters.is_set("sendInitialEvents"),
    };
    let now_ms = server.clock().now_ms();
    let mut store = server.store();
    let Some((resource, _)) = store.of(number) else {
        return Err(Failure::no_such_path());
    };
    let resource = resource.clone();
    let current = store.revision;
    // Which starts from what is there goes on from now.
    let asked = asked.filter(|revision| *revision > 0);
    if sends_initial && let Some(wanted) = asked.filter(|wanted| *wanted > current) {
        return Err(Failure::too_large(wanted, current));
    }
    let from = asked.filter(|_| !sends_initial).unwrap_or(current);
    let lasts = match timeout {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            let least = server.settings().watch_least;
            let more = i64::try_from(least.as_millis()).unwrap_or(i64::MAX / 2);
            let more = u64::try_from(store.draw.between(0, more)).unwrap_or(0);
            server.clock().lasts(least + Duration::from_millis(more))
        }
    };
    let Some(kept) = store.kept.get_mut(number) else {
        return Err(Failure::no_such_path());
    };
    let reader = match kept.history.read_from(from) {
        Ok(reader) => reader,
        // Told within the stream, as by Kubernetes: the watch itself was granted.
        Err(oldest) => return Ok(stream(Body::from(error_line(&Failure::expired(from, oldest))))),
    };
    let news = kept.news.subscribe();
    let now = Instant::now();
    let deadline = now + lasts;
    let every = server.clock().lasts(server.settings().bookmark_every);
    let mut watch = Watch {
        server: server.clone(),
        number,
        resource,
        selector,
        form,
        has_columns: false,
        wants_bookmarks: parameters.is_set("allowWatchBookmarks"),
        parameters,
        reader,
        news,
        bookmarks: store.bookmarks,
        closings: store.faults.closings,
        first: Bytes::new(),
        unsent: Bytes::new(),
        repeats: store.faults.repeats.0,
        end: None,
        next_bookmark: next_bookmark(now, every, deadline),
        deadline,
        timer: Box::pin(sleep_until(now)),
    };
    if sends_initial {
        watch.begin(&store, now_ms);
    }
    drop(store);
    let chunks = futures::stream::unfold(watch, |mut watch| async {
        let chunk = watch.next().await?;
        Some((chunk, watch))
    });
    Ok(stream(Body::from_stream(chunks)))
}

/// Refuses parameters that do not go together (`validateWatchOptions`).
fn check(parameters: &Parameters, has_streaming_lists: bool) -> Result<(), Failure> {
    let matching = parameters.text("resourceVersionMatch");
    let refused = |field, rule| Err(Failure::invalid_option(field, rule));
    if parameters.text("sendInitialEvents").is_empty() {
        return if matching.is_empty() {
            Ok(())
        } else {
            refused(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        };
    }
    if !has_streaming_lists {
        return refused(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        );
    }
    if matching != "NotOlderThan" {
        return refused(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    Ok(())
}

/// The last one comes shortly before the end.
fn next_bookmark(now: Instant, every: Duration, deadline: Instant) -> Instant {
    let last = deadline.checked_sub(LAST_BOOKMARK).unwrap_or(deadline);
    let next = now + every;
    if now < last { next.min(last) } else { next }
}

fn stream(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn error_line(failure: &Failure) -> String {
    format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", failure.status())
}

impl Watch {
    /// Puts first what is there already.
    fn begin(&mut self, store: &Store, now_ms: i64) {
        let mut chunk = BytesMut::new();
        if let Some((_, kept)) = store.of(self.number) {
            for version in kept.objects.values() {
                if self.selector.matches(version) {
                    self.line(&mut chunk, "ADDED", version, now_ms);
                }
            }
        }
        if self.parameters.is_set("sendInitialEvents") && self.wants_bookmarks {
            self.bookmark(&mut chunk, store.revision, true);
        }
        self.first = chunk.freeze();
    }

    /// The next lines, as soon as there are some; nothing at the end.
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        loop {
            if !self.unsent.is_empty() {
                return Some(Ok(self.trickle().await));
            }
            match self.end {
                Some(End::Closed) => return None,
                Some(End::Cut) => {
                    self.end = Some(End::Closed);
                    return Some(Err(std::io::ErrorKind::UnexpectedEof.into()));
                }
                None => {}
            }
            // Before it is read, so that nothing is missed that comes meanwhile.
            self.news.mark_unchanged();
            let (chunk, is_silent) = self.read();
            if !chunk.is_empty() {
                self.unsent = chunk;
                continue;
            }
            if self.end.is_some() {
                continue;
            }
            if is_silent {
                self.news.changed().await.ok()?;
                continue;
            }
            let wakes = self.next_bookmark.min(self.deadline);
            if self.timer.deadline() != wakes {
                self.timer.as_mut().reset(wakes);
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                () = self.timer.as_mut() => {}
            }
        }
    }

    /// What is sent next: all of it, unless sending is slow.
    async fn trickle(&mut self) -> Bytes {
        let trickle = self.server.store().faults.trickle;
        let Some((bytes, every)) = trickle else {
            return std::mem::take(&mut self.unsent);
        };
        sleep(every).await;
        self.unsent.split_to(bytes.min(self.unsent.len()))
    }

    /// All that is due, and whether nothing may be said.
    fn read(&mut self) -> (Bytes, bool) {
        let server = self.server.clone();
        let now_ms = server.clock().now_ms();
        let mut store = server.store();
        if store.faults.closings != self.closings {
            self.end = Some(End::Closed);
            return (Bytes::new(), false);
        }
        if store.faults.is_silent {
            return (Bytes::new(), true);
        }
        if !self.first.is_empty() {
            return (std::mem::take(&mut self.first), false);
        }
        let mut chunk = BytesMut::new();
        let mut last_line = 0;
        let position = self.reader.load(Ordering::Relaxed);
        let (repeats, changes) = store.faults.repeats;
        let repeats = if std::mem::replace(&mut self.repeats, repeats) == repeats {
            0
        } else {
            changes
        };
        if let Some((_, kept)) = store.of(self.number) {
            let repeated = kept.history.last(position, repeats);
            match kept.history.since(position) {
                Some(changes) => {
                    for change in repeated.into_iter().chain(changes) {
                        let from = chunk.len();
                        self.tell(&mut chunk, change, now_ms);
                        if chunk.len() > from {
                            last_line = from;
                        }
                    }
                }
                // Too far behind: closed without a word.
                None => self.end = Some(End::Closed),
            }
        }
        self.reader.fetch_max(store.revision, Ordering::Relaxed);
        let now = Instant::now();
        let is_over = now >= self.deadline;
        let every = server.clock().lasts(server.settings().bookmark_every);
        let is_due = now >= self.next_bookmark;
        if is_due {
            self.next_bookmark = next_bookmark(now, every, self.deadline);
        }
        if self.wants_bookmarks && (is_due || self.bookmarks != store.bookmarks) {
            self.bookmark(&mut chunk, store.revision, false);
        }
        self.bookmarks = store.bookmarks;
        if store.faults.is_line_cut && !chunk.is_empty() {
            store.faults.is_line_cut = false;
            chunk.truncate(last_line + (chunk.len() - last_line) / 2);
            self.end = Some(End::Cut);
        } else if is_over {
            self.end = Some(End::Closed);
        }
        (chunk.freeze(), false)
    }

    /// What a change is to this watch: objects can enter and leave what it selects.
    fn tell(&mut self, chunk: &mut BytesMut, change: &Happened, now_ms: i64) {
        let was_selected = change
            .previous
            .as_ref()
            .is_some_and(|previous| self.selector.matches(previous));
        let is_selected = !change.is_deletion && self.selector.matches(&change.version);
        match (was_selected, is_selected) {
            (false, false) => {}
            (false, true) => self.line(chunk, "ADDED", &change.version, now_ms),
            (true, true) => self.line(chunk, "MODIFIED", &change.version, now_ms),
            (true, false) if change.is_deletion => self.line(chunk, "DELETED", &change.version, now_ms),
            (true, false) => {
                // As it was when it was last selected, with the version at which it was no more.
                if let Some(previous) = &change.previous {
                    let gone = previous.renumbered(&self.resource, change.revision);
                    self.line(chunk, "DELETED", &gone, now_ms);
                }
            }
        }
    }

    fn line(&mut self, chunk: &mut BytesMut, kind: &str, version: &Version, now_ms: i64) {
        chunk.reserve(version.whole.len() + 64);
        chunk.extend_from_slice(b"{\"type\":\"");
        chunk.extend_from_slice(kind.as_bytes());
        chunk.extend_from_slice(b"\",\"object\":");
        match self.form {
            Form::Table => {
                let row = table::of_one(
                    &self.resource,
                    version,
                    &self.parameters,
                    !self.has_columns,
                    now_ms,
                );
                self.has_columns = true;
                chunk.extend_from_slice(&row);
            }
            Form::MetadataOnly => chunk.extend_from_slice(version.metadata_only()),
            _ => chunk.extend_from_slice(&version.whole),
        }
        chunk.extend_from_slice(b"}\n");
    }

    fn bookmark(&self, chunk: &mut BytesMut, revision: u64, is_initial_end: bool) {
        // What a watch from the future, as after a restore, is told of lies behind it.
        if revision < self.reader.load(Ordering::Relaxed) {
            return;
        }
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": Value::Null});
        if is_initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, api_version) = match self.form {
            Form::MetadataOnly => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            Form::Table => ("Table", "meta.k8s.io/v1".to_owned()),
            _ => (self.resource.kind.as_str(), self.resource.api_version()),
        };
        let mut object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        if self.form == Form::Table {
            object["columnDefinitions"] = Value::Null;
            object["rows"] = json!([]);
        }
        let text = format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n");
        chunk.extend_from_slice(text.as_bytes());
    }
}
