//! `push`: the file that the server asks for, and those that will be asked for next.
//!
//! The exit status is that of the file asked for. One of the others that fails is tried again when
//! the server asks for it.

use std::path::{Path, PathBuf};

use kit::exit::{Code, Error, Result};
use kit::out::Speech;
use kit::place;
use kit::wal::name::Name;

use crate::cli::Args;
use crate::receipt;
use crate::source::Source;
use crate::{prefetch, store};

/// So many files are stored at the same time.
const THREADS: usize = 12;

/// Stores `path` under `name` in all archives.
pub(crate) fn push(path: &Path, name: Name, args: &Args, speech: &Speech) -> Result<Code> {
    let outcome = match receipt::redeem_all(path, name, &args.archives) {
        true => Ok(Code::Done),
        false => many(path, name, args, speech),
    };
    prefetch::forget(place::parent(path));
    outcome
}

fn many(path: &Path, name: Name, args: &Args, speech: &Speech) -> Result<Code> {
    let others = ready(path, name, args.ahead);
    if others.is_empty() {
        return one(path, name, args, true, speech);
    }
    // dealt out in order, so that those asked for next are stored first
    let next = std::sync::Mutex::new(others.into_iter());
    let take = || next.lock().map_or(None, |mut next| next.next());
    std::thread::scope(|scope| {
        for _ in 0..args.ahead.min(THREADS) {
            scope.spawn(|| {
                while let Some((path, name)) = take() {
                    match one(&path, name, args, false, speech) {
                        Ok(Code::Done) => receipt::leave_all(&path, name, &args.archives),
                        Ok(_) => {}
                        Err(error) => speech.error(&error.within("ahead")),
                    }
                }
            });
        }
        one(path, name, args, false, speech)
    })
}

/// Stores one file in all archives.
fn one(path: &Path, name: Name, args: &Args, alone: bool, speech: &Speech) -> Result<Code> {
    let source = match Source::open(path, name)? {
        Ok(source) => source,
        Err(unwritten) => {
            speech.warn(&format!("nothing to archive: {unwritten}"));
            return Ok(Code::Done);
        }
    };
    let mut errors = Vec::new();
    for dir in &args.archives {
        let stored = store::put(dir, &source, args.codec, alone);
        errors.extend(stored.err());
    }
    let failed = errors.len();
    let Some(last) = errors.pop() else { return Ok(Code::Done) };
    errors.iter().for_each(|e| speech.error(e));
    if failed == args.archives.len() {
        return Err(last);
    }
    speech.error(&last);
    Err(Error::new(Code::Part, format!("{name} is stored in some of the archives only")))
}

/// The files that the server will ask for after `name`, at most `most`: those marked `.ready` beside
/// it, in the order in which it asks (`pgarch.c`: histories first, then by name).
fn ready(path: &Path, name: Name, most: usize) -> Vec<(PathBuf, Name)> {
    if most == 0 {
        return Vec::new();
    }
    let wal = place::parent(path);
    // without a look into it there is nothing ahead, which is no fault
    let status = place::names(&wal.join("archive_status")).unwrap_or_default();
    let mut names: Vec<Name> =
        status.iter().filter_map(|n| n.strip_suffix(".ready")?.parse().ok()).filter(|n| *n != name).collect();
    names.sort_by_key(|n| (!matches!(n, Name::History(_)), n.to_string()));
    names.truncate(most);
    names.into_iter().map(|n| (wal.join(n.to_string()), n)).collect()
}
