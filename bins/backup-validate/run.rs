//! What a run does: each mode is a file of its own; here they are told apart.

use std::path::Path;
use std::time::Instant;

use kit::child::{catch_signals, interrupted};
use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::settings::Settings;
use kit::store::Place;
use serde_json::Value;

use crate::cli::{self, Args, Mode, TOOL, Which};
use crate::help::HELP;
use crate::mirror::Mirror;
use crate::verdict::Verdict;
use crate::{against, check, choose, drill, look, report};

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let args = cli::parse(std::env::args_os().skip(1))?;
    if args.mode == Mode::Help {
        return out::record(HELP.trim_end()).map(|_| Code::Done);
    }
    if args.mode == Mode::Version {
        return out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done);
    }
    catch_signals()?;
    let settings = Settings::load()?;
    let dir = settings.place_of_backups(args.dir.as_deref());
    let speech = Speech::new(TOOL, args.quiet);
    for (_, file) in &args.reports {
        report::may_write(file)?;
    }
    let mut home = match Place::is(Path::new(dir)) {
        true => Some(Mirror::of(&Place::parse(dir)?, &settings, &speech)?),
        false => None,
    };
    let path = home.as_ref().map_or(dir.into(), Mirror::path);
    let ended = args.telling.around(TOOL, Some(&path), &settings, &speech, |account| {
        let mut run = Run {
            args: &args,
            settings: &settings,
            dir: &path,
            speech: &speech,
            account,
            judged: Vec::new(),
            codes: Vec::new(),
        };
        run.judge_and_look(&mut home)
    });
    ended.map_err(|error| home.map_or(error.clone(), |home| home.told(error)))
}

/// What all of a run have in common.
struct Run<'a> {
    args: &'a Args,
    settings: &'a Settings,
    dir: &'a Path,
    speech: &'a Speech,
    account: &'a Account<'a>,
    /// What is known of each that was judged, as `--json` has it.
    judged: Vec<Value>,
    codes: Vec<Code>,
}

