//! What a restore does, in order: choose, check, plan, ask, stop, replace, feed, count, start.

use std::path::Path;

use kit::catalog::{self, Backup};
use kit::child::catch_signals;
use kit::dump::scan::text_of;
use kit::exit::{Code, Error, Result};
use kit::guard::{For, Guard, guard};
use kit::out::{self, Speech};
use kit::pg::Server;
use kit::settings::Settings;
use kit::source::Dump;
use kit::stamp::Stamp;

use crate::check::{Checked, Table, check};
use crate::choose::choose;
use crate::cli::{self, Action, Args, HELP, TOOL, Which};
use crate::plan::{Plan, connection_string, plan};
use crate::{count, feed, recreate, services};

/// What to do after a failure.
const AGAIN: &str = "Mend the cause and restore again.";

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let args = cli::parse(std::env::args_os().skip(1))?;
    let which = match &args.action {
        Action::Help => return out::record(HELP.trim_end()).map(|_| Code::Done),
        Action::Version => {
            return out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done);
        }
        Action::List => None,
        Action::Restore(which) => Some(which),
    };
    let settings = Settings::load()?;
    let dir = args.dir.clone().or(settings.get("BACKUP_DIR").map(str::to_owned)).unwrap_or("backups".into());
    let dir = Path::new(&dir);
    match which {
        None => list(&args, dir),
        Some(which) => restore(&args, which, &settings, dir),
    }
}

fn list(args: &Args, dir: &Path) -> Result<Code> {
    catalog::list(dir, args.json, |b: &Backup| args.name.is_none() || b.series == args.name)?;
    Ok(Code::Done)
}

fn restore(args: &Args, which: &Which, settings: &Settings, dir: &Path) -> Result<Code> {
    catch_signals()?;
    let speech = Speech::new(TOOL, args.quiet);
    may_ask(args, which)?;
    let find = || Server::find(args.via.clone(), settings, None);
    // of the backups of several servers in one place, the latest is that of this one
    let early = if *which == Which::Latest { Some(find()?) } else { None };
    let own = early.as_ref().and_then(|s| s.facts().system_identifier.as_deref());
    let chosen = choose(which, dir, args.name.as_deref(), own, &speech)?;
    let server = early.map_or_else(find, Ok)?;
    let checked = check(&chosen, args.quiet)?;
    let plan = plan(args, &chosen, &checked, &server)?;
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
    confirm(args)?;
    let lock = |vantage: &String| guard(&server, vantage, For::Restore, TOOL);
    let mut guard = plan.vantage.as_ref().map(lock).transpose()?;
    let stopped = services::stop(args.stop.as_deref(), args.start.as_deref(), &speech)?;
    let outcome = replace(&plan, &chosen, &checked, &server, &speech)
        .and_then(|()| guard.as_mut().map_or(Ok(()), Guard::holds));
    // a failed restore is the news, whatever the start says
    let started = stopped.start();
    outcome.inspect_err(|_| {
        if let Err(error) = &started {
            speech.error(error);
        }
    })?;
    started?;
    tell(args, settings, &plan, &server)?;
    Ok(Code::Done)
}

/// Without a terminal nobody can say yes; that is found out before anything else is done.
fn may_ask(args: &Args, which: &Which) -> Result<()> {
    let asks = !args.yes && !args.dry_run;
    if asks && (*which == Which::Stdin || !out::stdin_is_terminal()) {
        return Err(Error::refused("nobody can be asked: standard input is no terminal")
            .hint("Give --yes to replace the databases without a question."));
    }
    Ok(())
}

fn confirm(args: &Args) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let answer = out::ask("WARNING: This will REPLACE all current data!\nType 'yes' to confirm: ")?;
    kit::child::interrupted()?;
    match answer.as_deref() {
        Some("yes") => Ok(()),
        _ => Err(Error::refused("not confirmed; nothing was changed")),
    }
}

fn replace(plan: &Plan, chosen: &Dump, checked: &Checked, server: &Server, speech: &Speech) -> Result<()> {
    let mut dropped = Vec::new();
    recreate::recreate(plan, server, &mut dropped).map_err(|e| match dropped.as_slice() {
        [] => e.hint("Nothing was dropped: every database is as it was."),
        gone => e.hint(format!("Dropped by then: {}. Others are as they were. {AGAIN}", gone.join(", "))),
    })?;
    let names: Vec<&str> = plan.targets.iter().map(|t| t.name.as_str()).collect();
    let names = names.join(", ");
    feed::feed(plan, chosen, checked, server, speech.is_quiet()).map_err(|e| {
        let what =
            if names.is_empty() { "Roles were set in part.".into() } else { format!("Not whole: {names}.") };
        e.hint(format!("{what} {AGAIN}"))
    })?;
    prove(plan, checked, server, speech)
        .map_err(|e| e.hint(format!("Loaded without an error, but not proven: {names}.")))
}

/// Every table of every target has the rows of the dump.
fn prove(plan: &Plan, checked: &Checked, server: &Server, speech: &Speech) -> Result<()> {
    let (mut tables, mut rows) = (0, 0);
    let single = checked.facts.databases.iter().all(|s| s.name.is_empty());
    for target in &plan.targets {
        let of: Vec<&Table> =
            checked.tables.iter().filter(|t| single || text_of(&t.database) == target.name).collect();
        tables += count::count(server, &target.name, &of)?;
        rows += of.iter().map(|t| t.rows).sum::<u64>();
    }
    speech.say(&format!(
        "restored and proven: {} rows in {} tables, counted, as in the dump",
        out::count(rows),
        out::count(tables as u64)
    ));
    Ok(())
}

fn tell(args: &Args, settings: &Settings, plan: &Plan, server: &Server) -> Result<()> {
    for target in &plan.targets {
        let here = server.via().is_here();
        let uri = connection_string(settings, here, &server.facts().user, &target.name);
        if args.json {
            let at = Stamp::now().to_string();
            out::record(
                &serde_json::json!({"database": target.name, "connection": uri, "at": at}).to_string(),
            )?;
        } else {
            out::record(&uri)?;
        }
    }
    Ok(())
}
