//! Pictures: SVG by plotters, in colours that the page decides (light, dark, print), with titles to hover over.
//!
//! Colours are the eight of Okabe and Ito, which colour-blind people tell apart ("Color Universal Design", 2008).

use std::fmt::Write;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};

mod curves;

pub use curves::{Curve, CurvePoint, curves, standalone};

/// A colour of the page. Plotters draws in a colour that stands for it, and [`Picture::finish`] writes the page's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Text,
    Muted,
    Line,
    Fixed,
    Idle,
    Overhead,
    Failed,
    Unused,
    Used,
    /// Used as far as anybody knows: hatched, by the page's pattern `hatch`.
    Unmetered,
    Total,
    Up,
    Down,
    Capacity,
    Requested,
    Heat,
}

const PAINTS: &[(Paint, &str)] = &[
    (Paint::Text, "var(--text)"),
    (Paint::Muted, "var(--muted)"),
    (Paint::Line, "var(--line)"),
    (Paint::Fixed, "var(--fixed)"),
    (Paint::Idle, "var(--idle)"),
    (Paint::Overhead, "var(--overhead)"),
    (Paint::Failed, "var(--failed)"),
    (Paint::Unused, "var(--unused)"),
    (Paint::Used, "var(--used)"),
    (Paint::Unmetered, "url(#hatch)"),
    (Paint::Total, "var(--total)"),
    (Paint::Up, "var(--up)"),
    (Paint::Down, "var(--down)"),
    (Paint::Capacity, "var(--capacity)"),
    (Paint::Requested, "var(--requested)"),
    (Paint::Heat, "var(--heat)"),
];

impl Paint {
    /// The colour in the page's words.
    pub(crate) fn css(self) -> &'static str {
        PAINTS
            .iter()
            .find(|(paint, _)| *paint == self)
            .map_or("none", |(_, css)| css)
    }

    fn stand_in(self) -> RGBColor {
        let place = PAINTS.iter().position(|(paint, _)| *paint == self).unwrap_or(0);
        let place = u8::try_from(place).unwrap_or(0);
        RGBColor(1, 2, place)
    }
}

/// A bar in a row of [`rows`].
#[derive(Debug, Clone)]
pub struct RowBar {
    pub label: String,
    pub amount: String,
    /// What stands small beside the amount.
    pub note: String,
    /// From where to where the bar goes, in any unit that all rows share.
    pub from: i64,
    pub to: i64,
    pub paint: Paint,
    /// What is told when somebody points at it.
    pub title: String,
}

/// Horizontal bars under each other, each in a row of so many pixels, on one scale: a waterfall where each begins where the one before
/// ended.
///
/// # Errors
/// [`Error::Chart`].
pub fn rows(name: &'static str, description: &str, row_height: i32, bars: &[RowBar]) -> Result<String> {
    const LABEL: i32 = 118;
    const BAR: i32 = 214;
    // Wide enough for the longest note, "better packing and less waste".
    const WIDTH: i32 = 670;
    let height = row_height * i32::try_from(bars.len()).unwrap_or(1) + 8;
    let mut picture = Picture::new(name, WIDTH, height);
    let least = bars
        .iter()
        .map(|bar| bar.from.min(bar.to))
        .min()
        .unwrap_or(0)
        .min(0);
    let most = bars.iter().map(|bar| bar.from.max(bar.to)).max().unwrap_or(1);
    let span = i128::from(most - least).max(1);
    let place = |at: i64| LABEL + i32::try_from(i128::from(at - least) * i128::from(BAR) / span).unwrap_or(0);
    let (left, right) = (LABEL + BAR + 12, WIDTH);
    picture.draw(|area| {
        for (number, bar) in bars.iter().enumerate() {
            let top = row_height * i32::try_from(number).unwrap_or(0) + 4;
            let middle = top + 15;
            let (from, to) = (place(bar.from.min(bar.to)), place(bar.from.max(bar.to)));
            rectangle(
                area,
                (from, top + 3),
                (to.max(from + i32::from(bar.from != bar.to) * 2), top + 27),
                bar.paint,
                1.0,
            )?;
            text(
                area,
                &bar.label,
                (LABEL - 10, middle),
                17,
                Paint::Text,
                HPos::Right,
            )?;
            text(
                area,
                &bar.amount,
                (left + 92, middle),
                17,
                Paint::Text,
                HPos::Right,
            )?;
            text(
                area,
                &bar.note,
                (left + 102, middle),
                15,
                Paint::Muted,
                HPos::Left,
            )?;
            if number + 1 < bars.len() {
                let at = place(bar.to);
                line(area, (at, top + 27), (at, top + row_height + 3), Paint::Muted)?;
            }
        }
        Ok(())
    })?;
    for (number, bar) in bars.iter().enumerate() {
        let top = row_height * i32::try_from(number).unwrap_or(0);
        picture.hover((0, top), (right, row_height), &bar.title);
    }
    Ok(picture.finish(description))
}

