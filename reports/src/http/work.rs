//! Work of a request: on a thread of its own, and over as soon as nobody waits for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use duckdb::{Connection, InterruptHandle};
use tokio::task::{AbortHandle, JoinError};

use super::problem::Problem;

/// How soon what does not heed an interrupt is interrupted again.
const AGAIN: Duration = Duration::from_millis(20);

/// Whether nobody waits any more.
#[derive(Debug, Default)]
pub struct Over(AtomicBool);

impl Over {
    /// Asks whether to go on.
    ///
    /// # Errors
    /// A [`Problem`] that nobody reads, if nobody waits.
    pub fn check(&self) -> Result<(), Problem> {
        if self.0.load(Ordering::Acquire) {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "nobody waits for the answer",
            ));
        }
        Ok(())
    }
}

/// Does work with a connection, and returns what came of it. If the future is dropped, because its client has left or has waited for too long,
/// the query that runs is interrupted, and all that follow it.
///
/// # Errors
/// Where the work panicked.
pub async fn run<T: Send + 'static>(
    connection: Connection,
    work: impl FnOnce(&Connection, &Over) -> T + Send + 'static,
) -> Result<T, JoinError> {
    let over = Arc::new(Over::default());
    let handle = connection.interrupt_handle();
    let mut working = tokio::task::spawn_blocking({
        let over = Arc::clone(&over);
        move || work(&connection, &over)
    });
    let _stop = Stop {
        over,
        handle,
        work: working.abort_handle(),
    };
    (&mut working).await
}

/// Ends the work when it goes out of scope.
struct Stop {
    over: Arc<Over>,
    handle: Arc<InterruptHandle>,
    work: AbortHandle,
}

impl Drop for Stop {
    fn drop(&mut self) {
        if self.work.is_finished() {
            return;
        }
        self.over.0.store(true, Ordering::Release);
        // What has not begun never does.
        self.work.abort();
        self.handle.interrupt();
        // DuckDB forgets an interrupt that comes between two queries, and an answer may ask a dozen.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (handle, work) = (Arc::clone(&self.handle), self.work.clone());
            runtime.spawn(async move {
                while !work.is_finished() {
                    handle.interrupt();
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes hours, unless it is interrupted.
    const ENDLESS: &str =
        "select count(*) from range(1000000000000) as a(x), range(1000000) as b(y) where x * y % 7 = 1";

    #[test]
    fn work_that_nobody_waits_for_ends_with_all_its_queries() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (ended, has_ended) = mpsc::channel();
        let patience = Duration::from_millis(50);
        let left = runtime.block_on(async {
            let connection = Connection::open_in_memory().unwrap();
            let work = run(connection, move |connection, over| {
                // Queries that go on regardless of what became of the one before.
                let each = [(); 3].map(|()| {
                    connection
                        .query_row(ENDLESS, [], |row| row.get::<_, i64>(0))
                        .is_err()
                });
                ended.send((each, over.check().is_err())).unwrap();
            });
            tokio::time::timeout(patience, work).await
        });
        assert!(left.is_err(), "it was waited for");
        let told = has_ended.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(told, ([true; 3], true));
    }

    #[test]
    fn work_that_is_waited_for_is_left_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connection = Connection::open_in_memory().unwrap();
        let sum: i64 = runtime
            .block_on(run(connection, |connection, over| {
                over.check().unwrap();
                connection
                    .query_row("select sum(x)::bigint from range(100000) as r(x)", [], |row| {
                        row.get(0)
                    })
                    .unwrap()
            }))
            .unwrap();
        assert_eq!(sum, 4_999_950_000);
    }
}
