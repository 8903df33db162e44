//! What a client says: queries for the door, and the statements around them that PostgreSQL's clients use.

use super::copy::{self, Writing};

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Nothing but comments and space.
    Empty,
    /// Anything for the judge to decide.
    Query(String),
    /// Rows of a query, told as a file.
    Copy {
        query: String,
        writing: Writing,
    },
    Set {
        name: String,
        value: String,
    },
    Show(String),
    /// A setting's value as it was at the beginning, or all of them.
    Reset(Option<String>),
    Begin,
    Commit,
    Rollback,
    /// Says nothing and does nothing, by its tag: `SAVEPOINT`, `RELEASE`, `UNLISTEN`.
    Nothing(&'static str),
    RollbackTo,
    Declare {
        cursor: String,
        query: String,
    },
    /// So many rows; `None` is all.
    Fetch {
        cursor: String,
        rows: Option<u64>,
    },
    Close(Option<String>),
    Deallocate(Option<String>),
    DiscardAll,
}

/// Whether the last statement of a text has its semicolon.
#[must_use]
pub fn is_ended(text: &str) -> bool {
    let (mut rest, mut is_ended) = (Lexer::new(text), true);
    while let Some((_, token)) = rest.next() {
        is_ended = token == ";";
    }
    is_ended
}

/// The statements of a text, which end with semicolons.
#[must_use]
pub fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut rest) = (0, Lexer::new(text));
    while let Some((at, token)) = rest.next() {
        if token == ";" {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| Lexer::new(part).next().is_some());
    parts
}

impl Statement {
    /// Reads one statement.
    ///
    /// # Errors
    /// In words, where it begins like one of those that are known and does not go on like it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut lexer = Lexer::new(text);
        let Some((_, first)) = lexer.next() else {
            return Ok(Self::Empty);
        };
        let mut words = Words { lexer, text };
        Ok(match first.to_ascii_lowercase().as_str() {
            "set" => words.set()?,
            "show" => Self::Show(words.setting()?),
            "reset" => {
                let name = words.setting()?;
                Self::Reset((name != "all").then_some(name))
            }
            "begin" | "start" => Self::Begin,
            "commit" | "end" => Self::Commit,
            "abort" => Self::Rollback,
            "rollback" => {
                let words: Vec<String> = std::iter::from_fn(|| words.next()).collect();
                if words.iter().any(|word| word == "to") {
                    Self::RollbackTo
                } else {
                    Self::Rollback
                }
            }
            "savepoint" => Self::Nothing("SAVEPOINT"),
            "release" => Self::Nothing("RELEASE"),
            "unlisten" => Self::Nothing("UNLISTEN"),
            "declare" => words.declare()?,
            "fetch" => words.fetch()?,
            "close" => Self::Close(words.name_or_all()?),
            "deallocate" => Self::Deallocate(words.name_or_all()?),
            "discard" => Self::DiscardAll,
            "copy" => match copy::read(&mut words.lexer) {
                Some(copy) => copy?,
                None => Self::Query(text.to_owned()),
            },
            _ => Self::Query(text.to_owned()),
        })
    }
}

/// The words of a statement after the first.
struct Words<'a> {
    lexer: Lexer<'a>,
    text: &'a str,
}

