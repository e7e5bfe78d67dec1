//! Several sessions that load rows and build indexes at the same time.
//!
//! Of a dump that can only be read from its beginning, rows are dealt in pieces as they are read, each to
//! whoever is free, so that a large table is loaded by all at once. Of others, each reads by itself what
//! it loads. Each worker has a psql of its own, in which the
//! COPY of a table stays open until other work comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;

use kit::exit::{Error, Result};
use kit::pg::Server;

use crate::feed::build::{Build, Locks};
use crate::feed::load::Loader;
use crate::feed::share::{Share, Shares};
use crate::session::{Session, unhelped};

/// How many pieces wait for one worker beside the one that it writes.
const WAITING: usize = 2;

/// What a worker does.
enum Job {
    /// Settings of the session, from now on.
    Setting(Arc<Vec<u8>>),
    /// Rows of the table that this COPY statement names.
    Rows(Arc<Vec<u8>>, Vec<u8>),
    /// Rows that it is to read by itself.
    Load(Share, Loader),
    /// Statements.
    Statements(Vec<u8>),
    /// Nothing but to have done what came before.
    Done,
}

/// A worker as its giver sees it.
struct Worker {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Jobs that it has not told the end of.
    open: usize,
    /// Tables that its statements lock.
    locks: Locks,
    /// The table that it loads by itself.
    loading: Option<String>,
}

/// Workers in one database.
pub(crate) struct Crew {
    workers: Vec<Worker>,
    notices: Receiver<(usize, Result<()>)>,
    /// Whose turn it is when several are free.
    next: usize,
    /// Who began a row that has not ended.
    within_row: Option<usize>,
    /// They have been given something, and rows, since they were last all done.
    at_work: bool,
    has_rows: bool,
    /// Nobody waits for them any more.
    left: Arc<AtomicBool>,
    /// What is run before a statement that is run beside others.
    unhelped: &'static str,
}

impl Crew {
    /// Starts `n` of them in `database`, which is put into place later, under the settings that hold so far.
    pub(crate) fn start(server: &Server, database: &str, n: usize, settings: &[u8]) -> Result<Self> {
        let (notify, notices) = channel();
        let mut workers = Vec::new();
        let left = Arc::new(AtomicBool::new(false));
        for i in 0..n {
            let mut session = Session::hasty(server, database)?;
            session.write(settings)?;
            let (jobs, queue) = sync_channel(WAITING);
            let (notify, left): (Sender<_>, _) = (notify.clone(), left.clone());
            let thread = std::thread::spawn(move || work(session, &queue, i, &notify, &left));
            let (jobs, thread) = (Some(jobs), Some(thread));
            workers.push(Worker { jobs, thread, open: 0, locks: Locks::default(), loading: None });
        }
        let unhelped = unhelped(server, n);
        Ok(Crew {
            workers,
            notices,
            next: 0,
            within_row: None,
            at_work: false,
            has_rows: false,
            left,
            unhelped,
        })
    }

    /// Has every session set this.
    pub(crate) fn set(&mut self, statement: &[u8]) -> Result<()> {
        let statement = Arc::new(statement.to_vec());
        for i in 0..self.workers.len() {
            self.give_to(i, Job::Setting(statement.clone()))?;
        }
        Ok(())
    }

    /// Has rows loaded by the statement `copy`. A row that is not ended goes on in the next piece.
    pub(crate) fn rows(&mut self, copy: &Arc<Vec<u8>>, rows: Vec<u8>) -> Result<()> {
        self.has_rows = true;
        let ends = rows.last() == Some(&b'\n');
        let job = Job::Rows(copy.clone(), rows);
        let who = match self.within_row {
            Some(i) => {
                self.give_to(i, job)?;
                i
            }
            None => self.give(job)?,
        };
        self.within_row = (!ends).then_some(who);
        Ok(())
    }

    /// Who is within a row, if anyone is.
    pub(crate) fn is_within_row(&self) -> bool {
        self.within_row.is_some()
    }

    /// Has something built by one of them; not while another's locks are in the way: it would wait there
    /// for perhaps an hour, or for the other for ever.
    pub(crate) fn build(&mut self, build: Build) -> Result<()> {
        while self.is_kept_out(&build) {
            self.hear()?;
        }
        let free = self.free()?;
        self.give_build(free, build, false)
    }

    /// Has tables loaded, each by one of them as far as that goes, and `builds` made, each as soon as
    /// nothing is missing of the tables it names: then much of them is still in memory.
    pub(crate) fn load(&mut self, mut shares: Shares, mut builds: Vec<Build>, loader: &Loader) -> Result<()> {
        self.has_rows = true;
        loop {
            let free = self.free()?;
            let is_loading = |table: &str| self.workers.iter().any(|w| w.loading.as_deref() == Some(table));
            let ready = builds.iter().position(|build| {
                !build.tables().any(|t| shares.holds(t) || is_loading(t)) && !self.is_kept_out(build)
            });
            if let Some(ready) = ready {
                let build = builds.remove(ready);
                self.give_build(free, build, !(shares.is_empty() && builds.is_empty()))?;
            // what is left is cut by when it is given
            } else if let Some(share) = shares.next(free) {
                self.workers[free].loading.clone_from(&share.table);
                self.give_to(free, Job::Load(share, loader.clone()))?;
            } else if builds.is_empty() {
                return Ok(());
            } else {
                self.hear()?;
            }
        }
    }

