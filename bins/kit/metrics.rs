//! What Prometheus is told: a file for the textfile collector of its node exporter.
//!
//! Times are timestamps, not ages: a file that nobody writes any more must not look young. What is
//! known of backups comes from their manifests; only the counters of runs and the time of the last
//! success are taken over from the file itself. Where it is lost they begin anew, which Prometheus
//! takes for a restart. Each line has the label `file`, the file's own name, so that several files in one
//! directory never tell of the same thing twice, which the node exporter refuses.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::exit::{Code, Error, Result};
use crate::out::Speech;
use crate::place;
use crate::stamp::Stamp;

mod backups;
mod text;

use text::{Kind, Text};

/// Where `--metrics` writes to, and of whom.
pub struct Metrics<'a> {
    file: Option<PathBuf>,
    tool: &'static str,
    /// The directory of backups to tell of, too.
    dir: Option<&'a Path>,
}

/// How such a file begins.
const OURS: &[&[u8]] = &[b"# HELP pgkeep_"];

impl<'a> Metrics<'a> {
    /// Of runs of `tool`, and of the backups in `dir`; nothing is written where there is no `file`.
    ///
    /// # Errors
    /// Something else is where the file should be.
    pub fn new(file: Option<&str>, tool: &'static str, dir: Option<&'a Path>) -> Result<Self> {
        let file = file.map(PathBuf::from);
        file.as_deref().map_or(Ok(()), |file| place::may_publish(file, OURS))?;
        Ok(Metrics { file, tool, dir })
    }

    /// Runs `work` and writes the file, whatever comes of it. A file that cannot be written is said, and
    /// changes nothing of what `work` gives back.
    pub fn of(&self, speech: &Speech, work: impl FnOnce() -> Result<Code>) -> Result<Code> {
        let began = Instant::now();
        let outcome = work();
        if let Some(file) = &self.file {
            let code = outcome.as_ref().map_or_else(Error::code, |code| *code);
            if let Err(error) = self.write(file, code, began.elapsed(), Stamp::now()) {
                speech.error(&error.within("cannot write metrics"));
            }
        }
        outcome
    }

    fn write(&self, file: &Path, code: Code, duration: Duration, now: Stamp) -> Result<()> {
        place::publish(file, OURS, || self.text(file, code, duration, now))
    }

    fn text(&self, file: &Path, code: Code, duration: Duration, now: Stamp) -> Result<Vec<u8>> {
        let own = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // a file that is none is replaced like one of an older release
        let mut before = String::new();
        if let Ok(mut old) = place::open_regular(file)
            && old.read_to_string(&mut before).is_err()
        {
            before.clear();
        }
        let mut text = Text::new(&[("file", &own)]);
        self.run(&mut text, &before, code, duration, now);
        if let Some(dir) = self.dir.filter(|dir| dir.is_dir()) {
            backups::tell(&mut text, dir, now)?;
        }
        Ok(text.finish().into_bytes())
    }

    fn run(&self, text: &mut Text, before: &str, code: Code, duration: Duration, now: Stamp) {
        let tool = &[("tool", self.tool)];
        let ok = code == Code::Done;
        text.metric("pgkeep_run_timestamp_seconds", Kind::Gauge, "When the last run ended.");
        text.value(tool, now.unix() as f64);
        text.metric("pgkeep_run_duration_seconds", Kind::Gauge, "What the last run took.");
        text.value(tool, duration.as_secs_f64());
        text.metric("pgkeep_run_exit_code", Kind::Gauge, "How the last run ended, see exit-codes.md.");
        text.value(tool, f64::from(code as u8));
        text.metric("pgkeep_run_success_timestamp_seconds", Kind::Gauge, "When the last run ended with 0.");
        match text.earlier(before, tool) {
            _ if ok => text.value(tool, now.unix() as f64),
            Some(value) => text.value(tool, value),
            // never yet: no line, and an alert on its absence
            None => {}
        }
        text.metric("pgkeep_runs_total", Kind::Counter, "Runs, by how they ended.");
        for (outcome, now) in [("success", ok), ("failure", !ok)] {
            let labels = &[("tool", self.tool), ("outcome", outcome)];
            let count = text.earlier(before, labels).unwrap_or(0.0);
            text.value(labels, count + f64::from(u8::from(now)));
        }
    }
}
