//! `--drill`: a restore into a throwaway server, by the very program that people will use, and the proof
//! of what it gave. How long that took is the time that a real restore takes at least.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use kit::child::{Child, Ended, sibling};
use kit::exit::{Code, Error, Result};
use kit::history;
use kit::manifest::Manifest;
use kit::out::{self, Speech};
use kit::pg::{Server, major_of};
use kit::place;
use kit::watch;
use serde_json::json;

use crate::check::Checked;
use crate::cli::{Args, Place, Query};
use crate::verdict::Verdict;

mod docker;
mod ground;
mod hints;
mod prove;
mod queries;
mod snapshot;

use ground::Ground;
pub(crate) use queries::single;

/// The name of a database whose dump does not tell it.
const NAMELESS: &str = "drill";

/// Guardrails that a throwaway server need not hold: where its files are, and how its machine sorts.
const LIFTED: &str = "--force=tablespaces,locale";

/// What `pgdump-restore` says when it has counted and compared all but the schema.
const NOT_COMPARED: &str = "the schema is not compared";

/// What all drills of a run have in common.
pub(crate) struct Drill<'a> {
    args: &'a Args,
    place: &'a Place,
    queries: Vec<Query>,
    /// How many questions were put so far.
    asked: Cell<usize>,
}

/// How a drill went, step by step. Seconds.
#[derive(Debug, Default)]
struct Times {
    /// Until a server was made and started, but for what the others say.
    server: f64,
    /// Until the dump was loaded and compared, or the volumes of a snapshot were filled.
    restore: f64,
    prove: f64,
}

impl Times {
    fn total(&self) -> f64 {
        self.server + self.restore + self.prove
    }
}

/// Whether there was a drill.
enum Held {
    /// On a server of this version.
    On(String),
    /// Backups of this kind are never drilled: why.
    Never(&'static str),
}

/// Sees to it that drills can be held before the first backup is read: reads the queries, and removes
/// what drills that were killed have left.
pub(crate) fn prepare<'a>(args: &'a Args, speech: &Speech) -> Result<Option<Drill<'a>>> {
    let Some(place) = &args.drill else { return Ok(None) };
    let mut queries = args.queries.clone();
    if let Some(file) = &args.queries_file {
        queries.extend(queries::read(Path::new(file))?);
    }
    for swept in ground::sweep(place)? {
        speech.say(&format!("removed {swept}, left by a drill that was killed"));
    }
    Ok(Some(Drill { args, place, queries, asked: Cell::new(0) }))
}