impl Run<'_> {
    /// First the backups, one by one, then the folder as a whole, and what is written of both. `home`: what
    /// stands for the folder, where it is in a store.
    fn judge_and_look(&mut self, home: &mut Option<Mirror>) -> Result<Code> {
        let alone = self.args.mode == Mode::Look;
        let outcome = match &self.args.mode {
            Mode::Judge(which) => self.judge_all(which, home),
            _ => Ok(Code::Done),
        };
        if self.args.rules.is_none() && self.args.reports.is_empty() {
            return outcome;
        }
        // a report is wanted most of all when something is wrong
        interrupted()?;
        let shown = home.as_ref().map(|home| home.renamed(&self.dir.display().to_string()));
        let looked = self.look_and_report(shown, alone);
        match (outcome, looked) {
            (Ok(Code::Done), Ok(false)) => Ok(Code::No),
            (Ok(_), Err(error)) => Err(error),
            (outcome, looked) => {
                // what was judged is the news
                looked.inspect_err(|error| self.speech.error(error)).ok();
                outcome
            }
        }
    }

    /// Whether nothing is wrong with the folder as a whole, as far as that was asked.
    fn look_and_report(&self, shown: Option<String>, alone: bool) -> Result<bool> {
        let (args, dir) = (self.args, self.dir);
        let files = matches!(args.mode, Mode::Judge(Which::Named(_) | Which::Stdin));
        let look = look::look(args, dir, files)?;
        if args.rules.is_some() {
            look::tell(&look, args, alone, self.speech)?;
            look.findings.iter().for_each(|f| self.account.note(&format!("{}: {}", f.what.word(), f.why)));
        }
        let shown = shown
            .unwrap_or_else(|| dir.canonicalize().unwrap_or(dir.to_owned()).to_string_lossy().into_owned());
        for (form, file) in &args.reports {
            report::write(*form, file, dir, &shown, &look, &self.judged)?;
        }
        look.unread.map_or(Ok(args.rules.is_none() || look.findings.is_empty()), Err)
    }

    /// Judges each backup and lets those that pass through.
    fn judge_all(&mut self, which: &Which, home: &mut Option<Mirror>) -> Result<Code> {
        let drill = drill::prepare(self.args, self.speech)?;
        choose::each(which, self.dir, self.args.name.as_deref(), &mut |path| {
            if !Place::is(path) {
                let at_home = home.as_mut().filter(|_| path.starts_with(self.dir));
                return self.one(path, at_home, drill.as_ref());
            }
            match self.mirror(path) {
                Ok(mut mirror) => choose::within(&mirror.path(), &mut |path| {
                    self.one(path, Some(&mut mirror), drill.as_ref())
                }),
                // a line of standard input does not end those behind it
                Err(error) if error.code() == Code::Usage && *which != Which::Stdin => Err(error),
                Err(error) => {
                    interrupted()?;
                    let mut verdict = Verdict::default();
                    match error.code() {
                        Code::No => verdict.fault(error),
                        Code::Usage => verdict.unproven(error.with_code(Code::Refused)),
                        _ => verdict.unproven(error),
                    }
                    self.enter(&path.to_string_lossy(), path.to_str().is_some(), verdict)
                }
            }
        })?;
        let failed: Vec<Code> = self.codes.iter().copied().filter(|c| *c != Code::Done).collect();
        if let Some(drill) = drill.filter(|_| failed.is_empty()) {
            drill.was_asked()?;
        }
        Ok(match failed.first() {
            None => Code::Done,
            // nothing passed: then the first failure is what it was
            Some(code) if failed.len() == self.codes.len() => *code,
            Some(_) => Code::Part,
        })
    }

    /// What stands for a place in a store.
    fn mirror(&self, path: &Path) -> Result<Mirror> {
        let name = path.to_str().ok_or_else(|| Error::usage("a name in a store must be UTF-8"))?;
        Mirror::of(&Place::parse(name)?, self.settings, self.speech)
    }

    /// Judges one. `mirror`: what it is in, where it stands for one in a store.
    fn one(
        &mut self,
        path: &Path,
        mirror: Option<&mut Mirror>,
        drill: Option<&drill::Drill<'_>>,
    ) -> Result<()> {
        drill.map_or(Ok(()), |drill| drill.foresee(path))?;
        let Some(mirror) = mirror else {
            let name = path.to_string_lossy();
            let verdict = judge(self.args, path, &name, drill, self.speech);
            return self.enter(&name, path.to_str().is_some(), verdict);
        };
        let (mut verdict, name) = (Verdict::default(), mirror.renamed(&path.to_string_lossy()));
        match if self.args.quick { Ok(()) } else { mirror.fill(path) } {
            Ok(()) => {
                verdict = judge(self.args, path, &name, drill, self.speech);
                mirror.give_back(&mut verdict);
            }
            Err(error) => verdict.unproven(error),
        }
        mirror.empty(path);
        verdict.reworded(|error| mirror.told(error), |text| mirror.renamed(text));
        self.enter(&name, path.to_str().is_some(), verdict)
    }

    /// Tells of one, by the name that it goes by.
    fn enter(&mut self, name: &str, is_text: bool, mut verdict: Verdict) -> Result<()> {
        // a signal is meant for the whole run, and says nothing about the backup
        interrupted()?;
        if !is_text {
            verdict.bad("its name is no UTF-8: it cannot be let through");
        } else if !self.args.json && name.chars().any(char::is_control) {
            verdict.bad("its name does not fit into a line: it cannot be let through");
        }
        verdict.say(name, self.speech);
        self.codes.push(verdict.code());
        verdict.account(name, self.account);
        if !self.args.reports.is_empty() {
            self.judged.push(verdict.object(name));
        }
        if verdict.record(name, self.args.json)? { Ok(()) } else { Err(Error::read_enough()) }
    }
}

/// One backup: checked, and where that is asked for held against a server and drilled.
fn judge(args: &Args, path: &Path, name: &str, drill: Option<&drill::Drill<'_>>, speech: &Speech) -> Verdict {
    let (clock, mut verdict) = (Instant::now(), Verdict::default());
    let checked = check::check(path, args, speech, &mut verdict);
    if let Some(checked) = checked.filter(|_| verdict.passes()) {
        if args.against {
            against::against(&checked, args, &mut verdict);
        }
        if let Some(drill) = drill.filter(|_| verdict.passes()) {
            drill.restore(name, &checked, &mut verdict, speech);
        }
    }
    verdict.fact("seconds", (clock.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    verdict
}
