//! How names, money and time are shown. Names come from labels and annotations, so they are hostile input: every format has one
//! way in, and it is here.

use podledger_sql::units::NanoUsd;

/// Longest name that is shown, in characters; tables of CSV, JSON and XLSX carry it whole.
const LONGEST: usize = 80;

/// Names that try to be something else: what every format has to show as the text that it is.
pub const HOSTILE_NAMES: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'; drop table marts.runs; --",
    "=HYPERLINK(\"http://evil.example\",\"click\")",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "x;=1+cmd|' /C calc'!A0",
    "| a | b |\n|---|---|",
    "# heading\n* item",
    "`code` **bold** _it_ ~~x~~",
    "<!channel> <!here> <@U012AB3CD>",
    "<http://evil.example|click>",
    "&lt;b&gt; &amp; &#60;",
    "abc\u{202e}gnp.exe",
    "a\u{2066}b\u{2069}c\u{200b}d\u{feff}",
    "\u{1b}[31mred\u{1b}[0m\u{7}",
    "\u{0}\u{8}\r\nnull",
    "]]> --> </svg></style></title>",
    "{{7*7}} ${7*7} {%x%}",
];

/// A name without what acts instead of being read: control characters, and characters that are invisible or turn the
/// direction of text. Whole, on one line.
#[must_use]
pub fn plain(name: &str) -> String {
    let kept: String = name
        .chars()
        .map(|letter| {
            if letter == '\n' || letter == '\t' {
                ' '
            } else {
                letter
            }
        })
        .filter(|letter| {
            !letter.is_control()
                && !matches!(
                    letter,
                    '\u{ad}'
                        | '\u{61c}'
                        | '\u{180e}'
                        | '\u{200b}'..='\u{200f}'
                        | '\u{2028}'..='\u{202e}'
                        | '\u{2060}'..='\u{206f}'
                        | '\u{feff}'
                        | '\u{fff9}'..='\u{fffb}'
                        | '\u{e0000}'..='\u{e007f}'
                )
        })
        .collect();
    if kept.trim().is_empty() {
        "(blank)".to_owned()
    } else {
        kept
    }
}

/// A name as pages and terminals show it: [`plain`], and cut in the middle if it is long. HTML is escaped by the template.
#[must_use]
pub fn short(name: &str) -> String {
    cut(&plain(name), LONGEST)
}

/// A name of at most so many characters: the middle is left out, since both ends tell names apart.
#[must_use]
pub fn cut(name: &str, longest: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= longest {
        return name.to_owned();
    }
    let tail = longest / 2;
    let head = longest - tail - 1;
    let mut shown: String = letters.iter().take(head).collect();
    shown.push('…');
    shown.extend(letters.iter().skip(letters.len() - tail));
    shown
}

/// A name in Markdown and in Slack's dialect of it: a code span, in which nothing else acts. Characters that could end it, make a
/// table's cell, a mention or a tag are shown by ones that look like them.
#[must_use]
pub fn markdown(name: &str) -> String {
    markdown_cut(name, LONGEST)
}

/// As [`markdown`], of at most so many characters.
#[must_use]
pub fn markdown_cut(name: &str, longest: usize) -> String {
    let shown: String = cut(&plain(name), longest)
        .chars()
        .map(|letter| match letter {
            '`' => '\u{2032}',
            '|' => '\u{a6}',
            '<' => '\u{2039}',
            '>' => '\u{203a}',
            '&' => '\u{ff06}',
            '\\' => '\u{29f5}',
            other => other,
        })
        .collect();
    format!("`{}`", shown.trim())
}

/// A name as a cell of a CSV: a spreadsheet takes one that begins like a formula for text.
#[must_use]
pub fn csv(name: &str) -> String {
    let shown = plain(name);
    let is_formula = shown
        .trim_start()
        .starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if is_formula { format!("'{shown}") } else { shown }
}

/// Dollars and cents with thousands, rounded half away from zero; `-$1.20` for credits.
#[must_use]
pub fn dollars(cost: NanoUsd) -> String {
    let cents = cents(cost);
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}${}.{:02}", thousands(cents / 100), cents % 100)
}

/// As [`dollars`] from a dollar on; below, with four decimals, for what many small things cost.
#[must_use]
pub fn small_dollars(cost: NanoUsd) -> String {
    let nano = cost.get();
    if nano.unsigned_abs() >= 1_000_000_000 || nano == 0 {
        return dollars(cost);
    }
    let sign = if nano < 0 { "-" } else { "" };
    let shown = (nano.unsigned_abs() + 50_000) / 100_000;
    match shown {
        0 => format!("<{sign}$0.0001"),
        _ => format!("{sign}${}.{:04}", shown / 10_000, shown % 10_000),
    }
}