/// An hour of [`week_of_hours`].
#[derive(Debug, Clone)]
pub struct HourBar {
    pub capacity: i64,
    pub requested: i64,
    pub used: Option<i64>,
    pub title: String,
}

/// Three series over the 168 hours of a week, each inside the one before: capacity, requested, used.
///
/// # Errors
/// [`Error::Chart`].
pub fn week_of_hours(
    name: &'static str,
    description: &str,
    hours: &[HourBar],
    unit: impl Fn(i64) -> String,
) -> Result<String> {
    const LEFT: i32 = 52;
    const WIDTH: i32 = 560;
    const TOP: i32 = 8;
    const HEIGHT: i32 = 140;
    let mut picture = Picture::new(name, LEFT + WIDTH + 8, TOP + HEIGHT + 26);
    let most = hours
        .iter()
        .map(|hour| hour.capacity.max(hour.requested).max(hour.used.unwrap_or(0)))
        .max()
        .unwrap_or(0);
    let top = round_up(most);
    let count = i32::try_from(hours.len()).unwrap_or(1).max(1);
    let x = |hour: usize| LEFT + i32::try_from(hour).unwrap_or(0) * WIDTH / count;
    let y = |value: i64| {
        TOP + HEIGHT
            - i32::try_from(i128::from(value) * i128::from(HEIGHT) / i128::from(top.max(1))).unwrap_or(0)
    };
    picture.draw(|area| {
        for step in 0..=4 {
            let value = top / 4 * step;
            line(area, (LEFT, y(value)), (LEFT + WIDTH, y(value)), Paint::Line)?;
            text(
                area,
                &unit(value),
                (LEFT - 6, y(value)),
                11,
                Paint::Muted,
                HPos::Right,
            )?;
        }
        for (number, hour) in hours.iter().enumerate() {
            let (from, to) = (x(number), x(number + 1).max(x(number) + 1));
            for (value, paint) in [
                (Some(hour.capacity), Paint::Capacity),
                (Some(hour.requested), Paint::Requested),
                (hour.used, Paint::Used),
            ] {
                if let Some(value) = value.filter(|value| *value > 0) {
                    rectangle(area, (from, y(value)), (to, y(0)), paint, 1.0)?;
                }
            }
        }
        for (day, label) in DAYS.iter().enumerate() {
            let from = x(day * 24);
            line(area, (from, TOP + HEIGHT), (from, TOP + HEIGHT + 6), Paint::Muted)?;
            text(
                area,
                label,
                (from + WIDTH / 14, TOP + HEIGHT + 14),
                11,
                Paint::Muted,
                HPos::Center,
            )?;
        }
        Ok(())
    })?;
    for (number, hour) in hours.iter().enumerate() {
        let from = x(number);
        picture.hover((from, TOP), (x(number + 1) - from, HEIGHT), &hour.title);
    }
    Ok(picture.finish(description))
}

