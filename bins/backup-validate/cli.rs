//! The command line of `backup-validate`. Pure: touches no file, asks no clock.

use std::ffi::OsString;

use kit::cli::{bad, folder, number, size, span, text, usage};
use kit::exit::Result;
use kit::notify::Telling;
use kit::wal::name::Segment;
use kit::watch::Rules;
use lexopt::prelude::*;

use crate::drill::single;

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "backup-validate";

/// What is asked for. Each mode has a file of its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Help,
    Version,
    /// Judges backups, one after the other: check, then `--against`, then `--drill`.
    Judge(Which),
    /// Judges none: looks at the folder as a whole only, see [`Args::rules`] and [`Args::reports`].
    Look,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Html,
    Junit,
    Json,
}

/// Which backups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Paths, names or times.
    Named(Vec<OsString>),
    /// Paths on standard input.
    Stdin,
    Latest,
    All,
}

/// Where a drill restores to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A server of this machine's programs.
    Here,
    /// A container of this image.
    Docker(String),
}

/// A question to what was restored, and the answer to expect, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) answer: Option<String>,
}

/// The command line, checked as far as it can be without looking at the world.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) mode: Mode,
    pub(crate) dir: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) quick: bool,
    pub(crate) against: bool,
    pub(crate) drill: Option<Place>,
    /// A drill restores dumps that reach beyond their database, too.
    pub(crate) trusts: bool,
    pub(crate) queries: Vec<Query>,
    pub(crate) queries_file: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) jobs: Option<usize>,
    pub(crate) via: Option<String>,
    /// What the folder as a whole must not be like.
    pub(crate) rules: Option<Rules>,
    /// The moment that the drill of a snapshot recovers to, or `latest`.
    pub(crate) until: Option<String>,
    /// The archive of the server's log, which is looked at for gaps, and which drills of snapshots recover from.
    pub(crate) wal: Option<String>,
    /// First segments of gaps that are known.
    pub(crate) accept_gaps: Vec<Segment>,
    /// Reports, and the files they go to.
    pub(crate) reports: Vec<(Form, String)>,
    pub(crate) telling: Telling,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args::default();
    let (mut named, mut whole, mut paired, mut watch) = (Vec::new(), Vec::new(), Ok(()), false);
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        match arg {
            Short('h') | Long("help") => return Ok(args),
            Short('V') | Long("version") => return Ok(Args { mode: Mode::Version, ..args }),
            Value(word) => named.push(word),
            Long("latest") => whole.push(Which::Latest),
            Long("all") => whole.push(Which::All),
            Short('o') | Long("dir") => args.dir = Some(folder(&mut parser)?),
            Long("name") => args.name = Some(text(&mut parser, "--name")?),
            Long("quick") => args.quick = true,
            Long("against") => args.against = true,
            Long("drill") => args.drill = args.drill.or(Some(Place::Here)),
            Long("drill-in") => args.drill = Some(place(&text(&mut parser, "--drill-in")?)?),
            Long("force") => match &*text(&mut parser, "--force")? {
                "guard" => args.trusts = true,
                other => return Err(usage(format!("--force: '{other}' is not guard"))),
            },
            Long("query") => {
                args.queries.push(Query { sql: text(&mut parser, "--query")?, answer: None });
            }
            Long("expect") => {
                let answer = text(&mut parser, "--expect")?;
                paired = paired.and_then(|()| expect(&mut args.queries, answer));
            }
            Long("queries") => args.queries_file = Some(text(&mut parser, "--queries")?),
            Short('d') | Long("database") => args.database = Some(text(&mut parser, "--database")?),
            Short('j') | Long("jobs") => match number(&mut parser, "--jobs")? {
                0 => return Err(usage("--jobs: it takes one session at least")),
                n => args.jobs = Some(n),
            },
            Long("via") => args.via = Some(text(&mut parser, "--via")?),
            Long("watch") => watch = true,
            Long("max-age") => {
                rules(&mut args).max_age = Some(span(&text(&mut parser, "--max-age")?)?);
            }
            Long("min-size") => rules(&mut args).min_size = Some(size(&mut parser, "--min-size")?),
            Long("shrink") => rules(&mut args).shrink = Some(percent(&text(&mut parser, "--shrink")?)?),
            Long("tables-lost") => rules(&mut args).tables_lost = true,
            Long("quota") => rules(&mut args).quota = Some(size(&mut parser, "--quota")?),
            Long("until") => args.until = Some(text(&mut parser, "--until")?),
            Long("wal") => args.wal = Some(text(&mut parser, "--wal")?),
            Long("accept-gap") => args.accept_gaps.push(
                text(&mut parser, "--accept-gap")?
                    .parse()
                    .map_err(|e| usage(format!("--accept-gap: {e}")))?,
            ),
            Long("report") => {
                let form = form(&text(&mut parser, "--report")?)?;
                let file = text(&mut parser, "--report")?;
                if kit::store::Place::is(file.as_ref()) {
                    return Err(usage("--report: it goes into a file, which may be copied to a store"));
                }
                if file != "-" && args.reports.iter().any(|(_, other)| *other == file) {
                    return Err(usage(format!("--report: two would be '{file}'")));
                }
                args.reports.push((form, file));
            }
            Long("notify") => args.telling.notify(&mut parser)?,
            Long("metrics") => args.telling.metrics(&mut parser)?,
            Long("json") => args.json = true,
            Short('q') | Long("quiet") => args.quiet = true,
            other => return Err(bad(&other.unexpected())),
        }
    }
    paired?;
    if whole.len() + usize::from(!named.is_empty()) > 1 {
        return Err(usage("FILE, --latest and --all exclude each other"));
    }
    if watch {
        let rules = rules(&mut args);
        *rules = Rules {
            max_age: rules.max_age.or(usual().max_age),
            shrink: rules.shrink.or(usual().shrink),
            tables_lost: true,
            ..rules.clone()
        };
    }
    if args.wal.is_some() && args.reports.is_empty() && args.drill.is_none() && named.is_empty() {
        rules(&mut args);
    }
    let looks = args.rules.is_some() || !args.reports.is_empty();
    args.mode = match whole.pop() {
        Some(which) => Mode::Judge(which),
        None if !named.is_empty() => Mode::Judge(Which::Named(named)),
        None if looks && args.drill.is_none() && !args.against && !args.quick => Mode::Look,
        None => Mode::Judge(Which::Stdin),
    };
    agree(args)
}