/// As [`dollars`], with a sign unless nothing changed.
#[must_use]
pub fn change(cost: NanoUsd) -> String {
    if cents(cost) == 0 {
        return "±$0.00".to_owned();
    }
    let shown = dollars(cost);
    if shown.starts_with('-') {
        shown
    } else {
        format!("+{shown}")
    }
}

fn cents(cost: NanoUsd) -> i64 {
    let nano = cost.get();
    let half = if nano < 0 { -5_000_000 } else { 5_000_000 };
    nano.saturating_add(half) / 10_000_000
}

/// Digits in groups of three.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `part` of `whole` in tenths of a percent, rounded toward zero; 0 of nothing.
#[must_use]
pub fn permille(part: i64, whole: i64) -> i64 {
    if whole == 0 {
        return 0;
    }
    i64::try_from(i128::from(part) * 1000 / i128::from(whole)).unwrap_or(i64::MAX)
}

/// Tenths of a percent as `24.8%`.
#[must_use]
pub fn percent(permille: i64) -> String {
    let sign = if permille < 0 { "-" } else { "" };
    let tenths = permille.unsigned_abs();
    format!("{sign}{}.{}%", thousands(tenths / 10), tenths % 10)
}

/// By how much of `before` something changed, with its sign: ` (+4.2%)`; nothing where there was nothing.
#[must_use]
pub fn percent_change(difference: NanoUsd, before: NanoUsd) -> String {
    if before.get() == 0 {
        return String::new();
    }
    let permille = permille(difference.get(), before.get());
    let sign = if permille > 0 { "+" } else { "" };
    format!(" ({sign}{})", percent(permille))
}

/// Time in its two largest units: `2 d 4 h`, `1 h 20 min`, `3 min 12 s`, `4.2 s`.
#[must_use]
pub fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{large} {unit}")
        } else {
            format!("{large} {unit} {small} {small_unit}")
        }
    };
    match seconds {
        ..=9 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_one_line_of_visible_text() {
        for name in HOSTILE_NAMES {
            for shown in [plain(name), short(name), csv(name), markdown(name)] {
                assert!(
                    !shown.chars().any(|letter| letter.is_control()
                        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')),
                    "{name:?} became {shown:?}"
                );
                assert!(!shown.trim().is_empty());
            }
        }
    }

    #[test]
    fn a_cell_of_a_csv_is_no_formula() {
        for name in HOSTILE_NAMES {
            let cell = csv(name);
            assert!(!cell.trim_start().starts_with(['=', '+', '-', '@']), "{cell:?}");
        }
        assert_eq!(csv("daily-features"), "daily-features");
    }

    #[test]
    fn a_name_in_markdown_stays_in_its_code_span() {
        for name in HOSTILE_NAMES {
            let shown = markdown(name);
            let inner = &shown[1..shown.len() - 1];
            assert!(!inner.contains(['`', '|', '<', '>', '&', '\n', '\\']), "{shown}");
        }
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(cut("features-of-customers-3", 11), "featu…ers-3");
        assert_eq!(cut("features", 11), "features");
    }

    #[test]
    fn money_percent_and_time_read_well() {
        let usd = |text: &str| NanoUsd::from_decimal_str(text).unwrap();
        assert_eq!(dollars(usd("1234567.894999")), "$1,234,567.89");
        assert_eq!(dollars(usd("0.005")), "$0.01");
        assert_eq!(dollars(usd("-1.2")), "-$1.20");
        assert_eq!(small_dollars(usd("0.00674")), "$0.0067");
        assert_eq!(small_dollars(usd("0.00001")), "<$0.0001");
        assert_eq!(small_dollars(usd("-0.25")), "-$0.2500");
        assert_eq!(small_dollars(usd("1.239")), "$1.24");
        assert_eq!(small_dollars(usd("0")), "$0.00");
        assert_eq!(change(usd("1.2")), "+$1.20");
        assert_eq!(percent(permille(1, 3)), "33.3%");
        assert_eq!(percent(permille(1, 0)), "0.0%");
        assert_eq!(percent_change(usd("1"), usd("8")), " (+12.5%)");
        assert_eq!(percent_change(usd("-1"), usd("8")), " (-12.5%)");
        assert_eq!(percent_change(usd("1"), usd("0")), "");
        assert_eq!(duration(4_250), "4.2 s");
        assert_eq!(duration(192_000), "3 min 12 s");
        assert_eq!(duration(187_200_000), "2 d 4 h");
    }
}
