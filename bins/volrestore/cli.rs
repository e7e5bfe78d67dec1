//! The command line of `volrestore`. Pure: touches no file, asks no clock.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use kit::cli::{bad, folder, number, span, text, usage, utf8};
use kit::exit::Result;
use kit::notify::Telling;
use kit::patroni::Patroni;
use kit::services::Wanted;
use kit::volume::{Place, Volume};
use lexopt::prelude::*;

use crate::until::{Until, moment};

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "volrestore";

/// How long a recovery may take, unless it is said.
const WITHIN: Duration = Duration::from_secs(6 * 3600);

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    #[default]
    Help,
    Version,
    List,
    /// `None`: the newest from before the moment that is wanted.
    Restore(Option<Which>),
    Undo,
}

/// Which snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// A time, or the path of a record.
    Named(String),
    Latest,
    Pick,
}

/// What becomes of a server that has come to its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is opened for writing, on a timeline of its own.
    #[default]
    Promote,
    /// It stays there, to be read.
    Pause,
    /// It ends there.
    Shutdown,
}

/// The command line, checked as far as it can be without looking at the world.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) action: Action,
    /// `LABEL=VOLUME`: where to, instead of where from.
    pub(crate) volumes: Vec<String>,
    pub(crate) dir: Option<String>,
    pub(crate) into: Option<String>,
    pub(crate) until: Option<Until>,
    pub(crate) wal: Option<String>,
    pub(crate) timeline: Option<u32>,
    pub(crate) then: Then,
    /// How long a recovery may take.
    pub(crate) within: Duration,
    pub(crate) keep_before: usize,
    pub(crate) allow_links: bool,
    /// The image of containers that fill what only root may enter.
    pub(crate) helper: Option<String>,
    /// Volumes that are emptied: what a cluster's manager knows.
    pub(crate) forget: Vec<String>,
    pub(crate) services: Wanted,
    pub(crate) lock_timeout: u64,
    pub(crate) telling: Telling,
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args { keep_before: 1, within: WITHIN, ..Args::default() };
    let (mut which, mut undo, mut list) = (Vec::new(), false, false);
    let mut untils = Vec::new();
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        match arg {
            Short('h') | Long("help") => return Ok(Args { action: Action::Help, ..args }),
            Short('V') | Long("version") => return Ok(Args { action: Action::Version, ..args }),
            Value(word) => {
                let word = utf8(word, "SNAPSHOT")?;
                if word.contains('=') {
                    Volume::parse(&word, Path::new("/")).map_err(usage)?;
                    args.volumes.push(word);
                } else {
                    which.push(Which::Named(word))
                }
            }
            Long("latest") => which.push(Which::Latest),
            Long("pick") => which.push(Which::Pick),
            Short('o') | Long("dir") => args.dir = Some(folder(&mut parser)?),
            Long("helper") => args.helper = Some(text(&mut parser, "--helper")?),
            Long("into") => args.into = Some(text(&mut parser, "--into")?),
            Long("until") => untils.push(Until::Time(moment(&text(&mut parser, "--until")?).map_err(usage)?)),
            Long("until-lsn") => {
                let lsn = text(&mut parser, "--until-lsn")?.parse();
                untils.push(Until::Lsn(lsn.map_err(|e| usage(format!("--until-lsn: {e}")))?));
            }
            Long("until-xid") => untils.push(Until::Xid(number(&mut parser, "--until-xid")?)),
            Long("until-name") => untils.push(Until::Name(text(&mut parser, "--until-name")?)),
            Long("until-immediate") => untils.push(Until::Immediate),
            Long("until-latest") => untils.push(Until::Latest),
            Long("wal") => args.wal = Some(text(&mut parser, "--wal")?),
            Long("timeline") => args.timeline = Some(number(&mut parser, "--timeline")?),
            Long("then") => {
                args.then = match text(&mut parser, "--then")?.as_str() {
                    "promote" => Then::Promote,
                    "pause" => Then::Pause,
                    "shutdown" => Then::Shutdown,
                    other => {
                        return Err(usage(format!("--then: '{other}' is none of promote, pause, shutdown")));
                    }
                }
            }
            Long("within") => {
                let seconds = span(&text(&mut parser, "--within")?).map_err(|e| e.within("--within"))?;
                args.within = Duration::from_secs(seconds.unsigned_abs());
            }
            Long("keep-before") => args.keep_before = number(&mut parser, "--keep-before")?,
            Long("undo") => undo = true,
            Long("allow-links") => args.allow_links = true,
            Long("services") => args.services.add(&text(&mut parser, "--services")?),
            Long("compose") => args.services.compose = Some(text(&mut parser, "--compose")?),
            Long("patroni") => args.services.patroni = Some(text(&mut parser, "--patroni")?),
            Long("up") => args.services.up = true,
            Long("forget") => args.forget.push(forgotten(text(&mut parser, "--forget")?)?),
            Long("stop") => args.services.stop = Some(text(&mut parser, "--stop")?),
            Long("start") => args.services.start = Some(text(&mut parser, "--start")?),
            Long("lock-timeout") => args.lock_timeout = number(&mut parser, "--lock-timeout")?,
            Long("notify") => args.telling.notify(&mut parser)?,
            Long("metrics") => args.telling.metrics(&mut parser)?,
            Long("dry-run") => args.dry_run = true,
            Short('y') | Long("yes") => args.yes = true,
            Long("list") => list = true,
            Long("json") => args.json = true,
            Short('q') | Long("quiet") => args.quiet = true,
            other => return Err(bad(&other.unexpected())),
        }
    }
    let until = untils.pop();
    args.action = match (which.len(), undo, list) {
        (1, false, false) => Action::Restore(Some(which.remove(0))),
        (0, false, false) if until.is_some() => Action::Restore(None),
        (0, true, false) => Action::Undo,
        (0, false, true) => Action::List,
        (0, false, false) => return Err(usage("no snapshot is named")),
        _ => return Err(usage("one snapshot, --undo or --list: one of them at a time")),
    };
    args.until = until;
    recovery(&args, untils.is_empty())?;
    if args.services.contradict() {
        return Err(usage(
            "--services stops and starts by itself: --stop and --start are for what is no service",
        ));
    }
    if let Some(urls) = &args.services.patroni {
        Patroni::new(urls)?;
    }
    if (args.services.compose.is_some() || args.services.up) && args.services.services.is_empty() {
        return Err(usage("--compose and --up are for --services"));
    }
    if args.into.is_some() && (undo || !args.volumes.is_empty() || args.services.stop_something()) {
        return Err(usage("--into touches no volume and stops nothing"));
    }
    if !matches!(args.action, Action::Restore(_)) && !args.volumes.is_empty() {
        return Err(usage("LABEL=VOLUME says where a snapshot is restored to"));
    }
    Ok(args)
}