    /// Whether rows that they were given may be on their way.
    pub(crate) fn has_rows(&self) -> bool {
        self.has_rows
    }

    fn is_kept_out(&self, build: &Build) -> bool {
        self.workers.iter().any(|w| w.locks.are_in_the_way_of(&build.locks))
    }

    /// `more`: others are to be given something at once.
    fn give_build(&mut self, to: usize, build: Build, more: bool) -> Result<()> {
        self.workers[to].locks = build.locks;
        let beside = more || self.workers.iter().any(|w| w.open > 0);
        let how = match self.unhelped {
            "" => "",
            unhelped if beside => unhelped,
            _ => "RESET max_parallel_maintenance_workers;\n",
        };
        self.give_to(to, Job::Statements([how.as_bytes(), &build.text].concat()))
    }

    /// Who has nothing to do: a better one than one whose statement may take an hour.
    fn free(&mut self) -> Result<usize> {
        loop {
            if let Some(free) = self.workers.iter().position(|w| w.open == 0) {
                return Ok(free);
            }
            self.hear()?;
        }
    }

    /// Waits until all is done.
    pub(crate) fn done(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.at_work) {
            return Ok(());
        }
        for i in 0..self.workers.len() {
            self.give_to(i, Job::Done)?;
        }
        while self.workers.iter().any(|w| w.open > 0) {
            self.hear()?;
        }
        (self.at_work, self.has_rows) = (false, false);
        Ok(())
    }

    /// Gives a job to whoever has room for it; who that was.
    fn give(&mut self, mut job: Job) -> Result<usize> {
        loop {
            for step in 0..self.workers.len() {
                let i = (self.next + step) % self.workers.len();
                match self.offer(i, job)? {
                    None => {
                        self.next = (i + 1) % self.workers.len();
                        return Ok(i);
                    }
                    Some(back) => job = back,
                }
            }
            self.hear()?;
        }
    }

    fn give_to(&mut self, i: usize, mut job: Job) -> Result<()> {
        while let Some(back) = self.offer(i, job)? {
            job = back;
            self.hear()?;
        }
        Ok(())
    }

    /// Gives a worker a job; it comes back where there is no room for it.
    fn offer(&mut self, i: usize, job: Job) -> Result<Option<Job>> {
        let worker = &mut self.workers[i];
        let Some(jobs) = &worker.jobs else { return Err(ended()) };
        match jobs.try_send(job) {
            Ok(()) => {
                worker.open += 1;
                self.at_work = true;
                Ok(None)
            }
            Err(TrySendError::Full(job)) => Ok(Some(job)),
            // what it ended with is among the notices
            Err(TrySendError::Disconnected(_)) => {
                self.hear()?;
                Err(ended())
            }
        }
    }

    /// Waits for one of them to tell of the end of a job.
    fn hear(&mut self) -> Result<()> {
        let (i, outcome) = self.notices.recv().map_err(|_| ended())?;
        outcome?;
        let worker = &mut self.workers[i];
        worker.open = worker.open.saturating_sub(1);
        if worker.open == 0 {
            worker.locks = Locks::default();
            worker.loading = None;
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.left.store(true, Ordering::Relaxed);
        for worker in &mut self.workers {
            worker.jobs = None;
        }
        // one that is not done may be at it for an hour; it ends when its database is dropped
        for worker in self.workers.iter_mut().filter(|w| w.open == 0) {
            // a panic in it has been told by itself
            let _ = worker.thread.take().map(JoinHandle::join);
        }
    }
}

fn ended() -> Error {
    Error::no("a session ended before its time")
}

/// The life of a worker.
fn work(
    mut session: Session,
    queue: &Receiver<Job>,
    i: usize,
    notify: &Sender<(usize, Result<()>)>,
    left: &AtomicBool,
) {
    // the COPY that is open
    let mut open: Option<Arc<Vec<u8>>> = None;
    while let Ok(job) = queue.recv() {
        let outcome = act(&mut session, &mut open, job, left);
        let failed = outcome.is_err();
        if notify.send((i, outcome)).is_err() || failed {
            return;
        }
    }
}

fn act(session: &mut Session, open: &mut Option<Arc<Vec<u8>>>, job: Job, left: &AtomicBool) -> Result<()> {
    let same = matches!((&job, &open), (Job::Rows(copy, _), Some(open)) if Arc::ptr_eq(copy, open));
    if !same && open.take().is_some() {
        session.write(b"\\.\n")?;
    }
    match job {
        Job::Setting(statement) => {
            session.write(&statement)?;
            session.write(b"\n")
        }
        Job::Rows(copy, rows) => {
            if !same {
                session.write(&copy)?;
                session.write(b"\n")?;
                *open = Some(copy);
            }
            session.write(&rows)
        }
        Job::Load(share, loader) => loader.load(&share, session, &|| !left.load(Ordering::Relaxed)),
        Job::Statements(text) => {
            session.write(&text)?;
            session.sync()
        }
        Job::Done => session.sync(),
    }
}
