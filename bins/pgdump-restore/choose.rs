//! Which dump is meant, opened once: what is checked is what is restored, even if the name is
//! given to another file meanwhile.

use std::path::{Path, PathBuf};

use kit::catalog::{self, Backup, located};
use kit::child;
use kit::exit::{Error, Result};
use kit::manifest::Kin;
use kit::out::{self, Speech};
use kit::settings::Settings;
use kit::source::Dump;
use kit::stamp::Stamp;
use kit::store::Place;

use crate::cli::Which;

/// How many backups `--pick` offers.
const OFFERED: usize = 10;

/// Finds and opens the dump.
/// `server`: the system identifier of the server to restore to, where it is known.
pub(crate) fn choose(
    which: &Which,
    settings: &Settings,
    dir: &Path,
    series: Option<&str>,
    server: Option<&str>,
    speech: &Speech,
) -> Result<Dump> {
    match which {
        Which::Stdin => Dump::stdin(),
        Which::File(name) if Place::is(Path::new(name)) => {
            Ok(told(Dump::at(&Place::parse(name)?, settings)?, speech))
        }
        Which::File(name) => open(&located(name, dir), speech),
        Which::Latest => open(&latest(dir, series, server, speech)?.path, speech),
        Which::Pick => open(&pick(dir, series)?, speech),
    }
}

fn open(path: &Path, speech: &Speech) -> Result<Dump> {
    let dump = Dump::open(path)
        .map_err(|e| if path.exists() { e } else { e.hint("--list shows the backups that are there.") })?;
    Ok(told(dump, speech))
}

/// The same, when it was told that its manifest cannot be read, if so.
fn told(dump: Dump, speech: &Speech) -> Dump {
    if let Some(fault) = &dump.fault {
        speech.warn(&format!("warning: {fault}; the dump is checked without it"));
    }
    dump
}

/// The newest proven backup, if there is no doubt which that is.
fn latest(dir: &Path, series: Option<&str>, server: Option<&str>, speech: &Speech) -> Result<Backup> {
    let backups = catalog::scan(dir, series)?;
    let mut all: Vec<&str> = backups.iter().filter_map(|b| b.series.as_deref()).collect();
    all.sort_unstable();
    all.dedup();
    if all.len() > 1 {
        return Err(Error::refused(format!(
            "'{}' holds backups of several series: {}",
            dir.display(),
            all.join(", ")
        ))
        .hint("Name one with --name."));
    }
    let mut proven: Vec<(&Backup, Kin)> =
        backups.iter().filter(|b| b.fault.is_none()).filter_map(|b| b.kin().map(|kin| (b, kin))).collect();
    prefer(&mut proven, |kin| server.is_some() && kin.server.as_deref() == server);
    prefer(&mut proven, Kin::is_whole);
    let Some((newest, kin)) = proven.first() else {
        return Err(Error::no(format!("'{}' holds no proven backup", dir.display())));
    };
    if let Some((_, other)) = proven.iter().find(|(_, other)| other != kin) {
        return Err(Error::refused(format!(
            "'{}' holds backups of different things: {kin}; {other}",
            dir.display()
        ))
        .hint("Name the file, or choose with --pick."));
    }
    for passed in backups.iter().take_while(|b| b.path != newest.path) {
        let why = passed.fault.clone().or_else(|| passed.kin().map(|kin| format!("it is of {kin}")));
        speech.warn(&format!("passed over {}: {}", passed.name, why.unwrap_or_default()));
    }
    Ok((*newest).clone())
}

/// Leaves only those of a kin that is wanted, if there are any.
fn prefer(backups: &mut Vec<(&Backup, Kin)>, wanted: impl Fn(&Kin) -> bool) {
    if backups.iter().any(|(_, kin)| wanted(kin)) {
        backups.retain(|(_, kin)| wanted(kin));
    }
}

/// Offers the newest backups and reads a number or a name.
fn pick(dir: &Path, series: Option<&str>) -> Result<PathBuf> {
    let mut backups = catalog::scan(dir, series)?;
    backups.truncate(OFFERED);
    if backups.is_empty() {
        return Err(Error::no(format!("'{}' holds no backup", dir.display())));
    }
    let now = Stamp::now();
    let mut offer = format!("Available backups (last {OFFERED}, newest first):\n");
    for (i, backup) in backups.iter().enumerate() {
        let row: Vec<String> = backup.row(now).iter().map(|c| out::plain(c)).collect();
        let [name, size, age, tables, rows, tag, proven] = &row[..] else { continue };
        let tag = if tag == "-" { String::new() } else { format!("  [{tag}]") };
        offer.push_str(&format!(
            "{:>3}  {name}  {size}  {age} ago  {tables} tables, {rows} rows  {proven}{tag}\n",
            i + 1
        ));
    }
    let answer = child::ask(&format!("{offer}Enter backup filename to restore (or its number): "))?;
    let answer = answer.unwrap_or_default();
    let by_number = answer.parse::<usize>().ok().and_then(|n| backups.get(n.checked_sub(1)?));
    match by_number.or_else(|| backups.iter().find(|b| b.name == answer)) {
        Some(backup) => Ok(backup.path.clone()),
        // a name outside the last ten is fine too, when it is there
        None if !answer.is_empty() && !answer.contains('/') && dir.join(&answer).is_file() => {
            Ok(dir.join(answer))
        }
        None if answer.is_empty() => Err(Error::refused("no backup was chosen")),
        None => Err(Error::no(format!("backup '{}' is not in '{}'", out::plain(&answer), dir.display()))),
    }
}
