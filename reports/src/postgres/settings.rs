//! Settings that clients ask and set. Those of which more depends here than their own value take only what is so.

use std::time::Duration;

/// A setting.
pub struct Setting {
    pub name: &'static str,
    /// Its value in a new session.
    pub usual: &'static str,
    /// Whether clients are told when it changes (`GUC_REPORT` of PostgreSQL's `guc_tables.c`).
    pub is_reported: bool,
    takes: Takes,
}

enum Takes {
    Anything,
    /// Whatever is asked for, it stays as it is: what it would change is not done here, and clients set it without being asked.
    Nothing,
    /// A value that begins so, in lower case.
    Only(&'static str),
    Milliseconds,
}

const fn setting(name: &'static str, usual: &'static str, is_reported: bool, takes: Takes) -> Setting {
    Setting {
        name,
        usual,
        is_reported,
        takes,
    }
}

static SETTINGS: [Setting; 30] = [
    setting("application_name", "", true, Takes::Anything),
    setting("bytea_output", "hex", false, Takes::Only("hex")),
    setting("client_encoding", "UTF8", true, Takes::Only("utf")),
    setting("client_min_messages", "notice", false, Takes::Anything),
    setting("DateStyle", "ISO, MDY", true, Takes::Only("iso")),
    setting(
        "default_transaction_isolation",
        "repeatable read",
        false,
        Takes::Nothing,
    ),
    setting("default_transaction_read_only", "on", true, Takes::Nothing),
    setting("extra_float_digits", "1", false, Takes::Anything),
    setting(
        "idle_in_transaction_session_timeout",
        "0",
        false,
        Takes::Milliseconds,
    ),
    setting("idle_session_timeout", "0", false, Takes::Milliseconds),
    setting("integer_datetimes", "on", true, Takes::Nothing),
    setting("IntervalStyle", "postgres", true, Takes::Only("postgres")),
    setting("is_superuser", "off", true, Takes::Nothing),
    setting("jit", "off", false, Takes::Nothing),
    setting("lock_timeout", "0", false, Takes::Milliseconds),
    setting("max_identifier_length", "63", false, Takes::Nothing),
    setting("max_index_keys", "32", false, Takes::Nothing),
    setting("row_security", "on", false, Takes::Nothing),
    setting("search_path", "marts", false, Takes::Nothing),
    setting("server_encoding", "UTF8", true, Takes::Nothing),
    setting("server_version", super::SERVER_VERSION, true, Takes::Nothing),
    setting("server_version_num", "150000", false, Takes::Nothing),
    setting("session_authorization", "podledger", true, Takes::Nothing),
    setting("ssl", "off", false, Takes::Nothing),
    setting("standard_conforming_strings", "on", true, Takes::Only("on")),
    setting("statement_timeout", "0", false, Takes::Milliseconds),
    setting("synchronize_seqscans", "on", false, Takes::Nothing),
    setting("TimeZone", "UTC", true, Takes::Nothing),
    setting("transaction_isolation", "repeatable read", false, Takes::Nothing),
    setting("transaction_read_only", "on", false, Takes::Nothing),
];

/// The setting of that name, in whichever case.
pub fn of(name: &str) -> Option<&'static Setting> {
    SETTINGS
        .iter()
        .find(|setting| setting.name.eq_ignore_ascii_case(name))
}

impl Setting {
    /// The value that it has when it is set to this.
    ///
    /// # Errors
    /// In words, where it cannot be set so.
    pub fn accept(&self, value: &str) -> Result<String, String> {
        let is_default = value.eq_ignore_ascii_case("default");
        match self.takes {
            Takes::Nothing => Ok(self.usual.to_owned()),
            _ if is_default => Ok(self.usual.to_owned()),
            Takes::Anything => Ok(value.to_owned()),
            Takes::Only(beginning) if value.to_ascii_lowercase().starts_with(beginning) => {
                Ok(self.usual.to_owned())
            }
            Takes::Only(_) => Err(format!(
                "`{}` is always `{}` here, not `{}`",
                self.name,
                self.usual,
                crate::display::short(value)
            )),
            Takes::Milliseconds if milliseconds(value).is_some() => Ok(value.to_owned()),
            Takes::Milliseconds => Err(format!(
                "`{}` is no time such as 5000 or 5s",
                crate::display::short(value)
            )),
        }
    }
}

/// A time as PostgreSQL reads it: milliseconds, or a number with `ms`, `s`, `min` or `h`.
pub fn milliseconds(value: &str) -> Option<Duration> {
    let value = value.trim();
    let end = value
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(value.len());
    let number: u64 = value[..end].parse().ok()?;
    let unit = match value[end..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(unit)?))
}
