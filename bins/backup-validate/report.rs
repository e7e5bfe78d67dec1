//! `--report`: what there is, how it was proven, what is wrong with it; for people, for CI, for programs.

use std::path::Path;

use kit::exit::Result;
use kit::{out, place};
use serde_json::Value;

use crate::cli::Form;
use crate::look::Look;

mod chart;
mod html;
mod junit;
mod log;
mod model;
mod page;
mod status;
mod words;

/// Writes one report to `file`, in one step; `-` is standard output. `judged`: the backups that this run has
/// looked at, as `--json` tells of them. `shown`: how the folder is called.
pub(crate) fn write(
    form: Form,
    file: &str,
    dir: &Path,
    shown: &str,
    look: &Look,
    judged: &[Value],
) -> Result<()> {
    let model = model::model(dir, shown, look, judged)?;
    let text = match form {
        Form::Html => page::page(&model),
        Form::Junit => junit::junit(&model),
        Form::Json => format!("{}\n", model.json()),
    };
    if file == "-" {
        let mut output = out::Output::new();
        output.write(text.as_bytes())?;
        return output.finish();
    }
    place::publish(Path::new(file), OURS, || Ok(text.into_bytes()))
}

/// Refuses a file that is there and is no report.
pub(crate) fn may_write(file: &str) -> Result<()> {
    place::may_publish(Path::new(file), OURS)
}

/// How reports begin, the last as [`model::Model::json`] does.
const OURS: &[&[u8]] = &[page::BEGIN.as_bytes(), junit::BEGIN.as_bytes(), b"{\"at\":\""];
