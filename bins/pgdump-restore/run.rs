//! What a restore does, in order: choose, check, plan, ask, back up, stop, restore beside, prove, swap,
//! start.

use std::path::Path;

use kit::beside::{self, Beside, What};
use kit::catalog::{self, Backup};
use kit::child::{self, catch_signals};
use kit::exit::{Code, Error, Result};
use kit::guard::{For, guard};
use kit::notify::{Account, Telling};
use kit::out::{self, Speech};
use kit::pg::Server;
use kit::services;
use kit::settings::Settings;
use kit::source::Dump;

use crate::check::{Checked, check};
use crate::choose::choose;
use crate::cli::{self, Action, Args, Part, TOOL, Table, Way, Which};
use crate::create::{create, create_roles};
use crate::feed::feed;
use crate::help::HELP;
use crate::left::{drop_left, explain};
use crate::plan::{ALWAYS, Plan, plan};
use crate::prove::{prove, tables_of};
use crate::session::Session;
use crate::swap::{drop_beside, swap, undo};
use crate::tell::{tell, tell_kept};
use crate::transaction::Filled;
use crate::{safety, tables, transaction};

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let args = cli::parse(std::env::args_os().skip(1))?;
    match &args.action {
        Action::Help => return out::record(HELP.trim_end()).map(|_| Code::Done),
        Action::Version => {
            return out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done);
        }
        _ => {}
    }
    let settings = Settings::load()?.with("PATRONI_URLS", args.patroni.as_deref());
    let dir = settings.backups(args.dir.as_deref())?;
    let dir = Path::new(dir);
    let speech = Speech::new(TOOL, args.quiet);
    if args.action == Action::List {
        return list(&args, dir);
    }
    catch_signals()?;
    match args.dry_run {
        true => services::tell_of_mending(dir, &speech),
        false => drop(services::mend(dir, &speech)),
    }
    let work = |account: &Account<'_>| act(&args, &settings, dir, &speech, account);
    match args.dry_run {
        true => Telling::nobody(TOOL, &speech, work),
        false => args.telling.around(TOOL, None, &settings, &speech, work),
    }
}

fn act(args: &Args, settings: &Settings, dir: &Path, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    match &args.action {
        Action::Restore(which) if !args.tables.is_empty() || args.part == Part::Data => {
            may_ask(args, which)?;
            tables::restore(args, which, settings, dir, speech, account)
        }
        Action::Restore(which) => restore(args, which, settings, dir, speech, account),
        Action::Undo(time) => undo::undo(args, settings, *time, dir, speech, account),
        Action::DropBefore(time) => undo::drop_before(args, settings, *time, speech),
        _ => undo::keep_before(args, settings, args.keep_before.unwrap_or(0), speech),
    }
}

fn list(args: &Args, dir: &Path) -> Result<Code> {
    catalog::list(dir, args.json, |b: &Backup| args.name.is_none() || b.series == args.name)?;
    Ok(Code::Done)
}