impl Words<'_> {
    /// The next word in lower case, or as it is if it is quoted.
    fn next(&mut self) -> Option<String> {
        self.lexer.next().map(|(_, token)| plain(token))
    }

    fn name(&mut self) -> Result<String, String> {
        self.next()
            .ok_or_else(|| format!("`{}` ends too early", crate::display::short(self.text)))
    }

    fn name_or_all(&mut self) -> Result<Option<String>, String> {
        let mut name = self.name()?;
        if name == "prepare" {
            name = self.name()?;
        }
        Ok((name != "all").then_some(name))
    }

    /// The name of a setting, which may have several words.
    fn setting(&mut self) -> Result<String, String> {
        let mut name = self.name()?;
        if name == "session" {
            name = self.name()?;
        }
        Ok(match name.as_str() {
            "time" => "timezone".to_owned(),
            "transaction" => "transaction_isolation".to_owned(),
            "authorization" => "session_authorization".to_owned(),
            _ => {
                while self.lexer.peek() == Some(".") {
                    self.lexer.next();
                    name = format!("{name}.{}", self.name()?);
                }
                name
            }
        })
    }

    fn set(&mut self) -> Result<Statement, String> {
        let mut name = self.name()?;
        if name == "session" || name == "local" {
            name = self.name()?;
        }
        match name.as_str() {
            // Nothing is ever written, and a transaction sees one snapshot, whatever is asked for.
            "characteristics" | "transaction" | "constraints" | "role" | "authorization" => {
                return Ok(Statement::Nothing("SET"));
            }
            "time" => {
                self.name()?;
                name = "timezone".to_owned();
            }
            "names" => name = "client_encoding".to_owned(),
            _ => {
                while self.lexer.peek() == Some(".") {
                    self.lexer.next();
                    name = format!("{name}.{}", self.name()?);
                }
                match self.name()?.as_str() {
                    "=" | "to" => {}
                    other => {
                        return Err(format!(
                            "`set {name}` goes on with `{}`",
                            crate::display::short(other)
                        ));
                    }
                }
            }
        }
        let mut value = String::new();
        while let Some(word) = self.lexer.next().map(|(_, token)| unquoted(token)) {
            if word == "," {
                value.push_str(", ");
            } else {
                value.push_str(&word);
            }
        }
        Ok(Statement::Set { name, value })
    }

    /// `declare "c" [binary] [insensitive] [no scroll] cursor [with hold] for select ...`.
    fn declare(&mut self) -> Result<Statement, String> {
        let cursor = self.name()?;
        let mut is_cursor = false;
        loop {
            match self.name()?.as_str() {
                "cursor" => is_cursor = true,
                "for" if is_cursor => break,
                _ => {}
            }
        }
        Ok(Statement::Declare {
            cursor,
            query: self.lexer.rest().to_owned(),
        })
    }

    /// `fetch [next | forward [n | all] | n | all] [from | in] "c"`.
    fn fetch(&mut self) -> Result<Statement, String> {
        let mut rows = Some(1);
        loop {
            let word = self.name()?;
            match word.as_str() {
                "next" => rows = Some(1),
                "all" => rows = None,
                "forward" | "from" | "in" => {}
                "backward" | "prior" | "first" | "last" | "absolute" | "relative" | "-" => {
                    return Err("a cursor goes forward only".to_owned());
                }
                word => match word.parse() {
                    Ok(number) => rows = Some(number),
                    Err(_) => {
                        return Ok(Statement::Fetch {
                            cursor: word.to_owned(),
                            rows,
                        });
                    }
                },
            }
        }
    }
}

fn plain(token: &str) -> String {
    if token.starts_with(['"', '\'']) {
        unquoted(token)
    } else {
        token.to_ascii_lowercase()
    }
}

/// A token without its quotes.
pub fn unquoted(token: &str) -> String {
    for quote in ["\"", "'"] {
        if let Some(inner) = token
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner.replace(&quote.repeat(2), quote);
        }
    }
    token.to_owned()
}

/// Tokens of SQL with their places, as far as it takes to find where statements end: words, quoted texts and names, single signs.
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub fn peek(&self) -> Option<&'a str> {
        let mut next = Lexer {
            text: self.text,
            at: self.at,
        };
        next.next().map(|(_, token)| token)
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.at += comment(trimmed);
            } else {
                return;
            }
        }
    }

    pub fn next(&mut self) -> Option<(usize, &'a str)> {
        self.skip_space();
        let (start, rest) = (self.at, self.rest());
        let first = rest.chars().next()?;
        let length = match first {
            '\'' => quoted(rest, '\'', false),
            'e' | 'E' if rest[1..].starts_with('\'') => 1 + quoted(&rest[1..], '\'', true),
            '"' => quoted(rest, '"', false),
            '$' => dollars(rest),
            letter if is_of_word(letter) => rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len()),
            letter => letter.len_utf8(),
        };
        self.at += length;
        Some((start, &rest[..length]))
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

/// Length of a comment, which may have others in it.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Length of what is quoted, with its quotes; two of them are one that is meant.
fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && has_escapes {
            letters.next();
        } else if letter == quote {
            match letters.peek() {
                Some((_, next)) if *next == quote => drop(letters.next()),
                _ => return at + 1,
            }
        }
    }
    text.len()
}