/// A row of a [`heat_map`]: 168 hours, in tenths of a percent; `None` where nothing ran.
#[derive(Debug, Clone)]
pub struct HeatRow {
    pub label: String,
    pub shares: Vec<Option<i64>>,
}

/// Rows of 168 cells, the fuller the darker.
///
/// # Errors
/// [`Error::Chart`].
pub fn heat_map(name: &'static str, description: &str, rows: &[HeatRow]) -> Result<String> {
    const LEFT: i32 = 116;
    const CELL: i32 = 3;
    const ROW: i32 = 26;
    let height = ROW * i32::try_from(rows.len()).unwrap_or(1);
    let mut picture = Picture::new(name, LEFT + CELL * 168, height + 20);
    picture.draw(|area| {
        for (number, row) in rows.iter().enumerate() {
            let top = ROW * i32::try_from(number).unwrap_or(0);
            text(
                area,
                &row.label,
                (LEFT - 8, top + 12),
                12,
                Paint::Text,
                HPos::Right,
            )?;
            for (hour, share) in row.shares.iter().enumerate() {
                let from = LEFT + CELL * i32::try_from(hour).unwrap_or(0);
                let (paint, alpha) = match share {
                    Some(share) => (Paint::Heat, 0.08 + 0.92 * (*share).clamp(0, 1000) as f64 / 1000.0),
                    None => (Paint::Line, 0.25),
                };
                rectangle(area, (from, top + 2), (from + CELL, top + ROW - 4), paint, alpha)?;
            }
        }
        for (day, label) in DAYS.iter().enumerate() {
            let from = LEFT + CELL * 24 * i32::try_from(day).unwrap_or(0);
            text(
                area,
                label,
                (from + CELL * 12, height + 10),
                11,
                Paint::Muted,
                HPos::Center,
            )?;
            if day > 0 {
                line(area, (from, 0), (from, height), Paint::Line)?;
            }
        }
        Ok(())
    })?;
    for (number, row) in rows.iter().enumerate() {
        for (day, label) in DAYS.iter().enumerate() {
            let hours = row.shares.iter().skip(day * 24).take(24);
            let known: Vec<i64> = hours.filter_map(|share| *share).collect();
            let shown = if known.is_empty() {
                format!("{}, {label}: nothing ran", row.label)
            } else {
                let mean = known.iter().sum::<i64>() / i64::try_from(known.len()).unwrap_or(1);
                format!(
                    "{}, {label}: {} held on average over {} h",
                    row.label,
                    crate::display::percent(mean),
                    known.len()
                )
            };
            let from = LEFT + CELL * 24 * i32::try_from(day).unwrap_or(0);
            let top = ROW * i32::try_from(number).unwrap_or(0);
            picture.hover((from, top), (CELL * 24, ROW), &shown);
        }
    }
    Ok(picture.finish(description))
}

pub(crate) const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The next number of which quarters read well: 4, 8, 12, 16, 20, 24, 32, 40, 60 or 80 times a power of ten.
pub(crate) fn round_up(most: i64) -> i64 {
    let mut power = 1_i64;
    while power.saturating_mul(80) < most {
        power = power.saturating_mul(10);
    }
    [4, 8, 12, 16, 20, 24, 32, 40, 60, 80]
        .into_iter()
        .map(|step| power.saturating_mul(step))
        .find(|top| *top >= most)
        .unwrap_or(most)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), String>;

fn rectangle(area: &Area<'_>, from: (i32, i32), to: (i32, i32), paint: Paint, alpha: f64) -> Drawn {
    let style = paint.stand_in().mix(alpha).filled();
    area.draw(&Rectangle::new([from, to], style))
        .map_err(|error| error.to_string())
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), paint: Paint) -> Drawn {
    area.draw(&PathElement::new(vec![from, to], paint.stand_in()))
        .map_err(|error| error.to_string())
}