fn restore(
    args: &Args,
    which: &Which,
    settings: &Settings,
    dir: &Path,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<Code> {
    may_ask(args, which)?;
    let find = || Server::find(args.via.clone(), settings, None);
    // of the backups of several servers in one place, the latest is that of this one
    let early = if *which == Which::Latest { Some(find()?) } else { None };
    let own = early.as_ref().and_then(|s| s.facts().system_identifier.as_deref());
    let chosen = choose(which, settings, dir, args.name.as_deref(), own, speech)?;
    let server = early.map_or_else(find, Ok)?;
    let only = if args.part == Part::Globals { Some(String::new()) } else { args.only.clone() };
    speech.phase(&format!("checking {}", chosen.name));
    let checked = check(&chosen, only, args)?;
    let mut plan = plan(args, &chosen, &checked, &server)?;
    for line in plan.lines(args, &chosen, &checked) {
        if args.dry_run { out::record(&line).map(|_| ())? } else { speech.say(&line) }
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    if !server.psql_knows_restrict()? {
        speech.warn(
            "warning: this psql is older than \\restrict, which keeps a dump from running programs here: \
            restore only what you trust",
        );
    }
    let mut safety = None;
    if plan.replaces() {
        confirm(args)?;
        safety = back_up(args, &plan, dir, speech)?;
    }
    let mut guard = guard(&server, &plan.vantage, For::Restore, TOOL)?;
    if let Err(error) = drop_left(&mut plan, &server, speech) {
        // it is in nobody's way
        speech.error(&error);
    }
    let stopped = services::stop(&args.services, dir, speech)?;
    let outcome = replace(args, &plan, &chosen, &checked, &server, speech)
        .and_then(|filled| guard.holds().map(|()| filled))
        .and_then(|filled| match filled {
            Some(_) => Ok(filled),
            None => swap(&plan, &server).map(|()| None),
        })
        .map_err(|e| explain(&plan, &server, safety.as_deref(), e))
        .and_then(|filled| filled.map_or(Ok(()), |filled| filled.commit(&server, speech)));
    // a failed restore is the news, whatever the start says
    let started = stopped.start().map(drop);
    outcome.inspect_err(|_| {
        if let Err(error) = &started {
            speech.error(error);
        }
    })?;
    let names: Vec<&str> = plan.targets.iter().map(|t| t.name.as_str()).collect();
    let done = |e: Error| match plan.way {
        Way::Swap if !names.is_empty() => e.hint(format!(
            "Restored and in place: {}. --undo goes back, --drop-before drops what was before.",
            names.join(", ")
        )),
        _ => e.hint("The restore itself is done."),
    };
    started.map_err(done)?;
    account.note(&format!("restored and proven, from {}: {}", chosen.name, names.join(", ")));
    tell(args, settings, &names, &server, account)?;
    tidy(args, &plan, &server, speech).map_err(done)?;
    Ok(Code::Done)
}

/// Without a terminal nobody can say yes; that is found out before anything else is done.
fn may_ask(args: &Args, which: &Which) -> Result<()> {
    // a new database takes the place of nothing
    let of_tables = !args.tables.is_empty() || args.part == Part::Data;
    let fresh = match (&args.table, of_tables) {
        (Table::New | Table::As(_), true) => true,
        (_, true) => false,
        (_, false) => args.database.is_some() && !args.replace,
    };
    let asks = !args.yes && !args.dry_run && !fresh;
    if asks && (*which == Which::Stdin || !out::stdin_is_terminal()) {
        return Err(Error::refused("nobody can be asked: standard input is no terminal")
            .hint("Give --yes to replace the databases without a question."));
    }
    Ok(())
}

/// Asks, unless that was answered before.
pub(crate) fn confirm(args: &Args) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    if !out::stdin_is_terminal() {
        return Err(Error::refused("nobody can be asked: standard input is no terminal")
            .hint("Give --yes to do it without a question."));
    }
    let answer = child::ask("WARNING: This will REPLACE all current data!\nType 'yes' to confirm: ")?;
    kit::child::interrupted()?;
    match answer.as_deref() {
        Some("yes") => Ok(()),
        _ => Err(Error::refused("not confirmed; nothing was changed")),
    }
}

/// The safety backup of what is replaced.
fn back_up(args: &Args, plan: &Plan, dir: &Path, speech: &Speech) -> Result<Option<String>> {
    let Some(keep) = args.safety else { return Ok(None) };
    let mut present = plan.targets.iter().filter(|t| t.present.is_some());
    let option = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
    let options = match (present.next(), present.next(), plan.roles.is_empty() || plan.only.is_some()) {
        (Some(target), None, true) => option("--database", &target.name),
        (None, _, _) => option("--pg-dump-arg", "--globals-only"),
        _ => Vec::new(),
    };
    safety::back_up(args, dir, keep, &options, speech).map(Some)
}

/// Restores all targets where they stay until they are proven, or the one that is filled in a transaction.
fn replace(
    args: &Args,
    plan: &Plan,
    chosen: &Dump,
    checked: &Checked,
    server: &Server,
    speech: &Speech,
) -> Result<Option<Filled>> {
    create_roles(plan, server)?;
    speech.phase("restoring");
    let in_one = plan.targets.first().filter(|_| plan.way == Way::Transaction);
    if let Some(target) = in_one {
        let mut session = Session::start(server, &target.name)?;
        transaction::begin(&mut session, server, &target.name)?;
        let session = feed(plan, chosen, checked, server, session, speech.is_quiet())?;
        let tables = tables_of(target, checked, plan.part);
        return Ok(Some(Filled::count(session, &tables)?));
    }
    create(plan, server, speech)?;
    let entrance = plan.unnamed().map_or(&plan.entrance, |t| &t.place);
    // without a database to put into place no commit comes behind the dump's own
    let start = if plan.targets.is_empty() { Session::start } else { Session::hasty };
    let session = start(server, entrance)?;
    feed(plan, chosen, checked, server, session, speech.is_quiet())?.end()?;
    speech.phase(if args.hash { "comparing every row" } else { "counting the rows of every table" });
    prove(plan, checked, server, args.hash, speech)
        .map(|()| None)
        .map_err(|e| e.hint("Loaded without an error, but not proven."))
}

/// Drops what is not to be kept of before, and says what is.
fn tidy(args: &Args, plan: &Plan, server: &Server, speech: &Speech) -> Result<()> {
    let ours = |b: &Beside| b.what == What::Before && plan.targets.iter().any(|t| t.name == b.of);
    if !plan.replaces() && args.keep_before.is_none() {
        return Ok(());
    }
    // in place, what is there now is what somebody made meanwhile
    let unwanted = |b: &Beside| match plan.way {
        Way::InPlace => ALWAYS.contains(&b.of.as_str()),
        _ => plan.drop,
    };
    let of_now = |b: &Beside| ours(b) && b.stamp == plan.stamp;
    drop_beside(server, &plan.entrance, speech, |b| of_now(b) && unwanted(b))?;
    if args.keep_before != Some(0) {
        let mut kept = beside::list(server, &plan.entrance)?;
        kept.retain(of_now);
        tell_kept(&kept, speech);
    }
    if let Some(keep) = args.keep_before {
        let old = undo::older(server, &plan.entrance, keep)?;
        drop_beside(server, &plan.entrance, speech, |b| ours(b) && old.contains(b))?;
    }
    Ok(())
}
