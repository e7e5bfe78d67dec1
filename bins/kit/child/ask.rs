//! Questions to a person, who may also press ctrl-C.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::event::PollFlags;

use super::signals::{interrupted, wait_for};
use crate::exit::{Error, Result};

/// Asks on standard error and reads one line of standard input, without blanks around it; nothing behind
/// the line is read. `None` at the end of input.
///
/// # Errors
/// A signal that comes meanwhile.
pub fn ask(question: &str) -> Result<Option<String>> {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
    let fail = |e| Error::io("read", "standard input", &e);
    let (input, mut line, mut byte) = (io::stdin(), Vec::new(), [0]);
    while !line.ends_with(b"\n") {
        // a read that waits goes on waiting after a signal
        wait_for(Some((input.as_fd(), PollFlags::IN)), None).map_err(fail)?;
        if let Err(signal) = interrupted() {
            // behind what the terminal shows of the keys
            let _ = writeln!(stderr);
            return Err(signal);
        }
        match rustix::io::read(&input, &mut byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(fail(e.into())),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}