impl Drill<'_> {
    /// Restores the backup and proves it; what came of it goes into the history, and a drill that went well
    /// into the manifest. One that failed says nothing about the file, which was checked before: what
    /// this machine lacks must not make a backup uncounted.
    pub(crate) fn restore(&self, name: &str, checked: &Checked, verdict: &mut Verdict, speech: &Speech) {
        let (mut times, before) = (Times::default(), self.asked.get());
        let (version, not_held) = match self.hold(name, checked, &mut times, verdict, speech) {
            Ok(Held::On(version)) => (Some(version), None),
            Ok(Held::Never(why)) => {
                verdict.warn(format!("it is not drilled: {why}"));
                (None, Some(why.to_owned()))
            }
            Err(error) if error.code() == Code::No => {
                verdict.fault(error.within("drill"));
                (None, None)
            }
            Err(error) => {
                let why = error.to_string();
                verdict.unproven(error.within("not drilled"));
                (None, Some(why))
            }
        };
        // what was not held, for lack of a program or of time, says nothing about what a restore would do
        let failed = verdict.faults().iter().any(|f| f.code() == Code::No);
        if let Some(why) = not_held.filter(|_| !failed) {
            return verdict.fact("drill", json!({ "skipped": why }));
        }
        let (ok, asked) = (verdict.passes(), self.asked.get() - before);
        let seconds = |s: f64| (s * 1000.0).round() / 1000.0;
        let drill = json!({
            "ok": ok,
            "server": version,
            "seconds": seconds(times.total()),
            "server_seconds": seconds(times.server),
            "restore_seconds": seconds(times.restore),
            "prove_seconds": seconds(times.prove),
            "queries": asked,
        });
        verdict.fact("drill", drill);
        if ok {
            verdict.note(format!(
                "restored into PostgreSQL {} and proven in {:.1} s{}",
                version.as_deref().unwrap_or_default(),
                times.total(),
                if checked.dump.as_ref().is_some_and(|d| d.tables == 0) { ": it holds no table" } else { "" }
            ));
        }
        if !checked.has_record() {
            return;
        }
        let of = match watch::at(&checked.real) {
            Ok(backup) => history::Drill::of(&backup),
            Err(error) => return verdict.warn(error.to_string()),
        };
        let held = history::Drill {
            ok,
            faults: verdict.faults().iter().map(ToString::to_string).collect(),
            server: version,
            seconds: seconds(times.total()),
            server_seconds: seconds(times.server),
            restore_seconds: seconds(times.restore),
            prove_seconds: seconds(times.prove),
            queries: asked,
            ..of
        };
        if let Err(error) = held.record(place::parent(&checked.real)) {
            verdict.warn(error.to_string());
        }
        if ok {
            checked.enter("drill", verdict);
        }
    }

    fn hold(
        &self,
        name: &str,
        checked: &Checked,
        times: &mut Times,
        verdict: &mut Verdict,
        speech: &Speech,
    ) -> Result<Held> {
        if let Some(dump) = &checked.dump {
            self.one_to_ask(&dump.databases)?;
        }
        let clock = Instant::now();
        let mut ground = match (&checked.dump, &checked.set) {
            (Some(dump), _) => {
                let major = dump.server_version.as_deref().and_then(major_of);
                Ground::make(self.place, major, &dump.encoding)?
            }
            (None, Some(set)) => match snapshot::Way::of(set, self.args) {
                Some(way) => Ground::of(way?.start(&checked.real, times, verdict).map_err(hints::full)?),
                None => return Ok(Held::Never("it holds no data directory of PostgreSQL")),
            },
            (None, None) => return Ok(Held::Never("only dumps and snapshots of volumes are")),
        };
        times.server = clock.elapsed().as_secs_f64() - times.restore - times.prove;
        let version = self.on(&ground, name, checked, times, verdict, speech);
        let version = version.map_err(|error| ground.blame(error))?;
        ground.end()?;
        Ok(Held::On(version))
    }

    /// Restores and proves on a server; its version.
    fn on(
        &self,
        ground: &Ground,
        name: &str,
        checked: &Checked,
        times: &mut Times,
        verdict: &mut Verdict,
        speech: &Speech,
    ) -> Result<String> {
        let server = ground.server()?;
        let version = server.facts().version_text.split(' ').next().unwrap_or_default().to_owned();
        speech.say(&format!("drill of {name} on PostgreSQL {version}"));

        if checked.dump.is_some() {
            let clock = Instant::now();
            if self.args.until.is_some() {
                verdict.warn("a dump is of one moment: --until is for snapshots");
            }
            self.load(ground, checked, verdict)?;
            times.restore = clock.elapsed().as_secs_f64();
        }

        let clock = Instant::now();
        let databases = prove::databases(&server)?;
        for database in &databases {
            prove::prove(&server, database, verdict)?;
        }
        prove::amcheck(&server, self.jobs(), verdict)?;
        self.ask(&server, &databases, verdict)?;
        times.prove += clock.elapsed().as_secs_f64();
        Ok(version)
    }

    /// Restores the dump.
    fn load(&self, ground: &Ground, checked: &Checked, verdict: &mut Verdict) -> Result<()> {
        let ended = self.run(ground, checked)?;
        if !ended.ok() {
            return Err(hints::of_drill(ended.told()));
        }
        if let Some(line) = ended.stderr.iter().find(|l| l.contains(NOT_COMPARED)) {
            verdict.warn(line.split_once(": ").map_or(line.as_str(), |(_, words)| words));
        }
        Ok(())
    }

    fn jobs(&self) -> usize {
        self.args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Runs the program that restores, to its end.
    fn run(&self, ground: &Ground, checked: &Checked) -> Result<Ended> {
        let program = "pgdump-restore";
        let mut command = Command::new(sibling(program));
        // the environment, and a `.env` where we are, may lead to a server that somebody needs
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let leads = ["PG", "PATRONI_", "DATABASE_URL"].iter().any(|name| text.starts_with(name));
            if leads || text.starts_with("BACKUP_") {
                command.env_remove(&name);
            }
        }
        command.current_dir(ground.folder()).envs(ground.environment());
        command.args([
            "--notify",
            "none",
            "--yes",
            "--no-safety",
            "--drop",
            "--prove=hash",
            "--create-roles",
            LIFTED,
        ]);
        if self.args.trusts {
            command.arg("--force=guard");
        }
        command.arg("--jobs").arg(self.jobs().to_string());
        if let Some(via) = ground.via() {
            command.arg("--via").arg(via);
        }
        if checked.dump.as_ref().is_some_and(|d| d.is_nameless) {
            command.arg("--database").arg(self.args.database.as_deref().unwrap_or(NAMELESS));
        }
        command.arg(absolute(&checked.real));
        Child::spawn(&mut command, program, Stdio::null(), Stdio::null())?.wait()
    }

    /// Puts the user's own questions.
    fn ask(&self, server: &Server, databases: &[String], verdict: &mut Verdict) -> Result<()> {
        if self.queries.is_empty() {
            return Ok(());
        }
        let database = match (&self.args.database, self.one_to_ask(databases)?) {
            (Some(name), _) => name,
            (None, one) => one.unwrap_or("postgres"),
        };
        if !databases.iter().any(|name| name == database) {
            verdict.note(format!("not asked: it holds no database '{}'", out::plain(database)));
            return Ok(());
        }
        self.asked.update(|n| n + self.queries.len());
        self.queries.iter().try_for_each(|query| queries::ask(server, database, query, verdict))
    }

    /// The only database of a person's own, where there are queries to put to it.
    fn one_to_ask<'d>(&self, databases: &'d [String]) -> Result<Option<&'d str>> {
        let mut own = databases.iter().filter(|d| !["postgres", "template1"].contains(&d.as_str()));
        let first = own.next();
        if self.queries.is_empty() || self.args.database.is_some() || own.next().is_none() {
            return Ok(first.map(String::as_str));
        }
        Err(Error::usage("--query: there are several databases to ask").hint("Name one with --database."))
    }

    /// Refuses, before anything is read, a backup whose manifest tells of several databases to ask.
    pub(crate) fn foresee(&self, path: &Path) -> Result<()> {
        let manifest = path.canonicalize().ok().and_then(|real| Manifest::of(&real).ok().flatten());
        manifest.map_or(Ok(()), |manifest| self.one_to_ask(&manifest.source.databases).map(|_| ()))
    }

    /// Queries that no backup was asked have proven nothing.
    pub(crate) fn was_asked(&self) -> Result<()> {
        if self.queries.is_empty() || self.asked.get() > 0 {
            return Ok(());
        }
        let what = match &self.args.database {
            Some(name) => format!("--query: no backup holds database '{}'", out::plain(name)),
            None => "--query: no backup was there to ask".into(),
        };
        Err(Error::no(what))
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or(path.to_owned())
}
