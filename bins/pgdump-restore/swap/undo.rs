//! Going back to what was before a restore, and dropping that.

use std::collections::BTreeMap;
use std::path::Path;

use kit::beside::{Beside, What, list, next_stamp};
use kit::exit::{Code, Error, Result};
use kit::guard::{For, guard};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::pg::{Server, literal};
use kit::services;
use kit::settings::Settings;
use kit::stamp::Stamp;

use crate::cli::{Args, TOOL};
use crate::run::confirm;
use crate::survey::entrance;
use crate::swap::{Exchange, drop_beside, exchange_all};
use crate::tell::tell;

/// What stands beside live databases from restores before, newest first.
fn before(server: &Server, entrance: &str) -> Result<Vec<Beside>> {
    let mut all = list(server, entrance)?;
    all.retain(|b| b.what == What::Before);
    Ok(all)
}

/// Swaps back what a restore has swapped: the latest, or that of a time. What is there now is kept as
/// what was there before, so that this can be undone, too.
pub(crate) fn undo(
    args: &Args,
    settings: &Settings,
    time: Option<Stamp>,
    dir: &Path,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<Code> {
    let server = Server::find(args.via.clone(), settings, None)?;
    let entrance = entrance(&server)?;
    let kept = before(&server, &entrance)?;
    let wanted = |b: &&Beside| args.database.as_ref().is_none_or(|d| *d == b.of);
    let time = time.or(kept.iter().filter(wanted).map(|b| b.stamp).max());
    let chosen: Vec<&Beside> = kept.iter().filter(wanted).filter(|b| Some(b.stamp) == time).collect();
    if chosen.is_empty() {
        let times: Vec<String> = kept.iter().map(|b| format!("{} of {}", b.stamp.compact(), b.of)).collect();
        let error = Error::no("no database from before a restore is there to go back to");
        return Err(if times.is_empty() {
            error
        } else {
            error.hint(format!("There are: {}.", times.join(", ")))
        });
    }
    let now = next_stamp(&kept);
    let mut exchanges = Vec::new();
    for beside in &chosen {
        let there = format!("SELECT 1 FROM pg_database WHERE datname = {};", literal(&beside.of));
        let there = !server.query(&entrance, &there)?.is_empty();
        let aside = there.then(|| What::Before.name(&beside.of, now));
        let size = out::bytes(beside.bytes);
        let line = match &aside {
            Some(aside) => {
                format!(
                    "undo    {} is {} again ({size}); what it is now is kept as {aside}",
                    beside.of, beside.name
                )
            }
            None => format!("undo    {} is {} again ({size})", beside.of, beside.name),
        };
        if args.dry_run {
            out::record(&line).map(|_| ())?
        } else {
            speech.say(&line)
        }
        exchanges.push(Exchange { name: beside.of.clone(), place: beside.name.clone(), before: aside });
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    confirm(args)?;
    let own = exchanges.iter().any(|e| e.name == entrance);
    let vantage = if own { "template1" } else { &entrance };
    let _lock = guard(&server, vantage, For::Restore, TOOL)?;
    let stopped = services::stop(&args.services, dir, speech)?;
    let undone = exchange_all(&server, vantage, &entrance, exchanges, now);
    let started = stopped.start().map(drop);
    undone.inspect_err(|_| {
        if let Err(error) = &started {
            speech.error(error);
        }
    })?;
    started.map_err(|e| e.hint("The names are changed back."))?;
    let names: Vec<&str> = chosen.iter().map(|b| b.of.as_str()).collect();
    account.note(&format!("undone: {}", names.join(", ")));
    tell(args, settings, &names, &server, account)?;
    Ok(Code::Done)
}

/// Drops what `--undo` would go back to: all of it, or that of a time.
pub(crate) fn drop_before(
    args: &Args,
    settings: &Settings,
    time: Option<Stamp>,
    speech: &Speech,
) -> Result<Code> {
    let server = Server::find(args.via.clone(), settings, None)?;
    let wanted = |b: &Beside| {
        b.what == What::Before
            && time.is_none_or(|t| t == b.stamp)
            && args.database.as_ref().is_none_or(|d| *d == b.of)
    };
    drop_chosen(args, &server, speech, &wanted)
}

/// Drops all but the newest `keep` of each database.
pub(crate) fn keep_before(args: &Args, settings: &Settings, keep: u32, speech: &Speech) -> Result<Code> {
    let server = Server::find(args.via.clone(), settings, None)?;
    let old = older(&server, &entrance(&server)?, keep)?;
    let wanted = |b: &Beside| old.contains(b) && args.database.as_ref().is_none_or(|d| *d == b.of);
    drop_chosen(args, &server, speech, &wanted)
}

fn drop_chosen(
    args: &Args,
    server: &Server,
    speech: &Speech,
    wanted: &dyn Fn(&Beside) -> bool,
) -> Result<Code> {
    let entrance = entrance(server)?;
    let chosen: Vec<Beside> = list(server, &entrance)?.into_iter().filter(|b| wanted(b)).collect();
    for beside in &chosen {
        let line = format!("drop    {} ({})", beside.name, out::bytes(beside.bytes));
        if args.dry_run { out::record(&line).map(|_| ())? } else { speech.say(&line) }
    }
    if chosen.is_empty() {
        speech.say("nothing to drop");
    }
    if args.dry_run || chosen.is_empty() {
        return Ok(Code::Done);
    }
    confirm(args)?;
    let _lock = guard(server, &entrance, For::Restore, TOOL)?;
    drop_beside(server, &entrance, speech, |b| chosen.contains(b))?;
    Ok(Code::Done)
}

/// All but the newest `keep` of each database.
pub(crate) fn older(server: &Server, entrance: &str, keep: u32) -> Result<Vec<Beside>> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut old = before(server, entrance)?;
    old.retain(|b| {
        let n = seen.entry(b.of.clone()).or_default();
        *n += 1;
        *n > keep
    });
    Ok(old)
}
