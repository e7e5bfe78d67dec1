//! Archives of WAL: the chain is judged by the program that keeps it; one file of it is read here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kit::child::{Child, sibling};
use kit::exit::{Code, Error, Result};
use kit::wal::archive::{Archive, IDENTITY, Proof, Stored, bare};
use kit::wal::name::Name;

use crate::verdict::Verdict;

/// What a path has to do with an archive of WAL.
pub(super) enum Of {
    /// It is one.
    All(PathBuf),
    /// It is a file of one.
    One(PathBuf, Stored),
}

/// Whether a path is an archive of WAL, or a file of one.
pub(super) fn of(path: &Path) -> Option<Of> {
    if path.join(IDENTITY).is_file() {
        return Some(Of::All(path.to_owned()));
    }
    let text = path.file_name()?.to_str()?;
    let name = bare(text).parse::<Name>().ok()?;
    // DIR/TIMELINE/NAME
    let path = std::path::absolute(path).ok()?;
    let dir = path.parent()?.parent()?.to_owned();
    dir.join(IDENTITY).is_file().then_some(Of::One(dir, Stored { name, path }))
}

/// Proves it.
pub(super) fn check(of: &Of, quick: bool, verdict: &mut Verdict) -> Result<()> {
    match of {
        Of::All(dir) => {
            Archive::open(dir)?;
            if quick { Ok(()) } else { chain(dir, verdict) }
        }
        Of::One(dir, stored) => {
            let archive = Archive::open(dir)?;
            if quick {
                return Ok(());
            }
            match archive.read(stored, |_| kit::child::interrupted()).map_err(|fault| fault.error())? {
                Proof::None(_) => {
                    verdict.warn("there is no digest of it: only its size and header were looked at")
                }
                _ => verdict.note("a file of an archive of WAL"),
            }
            Ok(())
        }
    }
}

/// Gaps, damage, and base backups that cannot be recovered: each is a line that the program says.
fn chain(dir: &Path, verdict: &mut Verdict) -> Result<()> {
    let program = "wal-archive";
    let mut command = Command::new(sibling(program));
    command
        .args(["verify", "--json", "--quiet", "--notify", "none", "--archive"])
        .arg(std::path::absolute(dir).unwrap_or(dir.into()));
    let ended = Child::spawn(&mut command, program, Stdio::null(), Stdio::null())?.wait()?;
    match ended.status.code().and_then(Code::of) {
        Some(Code::Done) => verdict.note("an archive of WAL without gaps"),
        Some(Code::No) if !ended.stderr.is_empty() => {
            let words =
                |line: &String| line.split_once(": ").map_or(line.clone(), |(_, words)| words.to_owned());
            ended.stderr.iter().map(words).for_each(|what| verdict.bad(what));
        }
        Some(_) => return Err(ended.told()),
        None => return Err(Error::no(ended.error().to_string())),
    }
    Ok(())
}