/// Refuses what contradicts itself.
fn agree(args: Args) -> Result<Args> {
    let drills = args.drill.is_some();
    for query in &args.queries {
        single(&query.sql).map_err(|why| usage(format!("--query: {why}")))?;
    }
    let wrong = if !drills && (!args.queries.is_empty() || args.queries_file.is_some()) {
        Some("--query and --queries are for --drill")
    } else if !drills && args.trusts {
        Some("--force=guard is for --drill")
    } else if args.until.is_some() && (!drills || args.wal.is_none()) {
        Some("--until is for --drill, and goes with --wal DIR")
    } else if !args.accept_gaps.is_empty() && args.wal.is_none() {
        Some("--accept-gap is for --wal")
    } else if args.quick && (drills || args.against) {
        Some("--quick reads no data: --against and --drill need it")
    } else if args.database.as_ref().is_some_and(String::is_empty) {
        Some("--database: the name is empty")
    } else {
        None
    };
    wrong.map_or(Ok(args), |why| Err(usage(why)))
}

/// What `--watch` alone looks for: a daily backup that is late, or has lost much.
pub(crate) fn usual() -> Rules {
    Rules { max_age: Some(26 * 3600), shrink: Some(30), tables_lost: true, ..Rules::default() }
}

fn rules(args: &mut Args) -> &mut Rules {
    args.rules.get_or_insert_with(Rules::default)
}

