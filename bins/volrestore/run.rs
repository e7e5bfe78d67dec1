//! What a restore does, in order: choose, prove, plan, ask, fill in beside, stop, change names, start.

use std::path::Path;
use std::time::Duration;

use kit::child::{self, catch_signals, clean_up};
use kit::exit::{Code, Error, Result};
use kit::instance::{Site, remove_container};
use kit::lock::Lock;
use kit::notify::{Account, Telling};
use kit::out::{self, Speech};
use kit::place;
use kit::services::{self, Wanted};
use kit::settings::Settings;
use kit::volume::verify::Proven;
use kit::volume::{helper, listing};

use crate::choose::choose;
use crate::cli::{self, Action, Args, TOOL, Which};
use crate::help::HELP;
use crate::journal::{self, Journal, Move, Room, any};
use crate::plan::{Need, Target, lines, room_of, targets};
use crate::recovery::Recovery;
use crate::replicas::Replicas;
use crate::rows::Rows;
use crate::site::Sites;
use crate::unpack::proven;
use crate::{into, made, plan, recovery, refill, undo};

/// The folder of snapshots below that of backups.
const SNAPSHOTS: &str = "snapshots";

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let mut args = cli::parse(std::env::args_os().skip(1))?;
    match args.action {
        Action::Help => return out::record(HELP.trim_end()).map(|_| Code::Done),
        Action::Version => {
            return out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done);
        }
        _ => {}
    }
    let settings = Settings::load()?;
    let backups = settings.backups(args.dir.as_deref())?;
    let backups = Path::new(backups);
    let dir = &backups.join(SNAPSHOTS);
    let speech = Speech::new(TOOL, args.quiet);
    if args.action == Action::List {
        listing::list(dir, args.json)?;
        return Ok(Code::Done);
    }
    catch_signals()?;
    if args.services.patroni.is_none() {
        args.services.patroni = settings.get("PATRONI_URLS").map(str::to_owned);
    }
    args.helper = Some(helper::image(args.helper.as_deref(), &settings).to_owned());
    let work = |account: &Account<'_>| act(&args, backups, dir, &speech, account);
    match args.dry_run {
        true => Telling::nobody(TOOL, &speech, work),
        false => args.telling.around(TOOL, Some(backups), &settings, &speech, work),
    }
}

fn act(args: &Args, backups: &Path, dir: &Path, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    // the record of a snapshot may stand elsewhere
    let elsewhere = matches!(args.which(), Some(Which::Named(name)) if Path::new(name).is_file());
    if !elsewhere && !dir.is_dir() {
        return Err(Error::no(format!("there are no snapshots: '{}' is not there", dir.display()))
            .hint("Name the folder of the backups: --dir DIR."));
    }
    if !args.dry_run {
        place::ensure_dir(dir)?;
    }
    let lock = || Lock::take_within(dir, args.lock_timeout, kit::child::pause);
    let _lock = dir.is_dir().then(lock).transpose()?;
    if args.dry_run {
        if journal::is_begun(dir) {
            return Err(Error::temporary("a restore was cut off, and must be ended first").hint(
                "Without --dry-run it is: where it had emptied its volumes, from the same snapshot or from one that you name.",
            ));
        }
        services::tell_of_mending(backups, speech);
    } else {
        sweep(speech)?;
    }
    let sites = Sites { dir, image: args.helper.as_deref().unwrap_or(helper::IMAGE) };
    let ended = journal::resume(sites, speech, |journal| refill::again(args, journal, dir, speech))?;
    if !args.dry_run {
        services::mend(backups, speech);
    }
    // asked once: from here on it is as if it had been named
    let picked;
    let which = match args.which() {
        Some(Which::Pick) => {
            picked = Which::Named(choose(&Which::Pick, dir)?.path.display().to_string());
            Some(&picked)
        }
        which => which,
    };
    let done = match (&args.action, &args.into, which) {
        (Action::Restore(_), Some(into), _) if args.until.is_some() => {
            Recovery::find(args, which, dir, speech)?.beside(args, Path::new(into), dir, speech, account)
        }
        (Action::Restore(_), Some(into), Some(which)) => {
            let chosen = choose(which, dir)?;
            recovery::needs_log(&chosen)?;
            into::into(args, &chosen, Path::new(into), dir, speech, account, |_, _| Ok(()))
        }
        (Action::Restore(_), None, _) => {
            if let Some(ended) = &ended.done
                && is_done(args, which, ended, dir)?
            {
                tell_done(ended, speech, account)?;
                journal::tidy(sites, args.keep_before, Some(&ended.stamp), speech)?;
                Ok(Code::Done)
            } else {
                let spared = ended.done.map(|journal| journal.stamp).or_else(|| journal::unheard(dir));
                restore(args, which, spared.as_deref(), backups, sites, speech, account)
            }
        }
        _ if ended.done.as_ref().is_some_and(|journal| journal.room == Room::Emptied) => Err(Error::no(
            "the restore that was ended had no room to keep what was there: nothing can come back",
        )),
        // an earlier one is not what whoever gives this up wants to be rid of
        _ if ended.done.is_none() && ended.given_up => {
            speech.say("it had replaced nothing, and is undone by that; once more, --undo goes back behind an earlier restore");
            Ok(Code::Done)
        }
        _ => undo::undo(args, backups, sites, speech, account),
    }?;
    if !args.dry_run {
        journal::heard(dir)?;
    }
    Ok(done)
}

