//! The safety backup: what a restore replaces is backed up before, by the program that makes backups.

use std::path::Path;
use std::process::Command;

use kit::child::{converse, sibling};
use kit::exit::Result;
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
    if !ended.ok() {
        let error = ended.told().within("cannot make the safety backup");
        // what is at work would stop the restore as well
        let at_work = error.to_string().contains("is at work on this server");
        let error = error.hint("Nothing was changed.");
        return Err(if at_work { error } else { error.hint("--no-safety does without one.") });
    }
    let path = String::from_utf8_lossy(&output).trim_end().to_owned();
    speech.say(&format!("safety backup: {path}"));
    Ok(path)
}
