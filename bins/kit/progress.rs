//! One line of progress on a terminal: bytes, rate, and what is being worked on.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out;

/// A line that moves on standard error when that is a terminal, and is silent elsewhere.
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts the line. `total` bytes where they are known, for percent and time left.
    pub fn start(verb: &str, total: Option<u64>, quiet: bool) -> Self {
        if quiet || !out::stderr_is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
        let rest = if total.is_some() { "of {binary_total_bytes} {percent:>3}%, {eta} left" } else { "" };
        let line = format!("{verb} {{binary_bytes}} {rest} {{binary_bytes_per_sec}} {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&line) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Progress(bar)
    }

    /// `bytes` more are done.
    pub fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// What is being worked on now, such as a table.
    pub fn at(&self, what: &str) {
        if !self.0.is_hidden() {
            self.0.set_message(out::plain(what));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