/// Ends the private servers of runs that were killed, which would go on writing into what is removed next.
fn sweep(speech: &Speech) -> Result<()> {
    for left in Site::sweep(TOOL)? {
        let name = left.file_name().unwrap_or_default().to_string_lossy();
        ["docker", "podman"].iter().for_each(|engine| remove_container(engine, &name));
        speech.say(&format!("removed {}, left by a run that was killed", left.display()));
    }
    Ok(())
}

/// Whether the restore that was just ended is the one that is asked for.
fn is_done(args: &Args, which: Option<&Which>, ended: &Journal, dir: &Path) -> Result<bool> {
    if args.dry_run || !ended.fills || ended.asked != plan::asked(args)? {
        return Ok(false);
    }
    match which {
        Some(which) => Ok(choose(which, dir)?.stem() == ended.snapshot),
        None => Ok(true),
    }
}

fn tell_done(ended: &Journal, speech: &Speech, account: &Account<'_>) -> Result<()> {
    // what is emptied is called by its place
    for m in ended.moves.iter().filter(|m| kit::volume::is_label(&m.label)) {
        restored(&m.label, account)?;
    }
    let back = if ended.room == Room::Beside && !ended.branches { "; --undo goes back" } else { "" };
    speech.say(&format!("that is what was asked for: the restore is done{back}"));
    Ok(())
}

/// Restores in place. What was there before the restore of time `spared` is not removed.
fn restore(
    args: &Args,
    which: Option<&Which>,
    spared: Option<&str>,
    backups: &Path,
    sites: Sites<'_>,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<Code> {
    let dir = sites.dir;
    let recovery = args.until.is_some().then(|| Recovery::find(args, which, dir, speech)).transpose()?;
    let named;
    let chosen = match (&recovery, which) {
        (Some(recovery), _) => recovery.chosen(),
        (None, Some(which)) => {
            named = choose(which, dir)?;
            recovery::needs_log(&named)?;
            &named
        }
        (None, None) => return Err(kit::cli::usage("no snapshot is named")),
    };
    let emptied = recovery.as_ref().map_or(&[][..], |recovery| &recovery.emptied);
    let mut targets = targets(&chosen.set, &args.volumes, &[&args.forget, emptied].concat(), sites)?;
    if args.services.stop.is_none() {
        targets.iter().try_for_each(|t| t.place.no_container_runs(&args.services.services))?;
    }
    if !args.services.stop_something() {
        plan::journal(args, chosen, &targets, dir, Room::Beside)?.moves.iter().try_for_each(Move::is_idle)?;
    }
    let helpers = made::helpers(&targets, sites)?;
    if recovery.is_some() && any(&targets, |target| target.is_here().map(|here| !here))? {
        return Err(Error::refused("cannot recover in a volume that only root may enter")
            .hint("Recover beside, with --into DIR, or run this as root."));
    }
    let replaces = any(&targets, Target::is_live)?;
    if replaces && !args.dry_run {
        may_ask(args)?;
    }
    let proven = proven(args, chosen, speech)?;
    let room = room_of(args, chosen, &targets, &needs(&targets, &proven))?;
    for line in lines(args, chosen, &targets, &proven, &room)? {
        if args.dry_run { out::record(&line).map(drop)? } else { speech.say(&line) }
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    if replaces {
        confirm(args, "WARNING: This will DESTROY all current volumes!\n")?;
    }
    // a recovery has the leader alone in its set, and Patroni makes the others anew
    let followers = match args.services.patroni {
        Some(_) => chosen.set.standbys().max(chosen.followers.len()),
        None => chosen.set.standbys(),
    };
    let replicas = Replicas::before(args, followers, chosen.set.system_identifier.as_deref());
    if !helpers.is_empty() {
        made::make(chosen, &targets, &helpers, &proven, sites, speech)?;
        for archive in &chosen.set.volumes {
            restored(&archive.label, account)?;
        }
        let wanted = Wanted { last: chosen.set.followers(), ..args.services.clone() };
        let started = services::stop(&wanted, backups, speech)?.start()?;
        if let Some(replicas) = replicas.filter(|_| started.is_some()) {
            replicas.tell(speech);
        }
        return Ok(Code::Done);
    }
    targets.iter_mut().try_for_each(|target| target.make(sites))?;
    let now = room_of(args, chosen, &targets, &needs(&targets, &proven))?;
    if room == Room::Beside && now != room {
        // nobody agreed to that
        return Err(Error::temporary("by now there is no room beside what is there: look again"));
    }
    let rows = if args.services.start_something() { Rows::before(backups, &chosen.set) } else { None };
    let journal = plan::journal(args, chosen, &targets, dir, now)?;
    let started = swap_stopped(args, backups, dir, &journal, speech, |journal| {
        refill::fill_all(chosen, &proven, journal, speech, |m| match &recovery {
            Some(recovery) => recovery.in_place(args, m, &journal.moves, speech),
            None => Ok(()),
        })
    })?;
    for archive in &chosen.set.volumes {
        restored(&archive.label, account)?;
    }
    // what does not start may be why somebody wants to go back
    let started = started?;
    if let Some(rows) = rows {
        rows.tell(speech);
    }
    if let Some(replicas) = replicas.filter(|_| started.is_some()) {
        replicas.tell(speech);
    }
    for m in journal.moves.iter().filter(|_| args.keep_before > 0) {
        if m.has_before()? {
            let back = if journal.branches { "" } else { "; --undo goes back to it" };
            speech.say(&format!("what was there is kept as {}{back}", m.before.display()));
        }
    }
    journal::tidy(sites, args.keep_before, spared, speech)?;
    Ok(Code::Done)
}

/// Tells of a volume, or of where it was put.
pub(crate) fn restored(what: &str, account: &Account<'_>) -> Result<()> {
    account.made(what);
    out::record(what).map(drop)
}

/// Where each volume is filled in, and how much room that takes.
fn needs<'a>(targets: &'a [Target], proven: &[Proven]) -> Vec<Need<'a>> {
    let need = |(t, p): (&'a Target, &Proven)| Some((&t.site, place::parent(t.live.as_ref()?), p.found.room));
    targets.iter().zip(proven).filter_map(need).collect()
}

