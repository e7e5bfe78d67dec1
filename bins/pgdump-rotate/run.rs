//! What a run does, in order: settings, checks, backups, rotation.

use std::cell::RefCell;
use std::path::Path;

use kit::catalog::{self, Backup};
use kit::codec::Codec;
use kit::exit::{Code, Error, Result};
use kit::guard::{For, guard};
use kit::lock::Lock;
use kit::manifest::{Kin, Manifest};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::pg::Server;
use kit::place;
use kit::retention::{Candidate, Verdict};
use kit::services;
use kit::settings::Settings;
use kit::stamp::Stamp;
use kit::watch::{Fates, Turn};

use crate::backup::{Run, proof};
use crate::cli::{self, Action, Args, From, HELP, TOOL};
use crate::produce::{Job, jobs};
use crate::rotate::{backups, rotate};

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let args = cli::parse(std::env::args_os().skip(1))?;
    match args.action {
        Action::Help => return print(HELP.trim_end()),
        Action::Version => return print(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))),
        _ => {}
    }
    let settings = Settings::load()?.with("PATRONI_URLS", args.patroni.as_deref());
    let dir = settings.backups(args.dir.as_deref())?;
    let dir = Path::new(dir);
    let speech = Speech::new(TOOL, args.quiet);
    match args.action {
        Action::List => list(&args, dir),
        _ if args.dry_run => dry_run(&args, dir),
        _ => {
            kit::child::catch_signals()?;
            args.telling.around(TOOL, Some(dir), &settings, &speech, |account| match args.action {
                Action::RotateOnly => rotate_only(&args, dir, &speech, account),
                _ => back_up(&args, &settings, dir, &speech, account),
            })
        }
    }
}

fn print(text: &str) -> Result<Code> {
    out::record(text).map(|_| Code::Done)
}

