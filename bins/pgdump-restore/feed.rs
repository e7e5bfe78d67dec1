//! Feeding a dump to psql, without the statements that are known to be wrong here.
//!
//! A cluster dump creates roles and tablespaces that are there already, and with `--clean` drops
//! the role we are and databases that are not there: these statements are left out. No error of the
//! others is ignored. Databases are given the names under which they are restored. With several
//! sessions, rows go to whoever is free, indexes and constraints to one each, all else to the first.

use std::sync::Arc;

use kit::child::interrupted;
use kit::codec::read::Seen;
use kit::dump::lex::{Event, Lexer};
use kit::dump::scan::{display, text_of};
use kit::dump::statement::connect_target;
use kit::exit::Result;
use kit::out::count;
use kit::pg::{Server, literal_dbname};
use kit::progress::Progress;
use kit::proof;
use kit::source::Dump;

use crate::check::{Checked, Table};
use crate::plan::Plan;
use crate::session::Session;
use build::Build;
use crew::Crew;
use load::{Loader, changed, may_truncate};
use route::{Route, Router};
use runs::Parts;
use share::{Load, Shares};

mod build;
mod crew;
mod load;
mod route;
mod rows;
pub(crate) mod runs;
mod share;

/// How much of a statement is held back until it is clear what it is.
const HEAD: usize = 4096;
/// How many statements wait for rows, at most.
const BUILDS: usize = 4096;

/// Restores what the plan wants of the dump; every statement goes to a psql that stops at the first
/// error. The first session comes back, with all done.
pub(crate) fn feed(
    plan: &Plan,
    chosen: &Dump,
    checked: &Checked,
    server: &Server,
    session: Session,
    quiet: bool,
) -> Result<Session> {
    let progress = Arc::new(Progress::start("restoring", Some(checked.facts.bytes), quiet));
    let mut feeder = Feeder::new(plan, checked, server, session, progress);
    let fed = match &checked.parts {
        Some(parts) => feeder.in_parts(parts),
        None => {
            let mut lexer = Lexer::default();
            proof::read(chosen, |bytes| feeder.feed(&mut lexer, bytes))
                .and_then(|seen| unchanged(&seen, checked))
        }
    };
    let fed = interrupted().and(fed).and_then(|()| feeder.done());
    fed.map_err(|e| e.within(format!("cannot restore '{}'", chosen.name)))?;
    Ok(feeder.main)
}

/// What was fed must be what was checked.
fn unchanged(seen: &Seen, checked: &Checked) -> Result<()> {
    if seen.sha256 == checked.sha256 {
        return Ok(());
    }
    Err(changed())
}

/// Hands on what the lexer finds.
struct Feeder<'a> {
    plan: &'a Plan,
    server: &'a Server,
    router: Router<'a>,
    main: Session,
    crew: Option<Crew>,
    /// The main session has been given something that may not be done.
    owed: bool,
    /// What the present database's session is set to, for those that join.
    settings: Vec<u8>,
    /// The beginning of the present statement, until it is clear what it is.
    head: Vec<u8>,
    /// What becomes of the present statement, once that is clear.
    route: Option<Route>,
    /// The COPY statement whose rows the crew loads, and rows that are not dealt yet.
    copy: Option<Arc<Vec<u8>>>,
    rows: Vec<u8>,
    /// The latest statement for the crew; what follows it may belong to it.
    held: Option<Build>,
    /// What the crew does: only statements of one kind are run beside each other.
    stage: Option<Route>,
    line: Vec<u8>,
    progress: Arc<Progress>,
    /// The tables of the dump whose rows are still to come, in its order.
    tables: std::slice::Iter<'a, Table>,
    /// For the crew, where it reads by itself.
    loader: Option<Loader>,
    /// Tables for the crew to load, as soon as no other rows follow.
    loads: Vec<Load>,
    /// What it builds on these, on each as soon as it is loaded.
    builds: Vec<Build>,
    /// What the main session is to run when they are loaded.
    values: Vec<u8>,
}

