//! What a run does: each mode is a file of its own; here they are told apart.

use std::path::Path;
use std::time::Instant;

use kit::child::{catch_signals, interrupted};
use kit::exit::{Code, Error, Result};
use kit::out::{self, Speech};
use kit::settings::Settings;

use crate::cli::{self, Args, Mode, TOOL, Which};
use crate::help::HELP;
use crate::verdict::Verdict;
use crate::{against, check, choose, drill};

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
    match &args.mode {
        Mode::Judge(which) => judge_all(&args, which, dir, &speech),
        Mode::Help | Mode::Version => Ok(Code::Done),
    }
}

/// Judges each backup and lets those that pass through.
fn judge_all(args: &Args, which: &Which, dir: &Path, speech: &Speech) -> Result<Code> {
    let mut codes = Vec::new();
    let drill = drill::prepare(args, speech)?;
    choose::each(which, dir, args.name.as_deref(), &mut |path| {
        let verdict = judge(args, path, drill.as_ref(), speech);
        // a signal is meant for the whole run, and says nothing about the backup
        interrupted()?;
        let name = path.display().to_string();
        verdict.say(&name, speech);
        codes.push(verdict.code());
        if verdict.record(&name, args.json)? { Ok(()) } else { Err(Error::read_enough()) }
    })?;
    let failed: Vec<Code> = codes.iter().copied().filter(|c| *c != Code::Done).collect();
    Ok(match failed.first() {
        None => Code::Done,
        // nothing passed: then the first failure is what it was
        Some(code) if failed.len() == codes.len() => *code,
        Some(_) => Code::Part,
    })
}

/// One backup: checked, and where that is asked for held against a server and drilled.
fn judge(args: &Args, path: &Path, drill: Option<&drill::Drill>, speech: &Speech) -> Verdict {
    let clock = Instant::now();
    let mut verdict = check::check(path, args, speech);
    if args.against && verdict.passes() {
        against::against(path, args, &mut verdict);
    }
    if let Some(drill) = drill.filter(|_| verdict.passes()) {
        drill.restore(path, &mut verdict, speech);
    }
    verdict.fact("seconds", (clock.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    verdict
}
