//! What helps where a drill was not held: programs that restore give hints to those who have a database to
//! lose; a drill has none.

use kit::exit::{Code, Error};

/// What a server says on a full disk, and what we say, in lower case.
const FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];
const ROOM: &str =
    "A drill needs room for all that it restores in the folder that TMPDIR names, '/tmp' unless set.";
/// The option that a drill has, too.
const GUARD: &str = "--force=guard";

/// Of a full disk: worth another try, elsewhere.
pub(super) fn full(error: Error) -> Error {
    let text = error.to_string();
    match is_full(&text) {
        true => Error::temporary(text).hint(ROOM),
        false => error,
    }
}

/// Whether words tell of a full disk.
pub(super) fn is_full(text: &str) -> bool {
    let text = text.to_lowercase();
    FULL.iter().any(|words| text.contains(words))
}

/// The failure of a program that restores, with those of its hints that help here.
pub(super) fn of_drill(error: Error) -> Error {
    let hints: Vec<String> = error.lines().skip(1).collect();
    if hints.first().is_some_and(|hint| hint.contains("--force=space")) {
        return Error::temporary(error.to_string()).hint(ROOM);
    }
    let plain = Error::new(error.code(), error.to_string());
    match error.code() {
        Code::Refused => hints.iter().filter_map(|hint| helps(hint)).fold(plain, Error::hint),
        _ => full(plain),
    }
}

/// A hint without the sentences that name options which a drill has not.
fn helps(hint: &str) -> Option<String> {
    let hint = hint.strip_prefix("hint: ").unwrap_or(hint).trim_end_matches('.');
    let names_option = |sentence: &&str| sentence.split(' ').any(|w| w.starts_with('-'));
    let kept: Vec<&str> = hint.split(". ").filter(|s| s.starts_with(GUARD) || !names_option(s)).collect();
    (!kept.is_empty()).then(|| kept.join(". ") + ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hints_that_can_be_followed_are_given() {
        let told = |code, hints: &[&str]| {
            let error = hints.iter().fold(Error::new(code, "what"), |e, hint| e.hint(*hint));
            of_drill(error).lines().skip(1).collect::<Vec<_>>()
        };
        let of = |hints: &[&str]| told(Code::Refused, hints);
        assert_eq!(
            of(&["Look at it. --force=guard lifts this."]),
            ["hint: Look at it. --force=guard lifts this."]
        );
        assert_eq!(of(&["Install it. --force=extensions lifts this."]), ["hint: Install it."]);
        assert_eq!(of(&["Into a database that has them they go with --data-only."]), [""; 0]);
        assert_eq!(of(&["Make room. --force=space lifts this."]), [format!("hint: {ROOM}")]);
        assert_eq!(told(Code::No, &["Every database is as it was."]), [""; 0]);
        assert_eq!(told(Code::Temporary, &["Left over, and removed by the next restore: a."]), [""; 0]);
    }
}
