//! What a door and its worker say to each other: frames over a pair of pipes.
//!
//! A frame is its kind (one byte), the length of what follows (32 bits, little-endian) and that. The door sends one query at a time; the worker
//! answers with an Arrow IPC stream in pieces, and then that it is done, or why not.

use std::io::{self, Read, Write};

use podledger_sql::parameters::Kind as ParameterKind;
use serde::{Deserialize, Serialize};

/// The longest piece of an answer, and the longest question with its parameters: 1 MiB.
pub const LONGEST: usize = 1 << 20;

/// What the schema of an answer says beside its columns: the number of the build whose marts were asked.
pub const BUILD: &str = "podledger.build_id";

/// And the name of the snapshot.
pub const SNAPSHOT: &str = "podledger.snapshot";

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Ready`], as JSON: the first of the worker's.
    Ready = b'H',
    /// A [`podledger_sql::session::Question`] as JSON, to the worker.
    Query = b'Q',
    /// A piece of an Arrow IPC stream.
    Rows = b'R',
    /// [`Done`], as JSON.
    Done = b'D',
    /// [`Failed`], as JSON.
    Failed = b'F',
}

impl Kind {
    pub fn of(byte: u8) -> Option<Self> {
        [Self::Ready, Self::Query, Self::Rows, Self::Done, Self::Failed]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// What a worker says when it has shut itself in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub kernel: Kernel,
}

/// Whether the kernel keeps the worker from files and connections (Landlock), beside DuckDB and the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    Confines,
    /// It is older than what it was asked for: files are kept from it, connections may not be.
    ConfinesInPart,
    CannotConfine,
}

/// The end of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub rows: u64,
    /// The query's parameters, with the types that it says they have.
    pub parameters: Vec<Option<ParameterKind>>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub why: Why,
    /// In words, with the mend.
    pub message: String,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The judge does not allow the query.
    Refused,
    /// DuckDB cannot plan or run it.
    Query,
    /// It needs more memory than it may have.
    TooMuch,
    /// Nothing is published, or it cannot be read.
    Snapshot,
}

/// A frame's first five bytes.
pub fn head(kind: Kind, length: usize) -> [u8; 5] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [kind as u8, length[0], length[1], length[2], length[3]]
}

/// Kind and length of a frame from its first five bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where it is no frame.
pub fn read_head(head: [u8; 5]) -> io::Result<(Kind, usize)> {
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    match Kind::of(kind) {
        Some(kind) if length <= LONGEST => Ok((kind, length)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this is no frame")),
    }
}

/// Writes a frame.
///
/// # Errors
/// Those of the pipe.
pub fn send(out: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    out.write_all(&head(kind, content.len()))?;
    out.write_all(content)?;
    out.flush()
}

/// Reads a frame; `None` where the pipe has ended before it.
///
/// # Errors
/// Those of the pipe; [`io::ErrorKind::InvalidData`].
pub fn receive(from: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0; 5];
    match from.read(&mut head[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut head[1..])?,
    }
    let (kind, length) = read_head(head)?;
    let mut content = vec![0; length];
    from.read_exact(&mut content)?;
    Ok(Some((kind, content)))
}
