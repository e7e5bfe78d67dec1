//! The command line of `volsnap`. Pure: touches no file, asks no clock.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use kit::cli::{bad, folder, nonempty, number, size, span, text, usage, utf8};
use kit::codec::Codec;
use kit::exit::Result;
use kit::notify::Telling;
use kit::patroni::Patroni;
use kit::retention::Policy;
use kit::services::Wanted;
use kit::volume::Volume;
use lexopt::prelude::*;

use crate::hot::Log;

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "volsnap";

/// How many snapshots stay where nothing else is said.
const KEEP: u32 = 10;

/// How long the log of a hot snapshot may take into the archive, unless it is said.
const WITHIN: Duration = Duration::from_secs(3600);

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    #[default]
    Snapshot,
    List,
    Help,
    Version,
}

/// Whether volumes are copied first, so that what was stopped starts before they are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Aside {
    /// Where something waits for it and there is room.
    #[default]
    Auto,
    Always,
    Never,
}

/// The command line, checked as far as it can be without looking at the world.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) action: Action,
    /// `[LABEL=]VOLUME`; a relative path depends on where we are.
    pub(crate) volumes: Vec<String>,
    /// Services of Compose all whose volumes are meant.
    pub(crate) of_services: Vec<String>,
    pub(crate) services: Wanted,
    pub(crate) hot: bool,
    pub(crate) log: Log,
    pub(crate) from_basebackup: bool,
    /// Bytes a second.
    pub(crate) limit: Option<u64>,
    pub(crate) aside: Aside,
    pub(crate) dir: Option<String>,
    pub(crate) codec: Option<Codec>,
    pub(crate) tag: Option<String>,
    pub(crate) leader: Option<String>,
    /// The image of containers that read what we may not.
    pub(crate) helper: Option<String>,
    pub(crate) allow_outside: bool,
    pub(crate) allow_shrink: bool,
    pub(crate) lock_timeout: u64,
    /// `None`: `--no-rotate`.
    pub(crate) policy: Option<Policy>,
    pub(crate) telling: Telling,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args::default();
    let (mut with_wal, mut within) = (false, None);
    let (mut policy, mut ruled, mut no_rotate) = (Policy::default(), false, false);
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        match arg {
            Short('h') | Long("help") => return Ok(Args { action: Action::Help, ..args }),
            Short('V') | Long("version") => return Ok(Args { action: Action::Version, ..args }),
            Value(word) => args.volumes.push(volume(utf8(word, "VOLUME")?)?),
            Long("service") => args.of_services.push(text(&mut parser, "--service")?),
            Long("services") => args.services.add(&text(&mut parser, "--services")?),
            Long("compose") => args.services.compose = Some(text(&mut parser, "--compose")?),
            Long("patroni") => args.services.patroni = Some(text(&mut parser, "--patroni")?),
            Long("stop") => args.services.stop = Some(text(&mut parser, "--stop")?),
            Long("start") => args.services.start = Some(text(&mut parser, "--start")?),
            Long("hot") => args.hot = true,
            Long("from-basebackup") => args.from_basebackup = true,
            Long("with-wal") => with_wal = true,
            Long("within") => {
                let seconds = span(&text(&mut parser, "--within")?).map_err(|e| e.within("--within"))?;
                within = Some(Duration::from_secs(seconds.unsigned_abs()));
            }
            Long("limit") => args.limit = Some(size(&mut parser, "--limit")?),
            Long("copy-first") => args.aside = aside(&text(&mut parser, "--copy-first")?)?,
            Short('o') | Long("dir") => args.dir = Some(folder(&mut parser)?),
            Long("compress") => args.codec = Some(Codec::of_option(&mut parser)?),
            Long("tag") => args.tag = Some(nonempty(&mut parser, "--tag")?),
            Long("leader") => args.leader = Some(text(&mut parser, "--leader")?),
            Long("helper") => args.helper = Some(nonempty(&mut parser, "--helper")?),
            Long("allow-outside") => args.allow_outside = true,
            Long("allow-shrink") => args.allow_shrink = true,
            Long("lock-timeout") => args.lock_timeout = number(&mut parser, "--lock-timeout")?,
            Long(rule) if rule.starts_with("keep-") => {
                let rule = rule.to_owned();
                policy.option(&rule, &mut parser)?;
                ruled |= rule != "keep-tag";
            }
            Long("no-rotate") => no_rotate = true,
            Long("notify") => args.telling.notify(&mut parser)?,
            Long("metrics") => args.telling.metrics(&mut parser)?,
            Long("dry-run") => args.dry_run = true,
            Long("list") => args.action = Action::List,
            Long("json") => args.json = true,
            Short('q') | Long("quiet") => args.quiet = true,
            other => return Err(bad(&other.unexpected())),
        }
    }
    // what is read stands still
    for service in &args.of_services {
        if !args.services.services.contains(service) {
            args.services.services.push(service.clone());
        }
    }
    match (&args.action, args.volumes.is_empty() && args.of_services.is_empty()) {
        (Action::List, false) => return Err(usage("--list takes no volume")),
        (Action::Snapshot, true) => return Err(usage("no volume is named")),
        _ => {}
    }
    if args.services.contradict() {
        return Err(usage(
            "--services stops and starts by itself: --stop and --start are for what is no service",
        ));
    }
    if let Some(urls) = &args.services.patroni {
        Patroni::new(urls)?;
    }
    if args.services.compose.is_some() && args.services.services.is_empty() {
        return Err(usage("--compose is the file of --services"));
    }
    if args.hot && args.services.stop_something() {
        return Err(usage("--hot is for a server that runs: nothing is stopped for it"));
    }
    if args.hot && args.aside == Aside::Always {
        return Err(usage("--copy-first is for what stands still: nothing waits for --hot"));
    }
    if (with_wal || within.is_some() || args.from_basebackup) && !args.hot {
        return Err(usage("--with-wal, --within and --from-basebackup go with --hot"));
    }
    if args.from_basebackup && (args.volumes.len() != 1 || !args.of_services.is_empty()) {
        return Err(usage("--from-basebackup fills one archive: name one volume"));
    }
    args.log = match (with_wal || args.from_basebackup, within) {
        (true, None) => Log::Included,
        (true, Some(_)) => {
            return Err(usage(
                "--within is for the archive: where the log comes along, nothing is waited for",
            ));
        }
        (false, within) => Log::Archived(within.unwrap_or(WITHIN)),
    };
    if args.limit == Some(0) {
        return Err(usage("--limit: at least one byte a second"));
    }
    args.policy = (!no_rotate).then_some(policy.or_last(KEEP, ruled));
    Ok(args)
}