/// Prepares what takes the place of the volumes, stops, has them change names, and starts again.
/// Whether that start worked, and how long all was down, is told apart: the restore is done whatever it says.
pub(crate) fn swap_stopped(
    args: &Args,
    backups: &Path,
    dir: &Path,
    journal: &Journal,
    speech: &Speech,
    prepare: impl Fn(&Journal) -> Result<()>,
) -> Result<Result<Option<Duration>>> {
    let absolute = dir.canonicalize().map_err(|e| Error::io("read", dir.display(), &e))?;
    let hold = Some(journal::swapping(&absolute));
    journal.begin(dir)?;
    let wanted = Wanted { hold, last: journal.last.clone(), ..args.services.clone() };
    let beside = journal.room == Room::Beside;
    let prepared = if beside { prepare(journal) } else { Ok(()) };
    let swapped = prepared.and_then(|()| {
        let stopped = services::stop(&wanted, backups, speech)?;
        journal.moves.iter().try_for_each(Move::is_idle)?;
        // a moment; whoever interrupts now is heard when it is over
        if beside {
            clean_up(|| journal.swap(dir))?;
        } else {
            journal.empty_first(dir)?;
            journal.empty()?;
            prepare(journal)?;
            let filled = journal.filled(dir, journal.snapshot.clone())?;
            clean_up(|| filled.settle(dir))?;
        }
        Ok(stopped.start())
    });
    swapped.inspect_err(|_| {
        clean_up(|| {
            if let Err(error) = journal.abandon(dir) {
                speech.error(&error);
            }
        });
    })
}

/// Without a terminal nobody can say DESTROY; that is found out before anything else is done.
fn may_ask(args: &Args) -> Result<()> {
    if !args.yes && !out::stdin_is_terminal() {
        return Err(Error::refused("nobody can be asked: standard input is no terminal")
            .hint("Give --yes to replace the volumes without a question."));
    }
    Ok(())
}

/// Asks for the word, in capitals, unless that was answered before.
pub(crate) fn confirm(args: &Args, warning: &str) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    may_ask(args)?;
    let answer = child::ask(&format!("{warning}Type 'DESTROY' to confirm: "))?;
    kit::child::interrupted()?;
    match answer.as_deref() {
        Some("DESTROY") => Ok(()),
        _ => Err(Error::refused("not confirmed; nothing was changed")),
    }
}