/// Length of `$tag$ ... $tag$`, or of a parameter (`$1`).
fn dollars(text: &str) -> usize {
    let tag = text[1..]
        .find(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .map(|end| &text[..end + 2]);
    match tag {
        Some(tag) if tag.ends_with('$') && !tag[1..].starts_with(|letter: char| letter.is_ascii_digit()) => {
            text[tag.len()..]
                .find(tag)
                .map_or(text.len(), |end| tag.len() + end + tag.len())
        }
        _ => text[1..]
            .find(|letter: char| !letter.is_alphanumeric())
            .map_or(text.len(), |end| end + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_postgresql_ends_them() {
        for (text, parts) in [
            ("select 1", &["select 1"][..]),
            ("select ';'; select \";\"", &["select ';'", " select \";\""]),
            ("select 1; -- done;\n", &["select 1"]),
            (
                "select $$;$$; select $a$ $$;$a$;;",
                &["select $$;$$", " select $a$ $$;$a$"],
            ),
            (
                "/* ; /* ; */ ; */ select E'\\';' ;",
                &["/* ; /* ; */ ; */ select E'\\';' "],
            ),
            ("select 'it''s;'", &["select 'it''s;'"]),
            ("select $1;select $2", &["select $1", "select $2"]),
            ("select 'open;", &["select 'open;"]),
            (" ; ;", &[]),
            ("/* open", &[]),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for (text, ended) in [
            ("select 1;", true),
            ("select 1; -- done;", true),
            ("", true),
            ("-- nothing", true),
            ("select 1", false),
            ("select 1; select 2", false),
            ("select ';", false),
            ("select 1 -- ;", false),
            ("select 1 /* ;", false),
            ("select $$;", false),
        ] {
            assert_eq!(is_ended(text), ended, "{text}");
        }
    }

    #[test]
    fn what_clients_say_around_queries_is_known() {
        let set = |name: &str, value: &str| Statement::Set {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let fetch = |cursor: &str, rows| Statement::Fetch {
            cursor: cursor.to_owned(),
            rows,
        };
        for (text, statement) in [
            ("-- ping", Statement::Empty),
            (
                "SET application_name = 'psql; x'",
                set("application_name", "psql; x"),
            ),
            (
                "set session search_path to 'marts', public",
                set("search_path", "marts, public"),
            ),
            ("SET TIME ZONE 'UTC'", set("timezone", "UTC")),
            (
                "SET SESSION TIMEZONE TO 'Europe/Berlin'",
                set("timezone", "Europe/Berlin"),
            ),
            ("set extra_float_digits=3", set("extra_float_digits", "3")),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
                Statement::Nothing("SET"),
            ),
            (
                "show transaction isolation level",
                Statement::Show("transaction_isolation".to_owned()),
            ),
            ("SHOW TIME ZONE", Statement::Show("timezone".to_owned())),
            (
                "show server_version",
                Statement::Show("server_version".to_owned()),
            ),
            ("reset all", Statement::Reset(None)),
            (
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                Statement::Begin,
            ),
            ("rollback to savepoint \"a\"", Statement::RollbackTo),
            ("ROLLBACK", Statement::Rollback),
            ("SAVEPOINT \"_pg3_1\"", Statement::Nothing("SAVEPOINT")),
            (
                "DECLARE \"Cur\" NO SCROLL CURSOR WITHOUT HOLD FOR select 1 from runs",
                Statement::Declare {
                    cursor: "Cur".to_owned(),
                    query: " select 1 from runs".to_owned(),
                },
            ),
            ("FETCH FORWARD 100 FROM \"Cur\"", fetch("Cur", Some(100))),
            ("fetch all in cur", fetch("cur", None)),
            ("FETCH cur", fetch("cur", Some(1))),
            ("close all", Statement::Close(None)),
            (
                "DEALLOCATE PREPARE s1",
                Statement::Deallocate(Some("s1".to_owned())),
            ),
            ("deallocate all", Statement::Deallocate(None)),
            ("discard all", Statement::DiscardAll),
            (
                "with a as (select 1) select * from a",
                Statement::Query("with a as (select 1) select * from a".to_owned()),
            ),
            ("drop table runs", Statement::Query("drop table runs".to_owned())),
        ] {
            assert_eq!(Statement::read(text), Ok(statement), "{text}");
        }
        for text in ["set", "set a b", "declare c", "fetch backward 3 from c", "show"] {
            assert!(Statement::read(text).is_err(), "{text}");
        }
    }
}
