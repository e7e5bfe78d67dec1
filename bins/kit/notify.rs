//! Telling somebody elsewhere how a run went: a webhook, a chat, or a watchman who expects a ping.
//!
//! A run that tells nothing must not look like one that went well, so what fails here is said on
//! standard error; it never changes the run's own result. Time is bounded. A URL may hold a token:
//! no message repeats more of it than its host.

use std::cell::RefCell;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::exit::{Code, Error, Result, plain};
use crate::out::Speech;
use crate::settings::Settings;

mod body;
mod options;
mod send;
mod target;

pub use options::Telling;
pub use target::Target;

use body::{LONGEST, Outcome};
use send::send;

/// The longest that the end of a run waits for all of those it tells, each by itself.
const END: Duration = Duration::from_secs(10);
/// The same for the ping at the start, which goes out while the run is at work.
const START: Duration = Duration::from_secs(5);

/// Whom to tell: `--notify`, which may be given several times, else `NOTIFY_URL`, which may hold
/// several, parted by blanks. The word `none` is nobody.
///
/// # Errors
/// A usage error for what is no URL; it does not repeat it.
fn targets(options: &[String], settings: &Settings) -> Result<Vec<Target>> {
    let variable = settings.get("NOTIFY_URL").unwrap_or_default().split_whitespace();
    let (name, texts): (_, Vec<&str>) = match options {
        [] => ("NOTIFY_URL", variable.collect()),
        _ => ("--notify", options.iter().map(String::as_str).collect()),
    };
    let parse = |text| Target::parse(text).map_err(|why| crate::cli::usage(format!("{name}: {why}")));
    texts.into_iter().filter(|text| *text != "none").map(parse).collect()
}

/// What a run has to tell, collected while it goes on.
pub struct Account<'a> {
    targets: &'a [Target],
    tool: &'static str,
    speech: Speech,
    began: Instant,
    artifacts: RefCell<Vec<String>>,
    message: RefCell<String>,
    starting: Vec<JoinHandle<Result<()>>>,
    told: bool,
}

/// Runs `work`, telling of its start (those who expect that) and of its end, whatever that is: done, an
/// error, a signal, a panic. Gives back what `work` does.
fn telling(
    targets: &[Target],
    tool: &'static str,
    speech: &Speech,
    work: impl FnOnce(&Account<'_>) -> Result<Code>,
) -> Result<Code> {
    let mut account = Account::begin(targets, tool, speech);
    let outcome = work(&account);
    account.end(&outcome);
    outcome
}

impl<'a> Account<'a> {
    fn begin(targets: &'a [Target], tool: &'static str, speech: &Speech) -> Self {
        let start = |target: &Target| {
            let ping = target.start()?;
            let target = target.clone();
            // the run need not wait for the answer
            Some(std::thread::spawn(move || send(&target, &ping, START, 1)))
        };
        Account {
            targets,
            tool,
            speech: speech.clone(),
            began: Instant::now(),
            artifacts: RefCell::default(),
            message: RefCell::default(),
            starting: targets.iter().filter_map(start).collect(),
            told: false,
        }
    }

    /// The run has made this: a path, the name of a database.
    pub fn made(&self, artifact: impl Into<String>) {
        self.artifacts.borrow_mut().push(artifact.into());
    }

    /// A line of what is told. What comes after the longest message is not kept.
    pub fn note(&self, line: &str) {
        let mut message = self.message.borrow_mut();
        if message.len() <= LONGEST {
            let parted = if message.is_empty() { "" } else { "\n" };
            message.push_str(parted);
            message.push_str(&plain(line));
        }
    }

    /// An error that did not end the run.
    pub fn fault(&self, error: &Error) {
        error.lines().for_each(|line| self.note(&line));
    }

    fn end(&mut self, outcome: &Result<Code>) {
        let code = match outcome {
            Ok(code) => *code,
            Err(error) => {
                self.fault(error);
                error.code()
            }
        };
        self.tell(code as u8);
    }

    fn tell(&mut self, exit_code: u8) {
        self.told = true;
        // a ping at the end must not overtake that of the start
        for thread in self.starting.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                self.speech.error(&error);
            }
        }
        let outcome = Outcome {
            tool: self.tool,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            exit_code,
            duration: self.began.elapsed(),
            artifacts: self.artifacts.take(),
            message: self.message.take(),
        };
        std::thread::scope(|scope| {
            for target in self.targets {
                let (outcome, speech) = (&outcome, self.speech.clone());
                scope.spawn(move || {
                    if let Err(error) = send(target, &target.end(outcome), END, 3) {
                        speech.error(&error);
                    }
                });
            }
        });
    }
}

impl Drop for Account<'_> {
    /// A fault of the program itself is told, too.
    fn drop(&mut self) {
        if !self.told && std::thread::panicking() {
            self.note("ended by a fault of its own");
            self.tell(101);
        }
    }
}
