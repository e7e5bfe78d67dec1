//! Prometheus' text format: names, labels, values, each where it has to stand
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::Write;

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// A text that grows by a metric, then by its values.
pub(super) struct Text {
    text: String,
    /// Labels that all values have.
    own: Vec<(String, String)>,
    name: &'static str,
}

impl Text {
    pub(super) fn new(own: &[(&str, &str)]) -> Self {
        let own = own.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Text { text: String::new(), own, name: "" }
    }

    /// Begins a metric; its values follow.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.name = name;
    }

    /// A value of the metric at hand.
    pub(super) fn value(&mut self, labels: &[(&str, &str)], value: f64) {
        let line = format!("{} {value}\n", self.key(labels));
        self.text.push_str(&line);
    }

    /// The value that the metric at hand has in another text of ours.
    pub(super) fn earlier(&self, text: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let key = self.key(labels);
        let value = text.lines().find_map(|line| line.strip_prefix(&key)?.strip_prefix(' '))?;
        value.parse().ok().filter(|v: &f64| v.is_finite())
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn key(&self, labels: &[(&str, &str)]) -> String {
        let own = self.own.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let pairs: Vec<String> =
            own.chain(labels.iter().copied()).map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        format!("{}{{{}}}", self.name, pairs.join(","))
    }
}

/// The value of a label: any Unicode, with these three escaped. What would steer a terminal is of no
/// use to anybody either.
fn escaped(value: &str) -> String {
    let mut safe = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => safe.push_str("\\\\"),
            '"' => safe.push_str("\\\""),
            '\n' => safe.push_str("\\n"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again() {
        let mut text = Text::new(&[("file", "a\"b.prom")]);
        text.metric("x_total", Kind::Counter, "X.");
        text.value(&[("of", "a\\b\n\u{1b}c")], 3.0);
        text.value(&[("of", "other")], 1_764_000_000.0);
        assert_eq!(text.earlier(&text.text, &[("of", "a\\b\n\u{1b}c")]), Some(3.0));
        assert_eq!(text.earlier(&text.text, &[("of", "other")]), Some(1_764_000_000.0));
        assert_eq!(text.earlier(&text.text, &[("of", "oth")]), None);
        assert_eq!(text.earlier("x_total{file=\"a\\\"b.prom\",of=\"o\"} NaN", &[("of", "o")]), None);
        let lines: Vec<&str> = text.text.lines().collect();
        assert_eq!(lines[2], "x_total{file=\"a\\\"b.prom\",of=\"a\\\\b\\n\u{fffd}c\"} 3");
        assert_eq!(lines.len(), 4);
    }
}
