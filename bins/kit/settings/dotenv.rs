//! `.env`, which is shared with other programs: a line of theirs that cannot be read is theirs, and hides none
//! of ours. No error repeats a line: it may hold a password.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use crate::exit::{Error, Result};

/// The variables that the file sets; none where there is no file. `is_ours`: whether a variable is one that
/// must be read.
pub(super) fn read(path: &Path, is_ours: impl Fn(&str) -> bool) -> Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other.map_err(|e| Error::io("read", path.display(), &e))?,
    };
    // some editors mark UTF-8 by a character that nobody sees
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = readable(text, is_ours).map_err(|(line, name)| {
        Error::no(format!("cannot read '{}': line {line} is not {name}=value", path.display()))
            .hint("A value with blanks, quotes or # stands in single quotes; ${NAME} is known, but neither ${NAME:-default} nor $A_NAME.")
    })?;
    // values may refer to those before them, so all is read at once
    Ok(dotenvy::from_read_iter(text.as_bytes()).filter_map(std::result::Result::ok).collect())
}

/// The text without the lines that cannot be read. The number of one that is ours, and its variable.
fn readable(text: &str, is_ours: impl Fn(&str) -> bool) -> std::result::Result<String, (usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut kept, mut at) = (String::new(), 0);
    // variables that would be read as nothing
    let mut nothing: Vec<&str> = Vec::new();
    while at < lines.len() {
        let line = lines[at];
        let assigned = line.trim_start();
        let assigned = assigned.strip_prefix("export ").unwrap_or(assigned);
        let (name, value) = assigned.split_once('=').unwrap_or((assigned, ""));
        // what begins with a quote may go on until a later one
        let last = if value.trim_start().starts_with(['"', '\'']) { lines.len() } else { at + 1 };
        let found = (at + 1..=last).map(|end| (end, lines[at..end].join("\n"))).find(|(_, text)| reads(text));
        let name = name.trim();
        let is_nothing =
            has_default(value) || is_misread(value) || nothing.iter().any(|other| refers(value, other));
        if is_nothing {
            nothing.push(name);
        }
        match found.filter(|_| !is_ours(name) || !is_nothing) {
            Some((end, text)) => {
                kept.push_str(&text);
                kept.push('\n');
                at = end;
            }
            None if is_ours(name) => return Err((at + 1, name.to_owned())),
            None => at += 1,
        }
    }
    Ok(kept)
}

/// Whether it has one of Compose's `${NAME:-default}` and the like, which would be read as nothing.
fn has_default(value: &str) -> bool {
    let rest_of = |part: &str| part.split('}').next().unwrap_or_default().contains([':', '-', '?', '+']);
    let value = value.split(" #").next().unwrap_or_default();
    !value.trim_start().starts_with('\'') && value.split("${").skip(1).any(rest_of)
}

/// Whether it has a `$A_NAME`, whose name dotenvy takes to end before the underscore.
fn is_misread(value: &str) -> bool {
    let value = value.split(" #").next().unwrap_or_default();
    let ends_early = |part: &str| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        rest.len() < part.len() && rest.starts_with('_')
    };
    !value.trim_start().starts_with('\'') && value.split('$').skip(1).any(ends_early)
}

/// Whether a value refers to a variable, as `${NAME}` or `$NAME`.
fn refers(value: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric();
    let bare = format!("${name}");
    let ends = |(at, text): (usize, &str)| !value[at + text.len()..].starts_with(goes_on);
    value.contains(&format!("${{{name}}}")) || value.match_indices(&bare).any(ends)
}

fn reads(text: &str) -> bool {
    dotenvy::from_read_iter(text.as_bytes()).all(|pair| pair.is_ok())
}

#[cfg(test)]
mod tests {
    fn read(text: &str) -> std::result::Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        std::fs::write(&path, text).unwrap();
        match super::read(&path, |name| name.starts_with("PG")) {
            Ok(all) => Ok(all.iter().map(|(k, v)| format!("{k}={v};")).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn lines_of_others_hide_none_of_ours() {
        for (text, want) in [
            ("A=b c d\nFOO=x\nnonsense\nexport PGPORT=7\n", "FOO=x;PGPORT=7;"),
            ("KEY=a\"b\nQ=it's\nPGHOST=h # ${A:-b}\nPGUSER=u\n", "PGHOST=h;PGUSER=u;"),
            ("KEY=\"a\nPGHOST=of the key\nb\"\nPGUSER=u\n", "KEY=a\nPGHOST=of the key\nb;PGUSER=u;"),
            ("\u{feff}PGHOST=h\r\nPGUSER='${A:-b}'\r\nOTHER=${A:-b}", "OTHER=;PGHOST=h;PGUSER=${A:-b};"),
            ("D=${X:-y}\nD_B=h\nPGUSER=${D_B}\nE=h\nPGHOST=$E.x\n", "D=;D_B=h;E=h;PGHOST=h.x;PGUSER=h;"),
            ("KEY=\"never ended\nPGHOST=h\n", "PGHOST=h;"),
            (
                "USER_X=me\nPGUSER=${USER_X}\n# a 'comment\nPGPASSWORD='a\"b #c'\n",
                "PGPASSWORD=a\"b #c;PGUSER=me;USER_X=me;",
            ),
        ] {
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn a_line_of_ours_is_named_and_not_repeated() {
        for value in ["b c d", "a\"b", "\"b", "${B:-c}", "${D}", "a$D", "$D_B"] {
            let error = read(&format!("D=${{E:-f}}\nexport PGPASSWORD={value}\n")).unwrap_err();
            assert!(error.ends_with("line 2 is not PGPASSWORD=value") && !error.contains(value), "{error}");
        }
    }
}
