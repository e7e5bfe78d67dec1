//! `--against`: whether a live server could take the dump. The program that restores knows what stops a
//! restore; it looks, changes nothing, and its judgement is passed on.

use std::process::{Command, Stdio};

use kit::child::{Child, sibling};
use kit::exit::{Code, Error, Result};
use kit::settings::{CONNECT_TIMEOUT, Settings};

use crate::check::Checked;
use crate::cli::Args;
use crate::verdict::Verdict;

/// Has the dump held against the server that the environment names, or that is behind `--via`.
pub(crate) fn against(checked: &Checked, args: &Args, verdict: &mut Verdict) {
    if checked.dump.is_none() {
        return verdict.warn("it is not held against a server: only dumps are");
    }
    match dry_run(checked, args) {
        Ok(()) => verdict.note("the server could take it"),
        Err(error) if error.code() == Code::Temporary => {
            verdict.unproven(error.within("not held against the server"));
        }
        // what the server lacks says nothing about the dump
        Err(error) if error.code() == Code::Refused => {
            verdict.unproven(as_its_own(&error).within("against the server"));
        }
        Err(error) => verdict.fault(error.within("against the server")),
    }
}

/// The options that hints name are those of the program that restores.
fn as_its_own(error: &Error) -> Error {
    let hints = error.lines().skip(1);
    let hints =
        hints.map(|line| line.trim_start_matches("hint: ").replace("--force", "pgdump-restore --force"));
    hints.fold(Error::new(error.code(), error.to_string()), |error, hint| error.hint(hint))
}

fn dry_run(checked: &Checked, args: &Args) -> Result<()> {
    let program = "pgdump-restore";
    let mut command = Command::new(sibling(program));
    command.args(["--dry-run", "--quiet"]);
    // a port that takes the connection and says nothing would be waited for for ever
    let (name, seconds) = CONNECT_TIMEOUT;
    if Settings::load()?.get(name).is_none() {
        command.env(name, seconds);
    }
    if let Some(via) = &args.via {
        command.arg("--via").arg(via);
    }
    if let Some(database) = &args.database {
        // one that is there may be the one to replace
        command.arg("--swap").arg("--database").arg(database);
    }
    command.arg(&checked.real);
    let ended = Child::spawn(&mut command, program, Stdio::null(), Stdio::null())?.wait()?;
    if ended.ok() { Ok(()) } else { Err(ended.told()) }
}
