//! The safety backup: what a restore replaces is backed up before, by the program that makes backups.

use std::path::Path;
use std::process::Command;

use kit::child::{converse, sibling};
use kit::exit::{Code, Error, Result};
use kit::out::Speech;

use crate::cli::Args;

/// How long a locked table is waited for, as pg_dump takes it.
const PATIENCE: &str = "20s";

/// Makes a backup of what `options` name into `safety` in `dir`; the newest `keep` stay. Its path.
pub(crate) fn back_up(
    args: &Args,
    dir: &Path,
    keep: u32,
    options: &[String],
    speech: &Speech,
) -> Result<String> {
    let program = "pgdump-rotate";
    let mut command = Command::new(sibling(program));
    command.arg("--dir").arg(dir.join("safety"));
    command.args(["--name", "pre_restore", "--tag", "pre-restore", "--quiet"]);
    // it is a part of the restore, which tells for both
    command.args(["--notify", "none"]);
    command.args(["--keep-last".to_owned(), keep.to_string()]);
    // a session that sits on a table must not keep a restore waiting for ever
    command.args(["--pg-dump-arg", &format!("--lock-wait-timeout={PATIENCE}")]);
    for (option, value) in [("--via", &args.via), ("--patroni", &args.patroni)] {
        if let Some(value) = value {
            command.arg(option).arg(value);
        }
    }
    let (ended, output) = converse(command.args(options), program, "")?;
    let path = String::from_utf8_lossy(&output).trim_end().to_owned();
    // it is made and proven; that older ones stay, because it is much smaller, is in nobody's way
    let held = ended.status.code() == Some(Code::Part as i32) && !path.is_empty();
    if !ended.ok() && !held {
        let told = ended.told();
        // options that a hint names are those of that program
        let hints: Vec<String> = told.lines().skip(1).filter(|hint| !hint.contains("--")).collect();
        let error = Error::new(told.code(), format!("cannot make the safety backup: {told}"));
        let error = hints.iter().fold(error, |e, hint| e.hint(hint.trim_start_matches("hint: ")));
        let error = error.hint("Nothing was changed.");
        // what is at work would stop the restore as well
        let is_busy = ["is at work on this server", "another run holds it"];
        let is_busy = is_busy.iter().any(|words| error.to_string().contains(words));
        return Err(if is_busy { error } else { error.hint("--no-safety does without one.") });
    }
    let said = ended.stderr.iter().filter_map(|line| line.strip_prefix("pgdump-rotate: "));
    for line in said.filter(|line| !line.starts_with("hint: ")) {
        speech.warn(&format!("safety backup: {line}"));
    }
    speech.say(&format!("safety backup: {path}"));
    Ok(path)
}
