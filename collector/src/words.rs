//! Words of a fixed vocabulary: where a time comes from, how something ended. They are written in the source and are
//! compared by the thousand, so they are static; those that are read back are kept once each.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// A word of a fixed vocabulary.
pub type Word = &'static str;

/// Words that were read and not yet known. Only what this program wrote is read, so there are few.
static READ: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());

/// The word with this text.
#[must_use]
pub fn word_of(text: &str) -> Word {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(word) = read.get(text) {
        return word;
    }
    let word: Word = Box::leak(text.to_owned().into_boxed_str());
    read.insert(word);
    word
}

/// Reads words with serde.
pub mod word {
    use serde::{Deserialize, Deserializer};

    use super::{Word, word_of};

    /// A word that must be there.
    ///
    /// # Errors
    /// Where the input is no text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
        Ok(word_of(&String::deserialize(deserializer)?))
    }

    /// A word that may be missing.
    ///
    /// # Errors
    /// Where the input is neither null nor text.
    pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Word>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(|text| word_of(&text)))
    }
}