impl Args {
    /// The snapshot that is named.
    pub(crate) fn which(&self) -> Option<&Which> {
        match &self.action {
            Action::Restore(which) => which.as_ref(),
            _ => None,
        }
    }
}

fn recovery(args: &Args, one: bool) -> Result<()> {
    let restores = matches!(args.action, Action::Restore(_));
    match (&args.until, &args.wal) {
        _ if !one => return Err(usage("one moment at a time: --until or one of its like")),
        (Some(_), None) => return Err(usage("--until and its like go with --wal DIR")),
        (None, Some(_)) => return Err(usage("--wal: up to when? give --until or one of its like")),
        (Some(_), _) if !restores => return Err(usage("--until and its like are for a restore")),
        (None, _) if args.timeline.is_some() || args.then != Then::Promote => {
            return Err(usage("--timeline and --then go with --until and its like"));
        }
        _ => {}
    }
    if args.then != Then::Promote && (args.into.is_none() || args.until == Some(Until::Latest)) {
        return Err(usage(
            "--then pause and shutdown are for a look beside: --into DIR, and not --until-latest",
        ));
    }
    Ok(())
}

/// A volume to empty, by its spelling.
fn forgotten(word: String) -> Result<String> {
    Place::parse(&word, Path::new("/")).map(|_| word).map_err(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn a_snapshot_and_where_to() {
        let args = parsed(&["20261127_143022", "data=dir:/x", "--keep-before", "0"]).unwrap();
        assert_eq!(args.action, Action::Restore(Some(Which::Named("20261127_143022".into()))));
        assert_eq!((args.volumes, args.keep_before), (vec!["data=dir:/x".to_owned()], 0));
        assert_eq!(parsed(&["--latest"]).unwrap().action, Action::Restore(Some(Which::Latest)));
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for words in [
            &[][..],
            &["a", "b"],
            &["a", "--latest"],
            &["--undo", "--list"],
            &["--undo", "a=dir:/x"],
            &["a", "--into", "d", "a=dir:/x"],
            &["a", "--into", "d", "--stop", "x"],
            &["a", "--services", "x", "--stop", "y"],
            &["a", "--keep-before", "-1"],
            &["a", "--nonsense"],
            &["a", "--until", "yesterday", "--wal", "w"],
            &["a", "--until-latest"],
            &["a", "--wal", "w"],
            &["a", "--wal", "w", "--until-latest", "--until-immediate"],
            &["--undo", "--wal", "w", "--until-latest"],
            &["a", "--wal", "w", "--until-immediate", "--then", "pause"],
            &["a", "--into", "d", "--then", "pause"],
            &["a", "--timeline", "2"],
        ] {
            assert_eq!(parsed(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }
}