fn aside(word: &str) -> Result<Aside> {
    match word {
        "auto" => Ok(Aside::Auto),
        "always" => Ok(Aside::Always),
        "never" => Ok(Aside::Never),
        _ => Err(usage(format!("--copy-first: '{word}' is none of auto, always, never"))),
    }
}

/// A volume, by its spelling; whether it is there is seen later.
fn volume(word: String) -> Result<String> {
    Volume::parse(&word, Path::new("/")).map(|_| word).map_err(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn volumes_and_rules() {
        let args = parsed(&["a=dir:/x", "dir:y", "--services", "web app", "--keep-daily", "7"]).unwrap();
        assert_eq!(args.volumes, ["a=dir:/x", "dir:y"]);
        assert_eq!(args.services.services, ["web", "app"]);
        assert_eq!(args.policy.unwrap().last, 0);
        assert_eq!(parsed(&["dir:x", "--keep-tag", "t"]).unwrap().policy.unwrap().last, KEEP);
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for words in [
            &[][..],
            &["--list", "dir:x"],
            &["dir:x", "--services", "a", "--stop", "b"],
            &["dir:x", "--compose", "f"],
            &["dir:x", "--compress", "lz4"],
            &["dir:x", "--keep-for-ever", "1"],
            &["dir:x", "--tag", ""],
            &["dir:x", "--nonsense"],
            &["dir:x", "--with-wal"],
            &["dir:x", "--from-basebackup"],
            &["dir:x", "dir:y", "--hot", "--from-basebackup"],
            &["dir:x", "--within", "1h"],
            &["dir:x", "--hot", "--with-wal", "--within", "1h"],
            &["dir:x", "--hot", "--stop", "x"],
            &["dir:x", "--limit", "0"],
            &["dir:x", "--helper", ""],
            &["dir:x", "--copy-first", "maybe"],
            &["dir:x", "--hot", "--copy-first", "always"],
        ] {
            assert_eq!(parsed(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }
}