fn percent(text: &str) -> Result<u8> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    let fits = number.filter(|n| (1..=100).contains(n));
    fits.ok_or_else(|| usage(format!("--shrink: '{text}' is no percentage from 1% to 100%")))
}

fn form(text: &str) -> Result<Form> {
    match text {
        "html" => Ok(Form::Html),
        "junit" => Ok(Form::Junit),
        "json" => Ok(Form::Json),
        other => Err(usage(format!("--report: '{other}' is neither html, junit nor json"))),
    }
}

fn place(text: &str) -> Result<Place> {
    match text.split_once(':') {
        Some(("docker", image)) if !image.is_empty() && !image.starts_with('-') => {
            Ok(Place::Docker(image.to_owned()))
        }
        _ => Err(usage(format!("--drill-in: '{text}' is not docker:IMAGE"))),
    }
}

fn expect(queries: &mut [Query], answer: String) -> Result<()> {
    match queries.last_mut() {
        Some(query) if query.answer.is_none() => query.answer = Some(answer),
        _ => return Err(usage("--expect: it follows the --query that it is the answer of")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn paths_come_from_one_place() {
        let mode = |words: &[&str]| parsed(words).map(|a| a.mode);
        assert_eq!(mode(&[]).unwrap(), Mode::Judge(Which::Stdin));
        assert_eq!(mode(&["a", "b"]).unwrap(), Mode::Judge(Which::Named(vec!["a".into(), "b".into()])));
        assert_eq!(mode(&["--latest"]).unwrap(), Mode::Judge(Which::Latest));
        for words in [&["a", "--all"][..], &["--latest", "--all"]] {
            assert_eq!(mode(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }

    #[test]
    fn rules_and_reports_look_at_the_folder() {
        let args = parsed(&["--max-age", "26h", "--quota=1.5K", "--shrink", "30%", "--report", "html", "x"])
            .unwrap();
        assert_eq!(args.mode, Mode::Look);
        let rules = args.rules.unwrap();
        assert_eq!((rules.max_age, rules.quota, rules.shrink), (Some(93_600), Some(1536), Some(30)));
        assert_eq!(args.reports, [(Form::Html, "x".into())]);
        assert_eq!(parsed(&["--watch"]).unwrap().rules, Some(usual()));
        // what is given by name comes before the usual, wherever it stands
        for words in [&["--max-age", "1h", "--watch"], &["--watch", "--max-age", "1h"]] {
            assert_eq!(parsed(words).unwrap().rules.unwrap(), Rules { max_age: Some(3600), ..usual() });
        }
        assert_eq!(parsed(&["--latest", "--drill", "--watch"]).unwrap().mode, Mode::Judge(Which::Latest));
        for words in [
            &["--max-age", "26"][..],
            &["--min-size", "x"],
            &["--quota", "-1G"],
            &["--quota", "9999999999T"],
            &["--shrink", "0"],
            &["--shrink", "101%"],
            &["--report", "pdf", "x"],
            &["--report", "html"],
        ] {
            assert_eq!(parsed(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }

    #[test]
    fn an_answer_belongs_to_the_query_before_it() {
        let args = parsed(&["a", "--drill", "--query", "SELECT 1", "--query", "SELECT 2", "--expect", "2"]);
        let queries = args.unwrap().queries;
        assert_eq!(queries[0], Query { sql: "SELECT 1".into(), answer: None });
        assert_eq!(queries[1].answer.as_deref(), Some("2"));
        for words in [
            &["a", "--expect", "1", "--drill"][..],
            &["a", "--query", "SELECT 1"],
            &["a", "--drill", "--query", ""],
            &["a", "--drill", "--query", "COMMIT; DELETE FROM items"],
            &["a", "--quick", "--drill"],
            &["a", "--drill-in", "podman:x"],
            &["a", "--drill-in", "docker:--privileged"],
            &["a", "--drill", "-j", "0"],
        ] {
            assert_eq!(parsed(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }
}
