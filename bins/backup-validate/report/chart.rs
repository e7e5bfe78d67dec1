//! A chart over time: inline SVG without text in it, so that it may be stretched to any width; labels stand
//! around it, as text.

use std::fmt::Write;

use kit::stamp::Stamp;

use super::words::{day, escaped};

/// A point of a chart.
pub(crate) struct Point {
    pub(crate) time: Stamp,
    pub(crate) value: f64,
    /// What it says when it is pointed at.
    pub(crate) label: String,
    /// Drawn as a hollow mark: something is to be known about it.
    pub(crate) odd: bool,
    /// It has no value: it stands at the bottom, and the line passes it by.
    pub(crate) void: bool,
}

/// A chart with its labels.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    /// What it shows, for those who hear it.
    pub(crate) summary: String,
    /// Oldest first.
    pub(crate) points: Vec<Point>,
    /// A value in words.
    pub(crate) words: fn(f64) -> String,
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// Room for a mark at the edge.
const EDGE: f64 = 8.0;

impl Chart<'_> {
    /// As a `figure`; empty where there is nothing to show.
    pub(crate) fn figure(&self) -> String {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return String::new();
        };
        let most = self.points.iter().map(|p| p.value).fold(0.0, f64::max);
        let (title, latest) = (escaped(self.title), escaped(&(self.words)(last.value)));
        let (from, to) = (day(first.time), day(last.time));
        let dates = if from == to {
            format!("<span>{to}</span>")
        } else {
            format!("<span>{from}</span><span>{to}</span>")
        };
        format!(
            "<figure><figcaption><span>{title}</span><strong>{latest}</strong></figcaption>\n\
             <div class=plot><span class=most>{}</span>{}</div>\n<div class=dates>{dates}</div></figure>\n",
            escaped(&(self.words)(most)),
            self.svg(most)
        )
    }

    fn svg(&self, most: f64) -> String {
        let place = self.places(most);
        let texts: Vec<String> = place.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let on_line: Vec<usize> = (0..place.len()).filter(|i| !self.points[*i].void).collect();
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img>\
             <title>{}</title><desc>{}</desc>\
             <path class=grid d=\"M0 {EDGE}H{WIDTH}M0 {:.1}H{WIDTH}\"/>",
            escaped(self.title),
            escaped(&self.summary),
            HEIGHT - EDGE
        );
        if let [first, .., last] = on_line[..] {
            let line: Vec<&str> = on_line.iter().map(|i| texts[*i].as_str()).collect();
            let (line, base) = (line.join("L"), HEIGHT - EDGE);
            let (from, to) = (place[first].0, place[last].0);
            let _ = write!(
                svg,
                "<path class=area d=\"M{from:.1} {base}L{line}L{to:.1} {base}Z\"/><path class=line d=\"M{line}\"/>"
            );
        }
        for (point, at) in self.points.iter().zip(&texts) {
            // a line without length and with round ends is a circle, however the picture is stretched
            let class = if point.odd { "dot odd" } else { "dot" };
            let _ = write!(
                svg,
                "<g class=\"{class}\"><title>{}</title><path d=\"M{at}h0\"/>",
                escaped(&point.label)
            );
            svg.push_str(if point.odd { "<path class=hole d=\"M" } else { "</g>" });
            if point.odd {
                let _ = write!(svg, "{at}h0\"/></g>");
            }
        }
        svg.push_str("</svg>");
        svg
    }

    /// Where each point stands: time from left to right, nought at the bottom.
    fn places(&self, most: f64) -> Vec<(f64, f64)> {
        let seconds = |p: &Point| p.time.unix() as f64;
        let first = self.points.first().map_or(0.0, seconds);
        let length = self.points.last().map_or(0.0, seconds) - first;
        let x = |p: &Point| match length > 0.0 {
            true => EDGE + (seconds(p) - first) / length * (WIDTH - 2.0 * EDGE),
            false => WIDTH / 2.0,
        };
        let share = |p: &Point| if most > 0.0 && !p.void { p.value / most } else { 0.0 };
        self.points.iter().map(|p| (x(p), HEIGHT - EDGE - share(p) * (HEIGHT - 2.0 * EDGE))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[(i64, f64)]) -> Chart<'static> {
        let point = |(time, value): &(i64, f64)| Point {
            time: Stamp::from_unix(*time),
            value: *value,
            label: "<b>".into(),
            odd: *value == 0.0,
            void: *value == 0.0,
        };
        let points = values.iter().map(point).collect();
        Chart { title: "Rows", summary: "&".into(), points, words: |v| format!("{v}") }
    }

    #[test]
    fn points_stand_in_the_picture_whatever_they_are() {
        for values in [
            &[][..],
            &[(5, 7.0)],
            &[(5, 0.0), (5, 0.0)],
            &[(0, 1.0), (50, 1e300), (100, 0.0)],
            &[(-9, 2.0), (0, 1.0)],
        ] {
            let chart = chart(values);
            let most = values.iter().map(|v| v.1).fold(0.0, f64::max);
            assert!(chart.places(most).len() == values.len());
            for (x, y) in chart.places(most) {
                assert!((EDGE..=WIDTH - EDGE).contains(&x) && (EDGE..=HEIGHT - EDGE).contains(&y), "{x} {y}");
            }
            let figure = chart.figure();
            assert_eq!(figure.is_empty(), values.is_empty());
            assert!(!figure.contains("<b>") && !figure.contains("NaN"), "{figure}");
            assert_eq!(figure.matches("<g class").count(), figure.matches("</g>").count());
        }
    }
}