fn text(area: &Area<'_>, shown: &str, at: (i32, i32), size: i32, paint: Paint, side: HPos) -> Drawn {
    if shown.is_empty() {
        return Ok(());
    }
    let color = paint.stand_in();
    let style = ("sans-serif", size)
        .into_font()
        .color(&color)
        .pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(shown.to_owned(), at, style))
        .map_err(|error| error.to_string())
}

/// A picture in the making.
struct Picture {
    name: &'static str,
    size: (i32, i32),
    svg: String,
    hovers: String,
}

impl Picture {
    fn new(name: &'static str, width: i32, height: i32) -> Self {
        Self {
            name,
            size: (width, height),
            svg: String::new(),
            hovers: String::new(),
        }
    }

    fn draw(&mut self, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
        let size = (self.size.0.unsigned_abs(), self.size.1.unsigned_abs());
        let wrong = |reason: String| Error::Chart {
            what: self.name,
            reason,
        };
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            draw(&area).map_err(wrong)?;
            area.present().map_err(|error| wrong(error.to_string()))?;
        }
        self.svg = svg;
        Ok(())
    }

    /// Text that is told of a part of the picture.
    fn hover(&mut self, from: (i32, i32), size: (i32, i32), title: &str) {
        let mut escaped = String::new();
        for letter in title.chars() {
            match letter {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                other => escaped.push(other),
            }
        }
        // Writing to a string does not fail.
        let _ = writeln!(
            self.hovers,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"transparent\"><title>{escaped}</title></rect>",
            from.0, from.1, size.0, size.1
        );
    }

    /// The picture in the page's colours, with a description for those who do not see it.
    fn finish(self, description: &str) -> String {
        let body = self.svg.find('>').map_or("", |end| &self.svg[end + 1..]);
        let mut body = body.replace("</svg>", "");
        for (place, (_, css)) in PAINTS.iter().enumerate() {
            body = body.replace(&format!("#0102{place:02X}"), css);
        }
        let mut label = String::new();
        for letter in description.chars() {
            match letter {
                '&' => label.push_str("&amp;"),
                '<' => label.push_str("&lt;"),
                '"' => label.push_str("&quot;"),
                other => label.push(other),
            }
        }
        let (width, height) = self.size;
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\" \
             xmlns=\"http://www.w3.org/2000/svg\">\n{}\n{}</svg>\n",
            body.trim(),
            self.hovers
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::HOSTILE_NAMES;

    #[test]
    fn names_in_pictures_are_text() {
        for name in HOSTILE_NAMES {
            let shown = crate::display::short(name);
            let bar = RowBar {
                label: shown.clone(),
                amount: "$1.00".to_owned(),
                note: shown.clone(),
                from: 0,
                to: 5,
                paint: Paint::Unmetered,
                title: shown.clone(),
            };
            let svg = rows("test", &shown, 40, &[bar]).unwrap();
            let tags: Vec<&str> = svg
                .split('<')
                .skip(1)
                .map(|tag| tag.split([' ', '>', '\n']).next().unwrap())
                .collect();
            for tag in tags {
                let tag = tag.trim_start_matches('/').trim_end_matches('/');
                assert!(
                    [
                        "svg", "defs", "pattern", "rect", "text", "title", "polyline", "line"
                    ]
                    .contains(&tag),
                    "{shown}: <{tag}"
                );
            }
        }
    }

    #[test]
    fn scales_end_on_numbers_that_read_well() {
        for (most, top) in [
            (0, 4),
            (3, 4),
            (5, 8),
            (11, 12),
            (37_900, 40_000),
            (117_000, 120_000),
        ] {
            assert_eq!(round_up(most), top, "{most}");
        }
    }

    #[test]
    fn colours_are_those_of_the_page() {
        let svg = heat_map(
            "test",
            "pools",
            &[HeatRow {
                label: "spot".to_owned(),
                shares: vec![Some(500), None],
            }],
        )
        .unwrap();
        assert!(
            svg.contains("fill=\"var(--heat)\"") && !svg.contains("#0102"),
            "{svg}"
        );
    }
}
