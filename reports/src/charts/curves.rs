//! Curves of points on two logarithmic scales, and a picture that needs no page.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Paint, Picture, line, text};
use crate::error::Result;

/// A point of a [`Curve`]; estimates, never money.
#[derive(Debug, Clone)]
pub struct CurvePoint {
    pub x: f64,
    pub y: f64,
    /// What is told when somebody points at it.
    pub title: String,
    /// Whether it is the one that is meant: drawn larger.
    pub is_chosen: bool,
}

/// Points that are joined in their order.
#[derive(Debug, Clone)]
pub struct Curve {
    pub label: String,
    pub paint: Paint,
    pub points: Vec<CurvePoint>,
}

const LEFT: i32 = 70;
const TOP: i32 = 30;
const WIDTH: i32 = 560;
const HEIGHT: i32 = 300;

/// A logarithmic scale from one power of ten to another, on which 0 is where `least` is.
struct Scale {
    from: i32,
    to: i32,
}

impl Scale {
    #[expect(clippy::cast_possible_truncation, reason = "a few powers of ten")]
    fn of(values: impl Iterator<Item = f64>, least: i32) -> Self {
        let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            let power = if value > 0.0 {
                value.log10()
            } else {
                f64::from(least)
            };
            lowest = lowest.min(power);
            highest = highest.max(power);
        }
        if !lowest.is_finite() {
            return Self { from: 0, to: 1 };
        }
        let from = (lowest.floor() as i32).max(least);
        Self {
            from,
            to: (highest.ceil() as i32).max(from + 1),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "within the picture")]
    fn place(&self, value: f64, length: i32) -> i32 {
        let from = f64::from(self.from);
        let power = if value > 0.0 {
            value.log10().max(from)
        } else {
            from
        };
        ((power - from) / f64::from(self.to - self.from) * f64::from(length)).round() as i32
    }
}

/// Curves on logarithmic scales; on the vertical one 0 is drawn where 0.1 would be.
///
/// # Errors
/// [`crate::Error::Chart`].
pub fn curves(
    name: &'static str,
    description: &str,
    x_label: &str,
    y_label: &str,
    curves: &[Curve],
) -> Result<String> {
    let mut picture = Picture::new(name, LEFT + WIDTH + 20, TOP + HEIGHT + 50);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let across = Scale::of(points().map(|point| point.x), -3);
    let up = Scale::of(points().map(|point| point.y).chain([0.0]), -1);
    let x = |value: f64| LEFT + across.place(value, WIDTH);
    let y = |value: f64| TOP + HEIGHT - up.place(value, HEIGHT);
    picture.draw(|area| {
        for power in across.from..=across.to {
            let value = 10_f64.powi(power);
            line(area, (x(value), TOP), (x(value), TOP + HEIGHT), Paint::Line)?;
            let at = (x(value), TOP + HEIGHT + 12);
            text(area, &value.to_string(), at, 11, Paint::Muted, HPos::Center)?;
        }
        for power in up.from..=up.to {
            let value = 10_f64.powi(power);
            line(area, (LEFT, y(value)), (LEFT + WIDTH, y(value)), Paint::Line)?;
            let shown = if power == -1 {
                "0".to_owned()
            } else {
                value.to_string()
            };
            text(area, &shown, (LEFT - 8, y(value)), 11, Paint::Muted, HPos::Right)?;
        }
        let below = (LEFT + WIDTH / 2, TOP + HEIGHT + 34);
        text(area, x_label, below, 12, Paint::Text, HPos::Center)?;
        text(area, y_label, (LEFT - 60, 12), 12, Paint::Text, HPos::Left)?;
        let mut legend = LEFT + WIDTH - curves.iter().map(legend_width).sum::<i32>();
        for curve in curves {
            let style = curve.paint.stand_in();
            let places: Vec<(i32, i32)> = curve
                .points
                .iter()
                .map(|point| (x(point.x), y(point.y)))
                .collect();
            area.draw(&PathElement::new(places.clone(), style.stroke_width(2)))
                .map_err(|error| error.to_string())?;
            for (place, point) in places.iter().zip(&curve.points) {
                let size = if point.is_chosen { 6 } else { 3 };
                area.draw(&Circle::new(*place, size, style.filled()))
                    .map_err(|error| error.to_string())?;
            }
            area.draw(&Circle::new((legend, 12), 5, style.filled()))
                .map_err(|error| error.to_string())?;
            text(area, &curve.label, (legend + 10, 12), 12, Paint::Text, HPos::Left)?;
            legend += legend_width(curve);
        }
        Ok(())
    })?;
    for point in points() {
        picture.hover((x(point.x) - 6, y(point.y) - 6), (12, 12), &point.title);
    }
    Ok(picture.finish(description))
}

/// Of a curve's label with its dot and a gap: letters of 12 pixels are some 7 wide.
fn legend_width(curve: &Curve) -> i32 {
    let letters = i32::try_from(curve.label.chars().count()).unwrap_or(0);
    30 + 7 * letters
}

/// The colours of a light page, for pictures that stand alone; those of the weekly report.
const STYLE: &str = "<style>svg { background: #fdfdfc; --text: #1c2126; --muted: #5b6670; --line: #d9dee3; --total: #3d4852; \
    --fixed: #0072b2; --idle: #56b4e9; --overhead: #9aa3ab; --failed: #d55e00; --unused: #e69f00; --used: #009e73; --up: #b34700; \
    --down: #00714f; --capacity: #cfd8e0; --requested: #56b4e9; --heat: #0072b2; }</style>";

/// A picture of this module as a file of its own.
#[must_use]
pub fn standalone(svg: &str) -> String {
    match svg.find('>') {
        Some(end) => format!("{}\n{STYLE}{}", &svg[..=end], &svg[end + 1..]),
        None => svg.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_drawn_with_what_none_of_them_has() {
        let point = |x: f64, y: f64| CurvePoint {
            x,
            y,
            title: format!("{x} & {y}"),
            is_chosen: x > 50.0,
        };
        let curve = Curve {
            label: "ours <b>".to_owned(),
            paint: Paint::Used,
            points: vec![point(10.0, 100.0), point(100.0, 0.0)],
        };
        let svg = curves("test", "a test", "wasted", "failed", &[curve]).unwrap();
        assert!(
            svg.contains("var(--used)") && svg.contains("10 &amp; 100"),
            "{svg}"
        );
        assert!(!svg.contains("<b>"), "{svg}");
        let file = standalone(&svg);
        assert!(
            file.starts_with("<svg") && file.contains("--used: #009e73"),
            "{file}"
        );
        // Nothing to draw is no failure.
        assert!(curves("test", "", "", "", &[]).unwrap().contains("<svg"));
    }

    #[test]
    fn scales_hold_what_they_are_made_of() {
        let scale = Scale::of([0.0, 3.0, 250.0].into_iter(), -1);
        assert_eq!((scale.from, scale.to), (-1, 3));
        assert_eq!(
            (
                scale.place(0.0, 400),
                scale.place(1.0, 400),
                scale.place(1000.0, 400)
            ),
            (0, 100, 400)
        );
    }
}
