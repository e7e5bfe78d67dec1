//! Snapshots of volumes: the record of a set, and every archive that it names.

use std::path::{Path, PathBuf};

use kit::exit::{Code, Error, Result};
use kit::manifest::{Verified, record_in};
use kit::out::{self, Speech};
use kit::place;
use kit::progress::Progress;
use kit::stamp::Stamp;
use kit::volume::control::State;
use kit::volume::set::{self, Archive, Mode, Set, parse, parse_record};
use kit::volume::verify::verify;

use crate::cli::Args;
use crate::coverage::Coverage;
use crate::verdict::Verdict;

/// The record of the set that a path is of: itself, or the one beside an archive.
pub(super) fn record_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    if parse_record(name).is_some() {
        return Some(path.to_owned());
    }
    let beside = place::parent(path).join(set::name(parse(name)?.0));
    beside.is_file().then_some(beside)
}

/// Proves the archive at `path`, or all of the set where that is its record.
pub(super) fn check(
    path: &Path,
    record: &Path,
    args: &Args,
    speech: &Speech,
    verdict: &mut Verdict,
) -> Result<Set> {
    let set = Set::read(record)?;
    super::sealed(record, verdict)?;
    let whole = path == record;
    archives(&set, path, record, args, speech, verdict)?;
    // nothing is known of what could not be read, and what its log's archive lacks is no fault of the set
    if whole && !args.quick && (verdict.passes() || verdict.code() == Code::No) {
        enter(record, &set, "check", verdict);
    }
    log(&set, args.wal.as_deref(), verdict);
    Ok(set)
}

/// Each archive of the set, or the one at `path`: there, of its size, and read to its last byte.
fn archives(
    set: &Set,
    path: &Path,
    record: &Path,
    args: &Args,
    speech: &Speech,
    verdict: &mut Verdict,
) -> Result<()> {
    let mine = |a: &&Archive| path == record || path.file_name().is_some_and(|n| n == a.file.name.as_str());
    let archives: Vec<&Archive> = set.volumes.iter().filter(mine).collect();
    if archives.is_empty() {
        return Err(Error::no(format!("the record '{}' does not tell of it", record.display())));
    }
    let bytes = archives.iter().map(|a| a.file.bytes).sum();
    verdict.note(out::bytes(bytes));
    verdict.fact("bytes", bytes);
    let dir = place::parent(record);
    for Archive { file, .. } in &archives {
        match dir.join(&file.name).metadata() {
            Err(_) => verdict.bad(format!("{} is missing", file.name)),
            Ok(meta) if meta.len() != file.bytes => {
                let (is, said) = (out::count(meta.len()), out::count(file.bytes));
                verdict.bad(format!("{} has {is} bytes, its record says {said}", file.name));
            }
            Ok(_) => {}
        }
    }
    if args.quick || !verdict.passes() {
        return Ok(());
    }
    let progress =
        Progress::start("checking", Some(archives.iter().map(|a| a.raw_bytes).sum()), speech.is_quiet());
    for archive in &archives {
        match verify(dir, archive, |bytes| progress.advance(bytes)) {
            Ok(_) => sane(set, archive, verdict),
            Err(error) => verdict.fault(error),
        }
    }
    drop(progress);
    let entries: u64 = archives.iter().map(|a| a.entries).sum();
    verdict.note(format!("{} volumes, {} entries", archives.len(), out::count(entries)));
    verdict.fact("entries", entries);
    Ok(())
}

/// A hot snapshot is nothing without the log of its time.
fn log(set: &Set, archive: Option<&str>, verdict: &mut Verdict) {
    if !set.needs_log() {
        return;
    }
    let Some(archive) = archive else {
        return verdict.warn(
            "it does not hold the log without which a hot snapshot is of no use: --wal looks whether an archive \
             does; one by 'volsnap --with-wal' needs none",
        );
    };
    let coverage = match Coverage::of(Path::new(archive)) {
        Ok(coverage) => coverage,
        Err(error) => return verdict.fault(error),
    };
    if coverage.is_of_another(set) {
        return verdict.warn(format!("nobody looked for its log: '{archive}' is of another server"));
    }
    match coverage.lacks(set) {
        None => verdict.note(format!("its log is in '{archive}'")),
        Some(why) => verdict.bad(why),
    }
}

/// What the data directories say of themselves must make sense for what the set is.
fn sane(set: &Set, archive: &Archive, verdict: &mut Verdict) {
    for data in &archive.data {
        let stopped = matches!(data.control.state, State::ShutDown | State::ShutDownInRecovery);
        if set.mode == Mode::Cold && !stopped {
            let what = format!("the server of {} was not stopped in order: it will recover", archive.label);
            verdict.warn(what);
        }
    }
}

/// Enters a proof into the record.
pub(crate) fn enter(record: &Path, set: &Set, how: &str, verdict: &mut Verdict) {
    let Some(first) = set.volumes.first() else { return };
    let verified = Verified { at: Stamp::now().to_string(), how: how.into(), ok: verdict.passes() };
    let archive = place::parent(record).join(&first.file.name);
    if let Err(error) = record_in(record, &archive, &verified) {
        verdict.warn(error.to_string());
    }
}
