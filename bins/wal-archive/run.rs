//! What a run does: the verb decides.

use std::ffi::OsString;

use kit::child::catch_signals;
use kit::exit::{Code, Error, Result};
use kit::notify::Telling;
use kit::out::{self, Speech};
use kit::settings::Settings;

use crate::cli::{self, Action, Args, HELP, TOOL, Verb};
use crate::{config, get, prefetch, prune, push, status, store, verify};

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let is_get = words.iter().any(|word| word == "get");
    match cli::parse(words) {
        Ok(Action::Help) => out::record(HELP.trim_end()).map(|_| Code::Done),
        Ok(Action::Version) => {
            out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done)
        }
        Ok(Action::Do(verb, args)) => act(&verb, &args),
        // a restore_command with a mistake in it would open the database before its log ends
        Err(error) if is_get && get::in_recovery() => Err(get::fatal(error)),
        Err(error) => Err(error),
    }
}

fn act(verb: &Verb, args: &Args) -> Result<Code> {
    let speech = Speech::new(TOOL, args.quiet);
    match verb {
        Verb::Get { name, path } => {
            // so would a fault of ours
            let got = std::panic::catch_unwind(|| get::get(name, path, args, &speech));
            return got.unwrap_or_else(|_| Err(get::fatal(Error::no("a fault of this program"))));
        }
        Verb::Prefetch { after, folder } => {
            prefetch::run(*after, folder, args);
            return Ok(Code::Done);
        }
        _ => catch_signals()?,
    }
    match verb {
        Verb::Push { path, name } => push::push(path, *name, args, &speech),
        Verb::Config => config::config(args),
        Verb::Prune if args.dry_run => Telling::nobody(TOOL, &speech, |a| prune::prune(args, &speech, a)),
        Verb::Status | Verb::Verify | Verb::Prune => {
            args.telling.around(TOOL, None, &Settings::load()?, &speech, |account| match verb {
                Verb::Status => status::status(args, account),
                Verb::Verify => verify::verify(args, &speech, account),
                _ => prune::prune(args, &speech, account),
            })
        }
        _ => store::init(&args.archives[0]).map(|()| Code::Done),
    }
}
