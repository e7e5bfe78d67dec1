//! `SHA256SUMS`: the digests of a folder, which outlive what is taken away.

use std::path::Path;

use crate::exit::{Error, Result};
use crate::place;

/// The list of a folder's digests, for `sha256sum -c SHA256SUMS`.
pub const SUMS: &str = "SHA256SUMS";

/// `dir`'s list as it is; `None` where there is none.
pub fn sums(dir: &Path) -> Result<Option<String>> {
    let path = dir.join(SUMS);
    match place::open_regular(&path).and_then(std::io::read_to_string) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path.display(), &e)),
    }
}

/// The same for a look around; one that cannot be read lists nothing: [`sums`] tells why.
pub fn listed(dir: &Path) -> String {
    sums(dir).ok().flatten().unwrap_or_default()
}

/// Digest and name of each line of a list.
pub fn entries(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.lines().filter_map(entry)
}

/// As `sha256sum -c` takes it: 64 hexadecimal digits, a blank, one more or an asterisk that it can do without, the name.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (digest, rest) = line.split_at_checked(64)?;
    let rest = rest.strip_prefix(' ')?;
    let name = rest.strip_prefix([' ', '*']).unwrap_or(rest);
    let is_entry = !name.is_empty() && digest.bytes().all(|b| b.is_ascii_hexdigit());
    is_entry.then_some((digest, name))
}

/// The first line of `dir`'s list, from 1, that is no entry, and no remark: what it told of is not known.
pub fn odd_line(dir: &Path) -> Option<usize> {
    let list = listed(dir);
    let is_odd = |line: &str| !line.is_empty() && !line.starts_with('#') && entry(line).is_none();
    list.lines().position(is_odd).map(|at| at + 1)
}

/// Rewrites `dir`'s list: without the names in `gone`, with `new` (name, digest) at its end.
/// The caller holds the directory's lock.
pub fn update_sums(dir: &Path, gone: &[&str], new: Option<(&str, &str)>) -> Result<()> {
    let before = sums(dir)?;
    if before.is_none() && new.is_none() {
        return Ok(());
    }
    let leaves = |name: &str| gone.contains(&name) || new.is_some_and(|(new, _)| new == name);
    let stays = |line: &&str| entry(line).is_none_or(|(_, name)| !leaves(name));
    let mut lines: String =
        before.unwrap_or_default().lines().filter(stays).map(|l| format!("{l}\n")).collect();
    if let Some((name, sha256)) = new {
        lines.push_str(&format!("{sha256}  {name}\n"));
    }
    place::replace(&dir.join(SUMS), lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_what_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        update_sums(dir.path(), &[], Some(("my file.sql", &a))).unwrap();
        update_sums(dir.path(), &[], Some(("b.sql", &b))).unwrap();
        update_sums(dir.path(), &["my file.sql"], None).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(SUMS)).unwrap(), format!("{b}  b.sql\n"));
    }

    #[test]
    fn lines_are_those_of_sha256sum() {
        let digest = "0f".repeat(32);
        let list = format!("# of us\n\n{digest}  a b\n{digest} *c\n{digest}   d\n{digest} e\n");
        let names: Vec<&str> = entries(&list).map(|(_, name)| name).collect();
        assert_eq!(names, ["a b", "c", " d", "e"]);
        for (odd, at) in [("", None), ("\\x", Some(7)), ("x", Some(7)), (&digest[1..], Some(7))] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(SUMS), format!("{list}{odd}\n")).unwrap();
            assert_eq!(odd_line(dir.path()), at, "{odd}");
        }
        for odd in [format!("{digest}  "), format!("{digest}\ta"), format!("x{}  a", &digest[1..])] {
            assert_eq!(entries(&odd).count(), 0, "{odd}");
        }
    }
}
