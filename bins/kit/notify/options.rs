//! `--notify` and `--metrics`, which every program takes: read in one place, and done around the run.

use std::path::Path;

use super::{Account, targets, telling};
use crate::cli::{text, usage};
use crate::exit::{Code, Result};
use crate::metrics::Metrics;
use crate::out::Speech;
use crate::settings::Settings;

/// Who is told of a run, and where its numbers go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    notify: Vec<String>,
    metrics: Option<String>,
}

impl Telling {
    /// Reads the value of `--notify`, just met.
    pub fn notify(&mut self, parser: &mut lexopt::Parser) -> Result<()> {
        self.notify.push(text(parser, "--notify")?);
        Ok(())
    }

    /// Reads the value of `--metrics`, just met.
    pub fn metrics(&mut self, parser: &mut lexopt::Parser) -> Result<()> {
        let file = text(parser, "--metrics")?;
        if file.is_empty() {
            return Err(usage("--metrics: it is empty"));
        }
        self.metrics = Some(file);
        Ok(())
    }

    /// Runs `work`, of which nobody is told.
    pub fn nobody(
        tool: &'static str,
        speech: &Speech,
        work: impl FnOnce(&Account<'_>) -> Result<Code>,
    ) -> Result<Code> {
        telling(&[], tool, speech, work)
    }

    /// Runs `work` of `tool`, and tells of it and of the backups in `dir`. Gives back what `work` does.
    ///
    /// # Errors
    /// That of `work`; before it, what is no URL, and a file that must not be written over.
    pub fn around(
        &self,
        tool: &'static str,
        dir: Option<&Path>,
        settings: &Settings,
        speech: &Speech,
        work: impl FnOnce(&Account<'_>) -> Result<Code>,
    ) -> Result<Code> {
        let targets = targets(&self.notify, settings)?;
        let metrics = Metrics::new(self.metrics.as_deref(), tool, dir)?;
        telling(&targets, tool, speech, |account| metrics.of(speech, || work(account)))
    }

    /// The same for a program that people look at things with: it tells those whom its command line names,
    /// and not those who are told of backups by `NOTIFY_URL`.
    ///
    /// # Errors
    /// Those of [`Telling::around`].
    pub fn when_asked(
        &self,
        tool: &'static str,
        speech: &Speech,
        work: impl FnOnce(&Account<'_>) -> Result<Code>,
    ) -> Result<Code> {
        self.around(tool, None, &Settings::default(), speech, work)
    }
}