fn back_up(
    args: &Args,
    settings: &Settings,
    dir: &Path,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<Code> {
    let codec = Codec::chosen(args.codec, settings)?;
    if !matches!(args.from, From::Command(_) | From::Stdin) {
        kit::pg::way(args.via.clone(), settings)?;
    }
    let _lock = prepare(args, dir, speech)?;
    // what a run of another of these programs left stopped may be the server itself
    services::mend(dir, speech);
    let server = match &args.from {
        From::Cluster => Some(Server::find(args.via.clone(), settings, None)?),
        From::Databases(names) => Some(find_through(names, args, settings)?),
        From::Command(_) | From::Stdin => None,
    };
    // held to the end: no restore of this server begins meanwhile, and none is running
    let guard = server.as_ref().map(|s| guard(s, &s.facts().database, For::Backup, TOOL)).transpose()?;
    let (left_out, beside) = match &server {
        Some(server) if args.from == From::Cluster => (left_out(server, speech)?, beside(server, speech)?),
        _ => Default::default(),
    };
    let guard = RefCell::new(guard);
    let run = Run { args, dir, codec, server: server.as_ref(), guard, speech, left_out, beside };
    let jobs = jobs(args);
    let (mut failed, mut held) = (Vec::new(), false);
    for job in &jobs {
        match one(&run, job, account) {
            Ok(all_gone) => held |= !all_gone,
            Err(error) if jobs.len() == 1 => return Err(error),
            Err(error) => {
                speech.error(&error);
                account.fault(&error);
                failed.push(error.code());
                // a signal is meant for the whole run
                kit::child::interrupted()?;
            }
        }
    }
    match failed.first() {
        None if held => Ok(Code::Part),
        None => Ok(Code::Done),
        // nothing was done: then the first failure is what it was
        Some(code) if failed.len() == jobs.len() => Ok(*code),
        Some(_) => Ok(Code::Part),
    }
}

/// pg_dumpall passes over databases that allow no connections, and says nothing.
fn left_out(server: &Server, speech: &Speech) -> Result<Vec<String>> {
    let names = server.databases_without_connections()?;
    for name in &names {
        speech.warn(&format!("warning: database '{name}' allows no connections: it is not in the backup"));
    }
    Ok(names)
}

/// What restores have left beside live databases is in no backup: it is there to go back to for a
/// while, and was backed up when it was live.
fn beside(server: &Server, speech: &Speech) -> Result<Vec<String>> {
    // no pg_dumpall before 12 can leave a database out
    if server.facts().version < 120_000 {
        return Ok(Vec::new());
    }
    let names: Vec<String> =
        kit::beside::list(server, &server.facts().database)?.into_iter().map(|b| b.name).collect();
    if !names.is_empty() {
        speech.say(&format!("left out, kept by a restore beside its database: {}", names.join(", ")));
    }
    Ok(names)
}

/// A server is asked through any of the databases that lets us in; one that is missing must not
/// keep the others from being backed up.
fn find_through(names: &[String], args: &Args, settings: &Settings) -> Result<Server> {
    let mut found = Err(Error::usage("no database"));
    for name in names {
        found = Server::find(args.via.clone(), settings, Some(name));
        match &found {
            Err(error) if error.code() == Code::No => {}
            _ => break,
        }
    }
    found
}

/// One backup. `Ok(false)`: it is made, and what no rule keeps any more stays for the time being.
fn one(run: &Run<'_>, job: &Job, account: &Account<'_>) -> Result<bool> {
    let (path, manifest) = run.make(job)?;
    account.made(path.display().to_string());
    account.note(&proof(&manifest));
    if run.args.json {
        out::record(&as_json(&path, &manifest)?)?;
    } else {
        out::record(&path.display().to_string())?;
    }
    let turn = Turn::Made(&manifest.file.name);
    run.args.policy.as_ref().map_or(Ok(true), |policy| {
        let held = rotate(run.dir, &job.prefix, policy, run.args.allow_shrink, turn, run.speech)?;
        held.iter().for_each(|why| account.note(&format!("nothing older is removed: {why}")));
        Ok(held.is_empty())
    })
}

/// The directory, its lock, and what a crash left in it.
fn prepare(args: &Args, dir: &Path, speech: &Speech) -> Result<Lock> {
    place::ensure_dir(dir)?;
    let lock = Lock::take_within(dir, args.lock_timeout, kit::child::pause)?;
    let ours = |name: &str| catalog::parse(name.strip_suffix(".json").unwrap_or(name)).is_some();
    for name in place::sweep(dir, ours)? {
        speech.say(&format!("removed {name}, left by a run that did not end"));
    }
    // what would fail after the dump is found out before it
    catalog::sums(dir)?;
    if let Some(link) = &args.latest_link {
        may_link(&dir.join(link))?;
    }
    Ok(lock)
}

/// Only a link that leads to a backup beside it is ours to change.
fn may_link(link: &Path) -> Result<()> {
    place::may_link(link)?;
    match link.read_link() {
        Ok(target) if !target.to_str().is_some_and(|t| !t.contains('/') && catalog::parse(t).is_some()) => {
            Err(Error::refused(format!("cannot link '{}': it leads to no backup beside it", link.display()))
                .hint("Remove it, or choose another name."))
        }
        _ => Ok(()),
    }
}

fn rotate_only(args: &Args, dir: &Path, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    let _lock = prepare(args, dir, speech)?;
    let Some(policy) = &args.policy else { return Ok(Code::Done) };
    let mut code = Code::Done;
    for job in jobs(args) {
        for why in rotate(dir, &job.prefix, policy, args.allow_shrink, Turn::All, speech)? {
            account.note(&format!("nothing older is removed: {why}"));
            code = Code::Part;
        }
    }
    Ok(code)
}

fn dry_run(args: &Args, dir: &Path) -> Result<Code> {
    let now = Stamp::now();
    let mut rows = Vec::new();
    for job in jobs(args) {
        let may_be = |kin: &Kin| job.may_be(args, kin);
        let mut turn = Turn::All;
        if matches!(args.action, Action::Backup) {
            let stamp = if dir.is_dir() { catalog::free_stamp(dir, &job.prefix, now)? } else { now };
            let name = catalog::name(&job.prefix, stamp, "");
            rows.push(vec!["make".into(), name.clone(), job.describe()]);
            turn = Turn::Guessed(
                Candidate { name, time: stamp, tag: args.tag.clone(), kin: None, fault: None },
                &may_be,
            );
        }
        let Some(policy) = &args.policy else { continue };
        let backups = backups(dir, &job.prefix)?;
        let fates = Fates::of(policy, Stamp::now(), &backups, turn, args.allow_shrink);
        let row = |(backup, verdict): (Backup, Verdict)| {
            let (what, why) = verdict.into_words();
            vec![what.to_owned(), backup.name, why]
        };
        rows.extend(backups.into_iter().zip(fates.verdicts).map(row));
    }
    out::table(&["WHAT", "NAME", "WHY"], &rows)?;
    Ok(Code::Done)
}

fn list(args: &Args, dir: &Path) -> Result<Code> {
    let jobs = jobs(args);
    let narrowed = args.name.is_some() || matches!(args.from, From::Databases(_));
    catalog::list(dir, args.json, |b: &Backup| {
        !narrowed || jobs.iter().any(|j| b.series.as_ref() == Some(&j.prefix))
    })?;
    Ok(Code::Done)
}

fn as_json(path: &Path, manifest: &Manifest) -> Result<String> {
    let mut value =
        serde_json::to_value(manifest).map_err(|e| Error::no(format!("cannot write JSON: {e}")))?;
    value["path"] = path.display().to_string().into();
    Ok(value.to_string())
}
