//! Lines of a watch as they arrive, and how fresh each is.

use std::pin::pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::occupancy::Sight;

/// Longest line that is read: the API server itself refuses objects of more than some MiB.
const LONGEST_LINE: usize = 32 << 20;

/// What is read within this time of the last moment at which nothing was left to read happened just before.
const PROMPT: SignedDuration = SignedDuration::from_secs(2);

/// A watch that was silent for this long has told all that was in store when it was opened.
const SETTLED: Duration = Duration::from_secs(1);

/// A line, and how long was waited for its beginning; `None` if that was there already, or the rest took its time.
pub(super) struct Line {
    pub text: Vec<u8>,
    pub waited: Option<Duration>,
}

/// Why no line could be read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection was closed between two lines.
    End {
        /// How long was waited for a line that did not come.
        waited: Option<Duration>,
    },
    /// Nothing was heard.
    Silent,
    /// The connection broke, or said something that is no line.
    Failed(String),
}

/// The next line of `reader`, or why there is none; waits at most `patience`.
pub(super) async fn next_line<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    patience: Duration,
) -> Result<Line, Broken> {
    let mut text = Vec::new();
    let (mut waited, mut begun) = (None, None);
    loop {
        let since = Instant::now();
        let mut waiting = pin!(reader.fill_buf());
        let ready = match futures::poll!(&mut waiting) {
            std::task::Poll::Ready(ready) => ready,
            std::task::Poll::Pending => {
                let ready = tokio::time::timeout(patience, waiting)
                    .await
                    .map_err(|_| Broken::Silent)?;
                if text.is_empty() {
                    waited = Some(since.elapsed());
                }
                ready
            }
        };
        let available = ready.map_err(|error| Broken::Failed(error.to_string()))?;
        if available.is_empty() {
            return Err(if text.is_empty() {
                Broken::End { waited }
            } else {
                Broken::Failed("the connection broke in the middle of an object".to_owned())
            });
        }
        let begun = *begun.get_or_insert_with(Instant::now);
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        text.extend_from_slice(&available[..taken]);
        reader.consume_unpin(taken);
        if text.len() > LONGEST_LINE {
            return Err(Broken::Failed(format!(
                "an object has more than {} MiB",
                LONGEST_LINE >> 20
            )));
        }
        if end.is_some() {
            // One that dribbles in may wait behind others on its way.
            let waited = waited.filter(|_| begun.elapsed() < SETTLED);
            return Ok(Line { text, waited });
        }
    }
}

/// How far a resource is known, and whether what is read happened just before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Freshness {
    /// When nothing was left to read last.
    caught_up_at: Option<Timestamp>,
    /// Whether this connection has told what was in store.
    is_settled: bool,
}

impl Freshness {
    /// Everything until `through` is known, if anything is.
    pub(super) fn new(through: Option<Timestamp>) -> Self {
        Self {
            caught_up_at: through,
            is_settled: false,
        }
    }

    /// A connection is opened: it may first tell what happened since the last one.
    pub(super) fn connected(&mut self) {
        self.is_settled = false;
    }

    /// A list was read: all until then is known.
    pub(super) fn listed(&mut self, at: Timestamp) {
        self.caught_up_at = self.caught_up_at.max(Some(at));
    }

    /// Something was read, or the connection ended, at `now` after waiting for so long.
    pub(super) fn heard(&mut self, waited: Option<Duration>, now: Timestamp) -> Sight {
        if let Some(waited) = waited
            && (self.is_settled || waited >= SETTLED)
        {
            self.is_settled = true;
            self.caught_up_at = self.caught_up_at.max(Some(now));
        }
        Sight {
            at: now,
            is_prompt: self.is_fresh(now),
        }
    }

    /// What was read at `seen` was written at `written_at`, by the API server's clock: all that happened before was told before.
    pub(super) fn written(&mut self, written_at: Option<Timestamp>, seen: Sight) -> Sight {
        let Some(written_at) = written_at else { return seen };
        self.caught_up_at = self.caught_up_at.max(Some(written_at.min(seen.at)));
        Sight {
            at: seen.at,
            is_prompt: self.is_fresh(seen.at),
        }
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.caught_up_at
            .is_some_and(|caught_up_at| now.duration_since(caught_up_at) <= PROMPT)
    }

    /// Until when all is known.
    pub(super) fn through(&self) -> Option<Timestamp> {
        self.caught_up_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    #[test]
    fn what_was_waited_for_on_a_settled_watch_is_prompt_and_a_backlog_is_not() {
        let mut freshness = Freshness::new(None);
        freshness.listed(at(0));
        assert!(freshness.heard(Some(Duration::ZERO), at(1)).is_prompt);
        assert!(freshness.heard(Some(Duration::from_secs(9)), at(10)).is_prompt);
        // The connection is lost for a minute; what is then in store is old.
        freshness.connected();
        assert!(!freshness.heard(Some(Duration::from_millis(30)), at(70)).is_prompt);
        assert!(!freshness.heard(None, at(70)).is_prompt);
        assert_eq!(freshness.through(), Some(at(10)));
        // After a silence it is fresh again.
        assert!(freshness.heard(Some(Duration::from_secs(3)), at(73)).is_prompt);
        assert_eq!(freshness.through(), Some(at(73)));
    }

    #[test]
    fn a_reader_that_falls_behind_reads_what_is_old() {
        let mut freshness = Freshness::new(None);
        freshness.listed(at(0));
        assert!(freshness.heard(Some(Duration::from_secs(5)), at(5)).is_prompt);
        assert!(freshness.heard(None, at(6)).is_prompt);
        assert!(!freshness.heard(None, at(9)).is_prompt);
    }

    #[test]
    fn a_restarted_collector_takes_a_short_break_for_prompt_and_a_long_one_not() {
        let mut freshness = Freshness::new(Some(at(0)));
        freshness.connected();
        assert!(freshness.heard(None, at(2)).is_prompt);
        assert!(!freshness.heard(None, at(3)).is_prompt);
    }

    #[test]
    fn a_busy_watch_is_fresh_by_what_it_tells() {
        let mut freshness = Freshness::new(None);
        freshness.listed(at(0));
        freshness.connected();
        // It was opened late, and never falls silent.
        let mut read = |second, written_at| {
            let seen = freshness.heard(Some(Duration::from_millis(1)), at(second));
            freshness.written(written_at, seen).is_prompt
        };
        assert!(!read(30, Some(at(3))));
        assert!(!read(31, None));
        assert!(read(32, Some(at(31))));
        assert!(read(33, None));
        // A clock that is ahead proves no more than the moment of reading.
        assert!(read(40, Some(at(90))));
        assert!(!read(43, None));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_come_whole_and_a_broken_one_is_told() {
        let mut reader: &[u8] = b"{\"a\":1}\n{\"b\":2}\n{\"c\"";
        let patience = Duration::from_secs(1);
        let line = next_line(&mut reader, patience).await;
        assert!(matches!(line, Ok(Line { text, waited: None }) if text == b"{\"a\":1}\n"));
        assert!(next_line(&mut reader, patience).await.is_ok());
        assert!(matches!(
            next_line(&mut reader, patience).await,
            Err(Broken::Failed(reason)) if reason.contains("middle")
        ));
        assert!(matches!(
            next_line(&mut reader, patience).await,
            Err(Broken::End { waited: None })
        ));
    }
}
