//! Times, spans and states in words, and what may stand in markup.

use kit::out::plain;
use kit::stamp::Stamp;

/// Text for the markup of HTML and XML, in elements and in quoted attributes. What steers (controls,
/// overrides of the direction of writing) becomes visible, so that it is no control in either.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // no character of XML 1.0
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// `25 Nov 2026, 02:00`, in UTC.
pub(crate) fn moment(stamp: Stamp) -> String {
    let text = stamp.to_string();
    format!("{}, {}", day(stamp), text.get(11..16).unwrap_or_default())
}

/// `25 Nov 2026`.
pub(crate) fn day(stamp: Stamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = stamp.to_string();
    let mut parts = text.split(['-', 'T']);
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|m| MONTHS.get(m.parse::<usize>().ok()?.checked_sub(1)?)).unwrap_or(&"");
    format!("{} {month} {}", day.unwrap_or_default().trim_start_matches('0'), year.unwrap_or_default())
}

/// How long ago: `3 hours`, `12 days`, in the largest unit that leaves two or more of it.
pub(crate) fn age(stamp: Stamp, now: Stamp) -> String {
    let seconds = now.unix().saturating_sub(stamp.unix()).max(0);
    for (unit, name) in [(86_400, "days"), (3_600, "hours"), (60, "minutes")] {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    if seconds < 60 { "less than a minute".into() } else { "a minute".into() }
}

/// A span of milliseconds: `22 ms`, `0.3 s`, `8 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn span(milliseconds: u64) -> String {
    let seconds = (milliseconds + 500) / 1000;
    match seconds {
        _ if milliseconds < 100 => format!("{milliseconds} ms"),
        _ if milliseconds < 9_950 => {
            let text = format!("{:.1}", milliseconds as f64 / 1000.0);
            format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
        }
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// The same of seconds.
pub(crate) fn span_of(seconds: f64) -> String {
    span((seconds * 1000.0) as u64)
}

/// With a capital at its beginning.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// `1 backup`, `3 backups`.
pub(crate) fn counted(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes() {
        let hostile = "<script>\"'&\u{1b}[2J\n\u{202e}\u{ffff}\u{0}";
        let safe = escaped(hostile);
        assert_eq!(safe, "&lt;script&gt;&quot;&#39;&amp;\\u{1b}[2J\\n\\u{202e}\u{fffd}\\u{0}");
    }

    #[test]
    fn times_for_people() {
        let at = |text| Stamp::parse_compact(text).unwrap();
        assert_eq!(moment(at("20261105_020900")), "5 Nov 2026, 02:09");
        let now = at("20261105_120000");
        for (then, want) in [
            ("20261105_120000", "less than a minute"),
            ("20261105_115830", "a minute"),
            ("20261105_105900", "61 minutes"),
            ("20261105_090000", "3 hours"),
            ("20261104_000000", "36 hours"),
            ("20261103_110000", "2 days"),
            ("20261106_110000", "less than a minute"),
        ] {
            assert_eq!(age(at(then), now), want, "{then}");
        }
        for (ms, want) in [
            (22, "22 ms"),
            (349, "0.3 s"),
            (8_012, "8 s"),
            (9_940, "9.9 s"),
            (9_960, "10 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(span(ms), want, "{ms}");
        }
    }
}
