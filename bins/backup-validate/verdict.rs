//! What is known of one backup in the end, and how it is told.

use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use serde_json::{Map, Value};

/// What was found out about one backup.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Why it does not pass, each with its exit code and hints.
    faults: Vec<Error>,
    /// One of them at least speaks against the backup.
    is_bad: bool,
    /// What a person should know although it passes.
    warnings: Vec<String>,
    /// What it is, and what was done with it.
    notes: Vec<String>,
    /// Facts for `--json`.
    facts: Map<String, Value>,
}

impl Verdict {
    /// It is not what it should be.
    pub(crate) fn bad(&mut self, why: impl Into<String>) {
        self.fault(Error::no(why));
    }

    /// It does not pass. A kind of file that is not read may be one that was damaged.
    pub(crate) fn fault(&mut self, error: Error) {
        self.is_bad = true;
        self.faults.push(error);
    }

    /// It does not pass, for something that is lacking here and says nothing about the backup.
    pub(crate) fn unproven(&mut self, error: Error) {
        self.faults.push(error);
    }

    /// It passes, but a person should know this.
    pub(crate) fn warn(&mut self, what: impl Into<String>) {
        self.warnings.push(what.into());
    }

    /// Something to tell of it.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// Something to tell of it to a program.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.into(), value.into());
    }

    /// Whether nothing speaks against it.
    pub(crate) fn passes(&self) -> bool {
        self.faults.is_empty()
    }

    /// What speaks against it.
    pub(crate) fn faults(&self) -> &[Error] {
        &self.faults
    }

    /// The exit code that it asks for.
    pub(crate) fn code(&self) -> Code {
        self.faults.first().map_or(Code::Done, Error::code)
    }

    /// The same in other words: each text as `say` has it.
    pub(crate) fn reworded(&mut self, told: impl Fn(Error) -> Error, say: impl Fn(&str) -> String) {
        self.faults = std::mem::take(&mut self.faults).into_iter().map(told).collect();
        for text in self.warnings.iter_mut().chain(&mut self.notes) {
            *text = say(text);
        }
    }

    fn word(&self) -> &'static str {
        match (self.passes(), self.warnings.is_empty()) {
            (false, _) if self.is_bad => "bad",
            (false, _) => "unproven",
            (true, false) => "warn",
            (true, true) => "ok",
        }
    }

    /// The line for people: `ok PATH: …`; hints follow in lines of their own.
    pub(crate) fn say(&self, path: &str, speech: &Speech) {
        if self.word() == "ok" {
            speech.say(&self.line(path))
        } else {
            speech.warn(&self.line(path))
        }
        for hint in self.faults.iter().flat_map(|f| f.lines().skip(1)) {
            speech.warn(&hint);
        }
    }

    fn line(&self, path: &str) -> String {
        let faults = self.faults.iter().map(ToString::to_string);
        let rest = if self.passes() { &self.notes[..] } else { &[] };
        let reasons: Vec<String> =
            faults.chain(self.warnings.iter().cloned()).chain(rest.iter().cloned()).collect();
        format!("{} {path}: {}", self.word(), reasons.join("; "))
    }

    /// The same for whoever is told of the run.
    pub(crate) fn account(&self, path: &str, account: &Account<'_>) {
        if self.passes() {
            account.made(path);
        }
        account.note(&self.line(path));
    }

    /// The record on standard output: the path of a backup that passes, or an object for each.
    /// `Ok(false)`: the reader is gone.
    pub(crate) fn record(&self, path: &str, json: bool) -> Result<bool> {
        if json {
            return out::record(&self.object(path).to_string());
        }
        if self.passes() { out::record(path) } else { Ok(true) }
    }

    /// All that is known of it, as `--json` tells it.
    pub(crate) fn object(&self, path: &str) -> Value {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        let hints: Vec<String> =
            self.faults.iter().flat_map(|f| f.lines().skip(1).collect::<Vec<_>>()).collect();
        let mut object = Map::new();
        object.insert("path".into(), path.into());
        object.insert("verdict".into(), self.word().into());
        object.insert("faults".into(), faults.into());
        object.insert("warnings".into(), self.warnings.clone().into());
        if !hints.is_empty() {
            object.insert("hints".into(), hints.into());
        }
        object.extend(self.facts.clone());
        object.into()
    }
}
