//! What a run does: each mode is a file of its own; here they are told apart.

use std::path::Path;
use std::time::Instant;

use kit::catalog;
use kit::child::{catch_signals, interrupted};
use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::settings::Settings;
use serde_json::Value;

use crate::cli::{self, Args, Mode, TOOL, Which};
use crate::help::HELP;
use crate::verdict::Verdict;
use crate::{against, check, choose, drill, look, report};

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let args = cli::parse(std::env::args_os().skip(1))?;
    if args.mode == Mode::Help {
        return out::record(HELP.trim_end()).map(|_| Code::Done);
    }
    if args.mode == Mode::Version {
        return out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done);
    }
    catch_signals()?;
    let settings = Settings::load()?;
    let dir = args.dir.clone().or(settings.get("BACKUP_DIR").map(str::to_owned)).unwrap_or("backups".into());
    let (dir, speech) = (Path::new(&dir), Speech::new(TOOL, args.quiet));
    for (_, file) in &args.reports {
        catalog::may_write_over(Path::new(file))?;
    }
    args.telling
        .around(TOOL, Some(dir), &settings, &speech, |account| judge_and_look(&args, dir, &speech, account))
}

/// First the backups, one by one, then the folder as a whole, and what is written of both.
fn judge_and_look(args: &Args, dir: &Path, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    let mut judged = Vec::new();
    let alone = args.mode == Mode::Look;
    let outcome = match &args.mode {
        Mode::Judge(which) => judge_all(args, which, dir, speech, account, &mut judged),
        _ => Ok(Code::Done),
    };
    if args.rules.is_none() && args.reports.is_empty() {
        return outcome;
    }
    // a report is wanted most of all when something is wrong
    interrupted()?;
    let looked = look_and_report(args, dir, &judged, alone, speech, account);
    match (outcome, looked) {
        (Ok(Code::Done), Ok(false)) => Ok(Code::No),
        (Ok(_), Err(error)) => Err(error),
        (outcome, looked) => {
            // what was judged is the news
            looked.inspect_err(|error| speech.error(error)).ok();
            outcome
        }
    }
}

/// Whether nothing is wrong with the folder as a whole, as far as that was asked.
fn look_and_report(
    args: &Args,
    dir: &Path,
    judged: &[Value],
    alone: bool,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<bool> {
    let look = look::look(args, dir)?;
    if args.rules.is_some() {
        look::tell(&look, args, alone, speech)?;
        look.findings.iter().for_each(|f| account.note(&format!("{}: {}", f.what.word(), f.why)));
    }
    for (form, file) in &args.reports {
        report::write(*form, file, dir, &look, judged)?;
    }
    look.unread.map_or(Ok(args.rules.is_none() || look.findings.is_empty()), Err)
}

/// Judges each backup and lets those that pass through. `judged`: what is known of each, as `--json` has it.
fn judge_all(
    args: &Args,
    which: &Which,
    dir: &Path,
    speech: &Speech,
    account: &Account<'_>,
    judged: &mut Vec<Value>,
) -> Result<Code> {
    let mut codes = Vec::new();
    let drill = drill::prepare(args, speech)?;
    choose::each(which, dir, args.name.as_deref(), &mut |path| {
        drill.as_ref().map_or(Ok(()), |drill| drill.foresee(path))?;
        let mut verdict = judge(args, path, drill.as_ref(), speech);
        // a signal is meant for the whole run, and says nothing about the backup
        interrupted()?;
        let name = path.display().to_string();
        if path.to_str().is_none() {
            verdict.bad("its name is no UTF-8: it cannot be let through");
        } else if !args.json && name.chars().any(char::is_control) {
            verdict.bad("its name does not fit into a line: it cannot be let through");
        }
        verdict.say(&name, speech);
        codes.push(verdict.code());
        verdict.account(&name, account);
        if !args.reports.is_empty() {
            judged.push(verdict.object(&name));
        }
        if verdict.record(&name, args.json)? { Ok(()) } else { Err(Error::read_enough()) }
    })?;
    let failed: Vec<Code> = codes.iter().copied().filter(|c| *c != Code::Done).collect();
    if let Some(drill) = drill.filter(|_| failed.is_empty()) {
        drill.was_asked()?;
    }
    Ok(match failed.first() {
        None => Code::Done,
        // nothing passed: then the first failure is what it was
        Some(code) if failed.len() == codes.len() => *code,
        Some(_) => Code::Part,
    })
}

/// One backup: checked, and where that is asked for held against a server and drilled.
fn judge(args: &Args, path: &Path, drill: Option<&drill::Drill<'_>>, speech: &Speech) -> Verdict {
    let (clock, mut verdict) = (Instant::now(), Verdict::default());
    let checked = check::check(path, args, speech, &mut verdict);
    if let Some(checked) = checked.filter(|_| verdict.passes()) {
        if args.against {
            against::against(&checked, args, &mut verdict);
        }
        if let Some(drill) = drill.filter(|_| verdict.passes()) {
            drill.restore(path, &checked, &mut verdict, speech);
        }
    }
    verdict.fact("seconds", (clock.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    verdict
}