impl<'a> Feeder<'a> {
    fn new(
        plan: &'a Plan,
        checked: &'a Checked,
        server: &'a Server,
        main: Session,
        progress: Arc<Progress>,
    ) -> Self {
        Feeder {
            plan,
            server,
            router: Router::new(plan),
            main,
            crew: None,
            owed: true,
            settings: Vec::new(),
            head: Vec::new(),
            route: None,
            copy: None,
            rows: Vec::new(),
            held: None,
            stage: None,
            line: Vec::new(),
            progress,
            tables: checked.tables.iter(),
            loader: None,
            loads: Vec::new(),
            builds: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Reads all but the rows of large tables, which those read who load them.
    fn in_parts(&mut self, parts: &Parts) -> Result<()> {
        let Parts { stretches, runs } = parts;
        let (mut reader, mut lexer, mut at) = (stretches.reader(), Lexer::default(), 0);
        self.loader = Some(Loader { stretches: stretches.clone(), progress: self.progress.clone() });
        for rows in runs {
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
            reader.read(&(at..first.start), &mut |bytes| self.feed(&mut lexer, bytes))?;
            self.rows_of_table(rows)?;
            at = last.end;
        }
        reader.read(&(at..stretches.raw_bytes()), &mut |bytes| self.feed(&mut lexer, bytes))
    }

    fn feed(&mut self, lexer: &mut Lexer, bytes: &[u8]) -> Result<()> {
        self.progress.advance(bytes.len() as u64);
        let mut outcome = Ok(());
        lexer.feed(bytes, &mut |event| {
            if outcome.is_ok() {
                outcome = self.event(event);
            }
        });
        outcome
    }

    fn event(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Sql { bytes, .. } => match self.route {
                None => {
                    self.head.extend_from_slice(bytes);
                    if self.head.len() >= HEAD { self.decide(false) } else { Ok(()) }
                }
                Some(Route::Out) => Ok(()),
                Some(_) => self.main.write(bytes),
            },
            Event::SqlEnd { .. } => self.end_statement(),
            Event::Meta { bytes, .. } => {
                self.line.extend_from_slice(bytes);
                Ok(())
            }
            Event::MetaEnd { .. } => self.meta(),
            Event::Data { bytes, .. } => self.data(bytes),
            Event::DataEnd { crlf, .. } => self.end_data(crlf),
            Event::Comment { .. } | Event::CommentEnd | Event::DataBegin { .. } => Ok(()),
        }
    }

    /// Decides about the statement that begins with what is at hand. `whole`: that is all of it.
    fn decide(&mut self, whole: bool) -> Result<()> {
        let head = std::mem::take(&mut self.head);
        let (route, text) = self.router.route(&head, whole && self.plan.jobs > 1);
        if self.route_of_comment(&route) {
            if let Some(held) = &mut self.held {
                held.add(&text);
            }
            self.route = Some(Route::Out);
            return Ok(());
        }
        match route {
            Route::Out => {}
            Route::Set => {
                // rows are loaded under the settings that they stand under
                self.hand_over()?;
                self.load()?;
                self.main.write(&text)?;
                self.settings.extend_from_slice(&text);
                self.settings.push(b'\n');
                self.crew.as_mut().map_or(Ok(()), |crew| crew.set(&text))?;
            }
            Route::Rows => {
                if !(self.builds.is_empty() && self.values.is_empty()) {
                    self.leave()?;
                }
                self.enter(Route::Rows)?;
                self.copy = Some(Arc::new(text));
            }
            Route::Build | Route::Key => {
                let build = Build::new(&text);
                let soon = route == Route::Build && build.may_come_soon() && self.builds.len() < BUILDS;
                if self.loads.is_empty() || !soon {
                    self.enter(route)?;
                }
                self.hand_over()?;
                self.held = Some(build);
            }
            Route::Value if !self.loads.is_empty() => {
                self.hand_over()?;
                self.values.extend_from_slice(&text);
                self.values.push(b'\n');
            }
            Route::Beside | Route::Main | Route::Value => {
                self.leave()?;
                self.main.write(&text)?;
                self.owed = true;
            }
        }
        self.route = Some(route);
        Ok(())
    }

    /// Whether a statement belongs to the one that the crew is about to get.
    fn route_of_comment(&self, route: &Route) -> bool {
        *route == Route::Beside && self.held.is_some()
    }

    fn end_statement(&mut self) -> Result<()> {
        if self.route.is_none() {
            self.decide(true)?;
        }
        let after = self.router.after();
        if let Some(name) = self.router.table() {
            let rows = self.tables.find(|t| display(&t.table) == name).map_or(0, |t| t.rows);
            self.progress.at(&format!("{name}, {} rows", count(rows)));
        }
        match self.route.take() {
            Some(Route::Main | Route::Beside | Route::Set) => {
                self.main.write(b"\n")?;
                self.main.write(&after)
            }
            _ => Ok(()),
        }
    }

    /// The crew is to work at `stage`: what must stand before it is done.
    fn enter(&mut self, stage: Route) -> Result<()> {
        if self.stage.as_ref() != Some(&stage) {
            self.leave()?;
            self.stage = Some(stage);
        }
        if std::mem::take(&mut self.owed) {
            self.main.sync()?;
        }
        if self.crew.is_none() {
            let place = self.router.place();
            self.crew = Some(Crew::start(self.server, place, self.plan.jobs, &self.settings)?);
        }
        Ok(())
    }

    /// The main session is to go on: what the crew has been given is done.
    fn leave(&mut self) -> Result<()> {
        self.hand_over()?;
        self.load()?;
        self.stage = None;
        self.crew.as_mut().map_or(Ok(()), Crew::done)?;
        let values = std::mem::take(&mut self.values);
        self.owed |= !values.is_empty();
        self.main.write(&values)
    }

    /// Gives the crew the statement that was held back.
    fn hand_over(&mut self) -> Result<()> {
        match (self.held.take(), &mut self.crew) {
            (Some(build), _) if !self.loads.is_empty() => self.builds.push(build),
            (Some(build), Some(crew)) => crew.build(build)?,
            _ => {}
        }
        Ok(())
    }

    /// Has the crew load the tables that wait for it, and build what is built on them.
    fn load(&mut self) -> Result<()> {
        let (mut loads, builds) = (std::mem::take(&mut self.loads), std::mem::take(&mut self.builds));
        let (Some(loader), Some(crew), false) = (&self.loader, &mut self.crew, loads.is_empty()) else {
            return Ok(());
        };
        // so that no table is taken for empty whose rows are on their way; who has none yet may still be
        // on the way to the server
        if crew.has_rows() {
            crew.done()?;
        }
        may_truncate(self.server, self.router.place(), &mut loads)?;
        crew.load(Shares::new(loads, self.plan.jobs), builds, loader)?;
        crew.done()
    }

    fn meta(&mut self) -> Result<()> {
        let line = std::mem::take(&mut self.line);
        let Some(name) = connect_target(line.trim_ascii_end()) else {
            // of the others only this one changes how names are read
            let encoding = line.starts_with(b"\\encoding") && !self.router.is_elsewhere();
            return if encoding { self.main.command(&line) } else { Ok(()) };
        };
        self.leave()?;
        self.crew = None;
        self.owed = true;
        self.settings.clear();
        match self.router.connect(&text_of(&name)) {
            Some(place) => {
                let dbname = literal_dbname(&place).replace('"', "\"\"");
                self.main.command(format!("\\connect -reuse-previous=on \"{dbname}\"").as_bytes())
            }
            None => Ok(()),
        }
    }

    fn done(&mut self) -> Result<()> {
        self.leave()?;
        self.crew = None;
        self.main.sync()
    }
}
