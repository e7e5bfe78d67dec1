//! The command line, below what a single program knows: options, numbers, spans of time.
//!
//! Parsing is pure: it touches no file and asks no clock.

use std::ffi::OsString;
use std::str::FromStr;

use crate::exit::{Error, Result};

/// Turns lexopt's complaint into a usage error.
pub fn bad(error: &lexopt::Error) -> Error {
    let text = error.to_string();
    let mut first = text.chars();
    let text: String = first.next().map_or(String::new(), |c| c.to_lowercase().chain(first).collect());
    usage(text)
}

/// A usage error that points to `--help`.
pub fn usage(message: impl Into<String>) -> Error {
    Error::usage(message).hint("Try --help.")
}

/// The value of the option just read, as text.
pub fn text(parser: &mut lexopt::Parser, option: &str) -> Result<String> {
    let value = parser.value().map_err(|e| bad(&e))?;
    utf8(value, option)
}

/// The same, which must say something.
pub fn nonempty(parser: &mut lexopt::Parser, option: &str) -> Result<String> {
    let value = text(parser, option)?;
    if value.is_empty() { Err(usage(format!("{option}: it is empty"))) } else { Ok(value) }
}

/// The value of `--dir`, just read: paths in it are printed one a line, so it must be one line.
pub fn folder(parser: &mut lexopt::Parser) -> Result<String> {
    let dir = text(parser, "--dir")?;
    if dir.is_empty() || dir.chars().any(char::is_control) {
        return Err(usage(format!("--dir: '{dir}' is no name of a directory")));
    }
    Ok(dir)
}

/// A word of the command line as text; arguments that are no UTF-8 are refused.
pub fn utf8(word: OsString, what: &str) -> Result<String> {
    word.into_string().map_err(|w| usage(format!("{what}: '{}' is not valid UTF-8", w.display())))
}

/// The value of the option just read, as a number.
pub fn number<T: FromStr>(parser: &mut lexopt::Parser, option: &str) -> Result<T> {
    let value = text(parser, option)?;
    value.parse().map_err(|_| usage(format!("{option}: '{value}' is not a number in range")))
}

/// The value of the option just read, as bytes: `1000`, `64K`, `1.5M`, `50G`, `2T`, powers of 1024.
pub fn size(parser: &mut lexopt::Parser, option: &str) -> Result<u64> {
    let text = text(parser, option)?;
    let wrong = || usage(format!("{option}: '{text}' is no size such as 64K, 1.5M or 50G"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * f64::from(shift).exp2();
    if bytes >= 0.0 && bytes < 2f64.powi(63) { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Seconds of a span such as `90s`, `15m`, `36h`, `7d`, `4w`, or a sum of them (`1d12h`).
pub fn span(text: &str) -> Result<i64> {
    let wrong = || usage(format!("'{text}' is not a span of time such as 36h, 7d or 1d12h"));
    let (mut total, mut number) = (0i64, None::<i64>);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            let n = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(i64::from(digit)));
            number = Some(n.ok_or_else(wrong)?);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    if number.is_some() || text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [("90s", 90), ("7d", 604_800), ("1d12h", 129_600), ("0s", 0)] {
            assert_eq!(span(text).unwrap(), seconds, "{text}");
        }
        for text in ["", "7", "d", "7 d", "-1d", "7y", "99999999999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
