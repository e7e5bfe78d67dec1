//! `guard`: what in a dump a person must judge before it is restored.

use kit::digest::Depth;
use kit::dump::guard::{Finding, Guard};
use kit::dump::scan::Scan;
use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::source::Dump;

use crate::cli::Args;
use crate::records::Records;

/// So many findings are told to those whom `--notify` names.
const TOLD: usize = 20;

/// Tells of each finding; 1 when there is any.
pub(crate) fn guard(dump: &Dump, args: &Args, account: &Account<'_>) -> Result<Code> {
    let mut records = Records::new(&["OFFSET", "WHAT", "TEXT"], args.json);
    let mut told = Vec::new();
    let mut tell = |found: &mut Vec<Finding>| {
        for f in found.drain(..) {
            if told.len() < TOLD {
                told.push(format!("{}: {}", f.what, f.text));
            }
            records.add(vec![f.at.into(), f.what.into(), f.text.into()])?;
        }
        Ok(())
    };
    let (mut found, mut guard) = (Vec::new(), Guard::default());
    let mut scan = Scan::new(Depth::Skip);
    dump.whole(|bytes| {
        scan.feed_with(bytes, &mut |_| {}, &mut |event| guard.event(event, &mut |f| found.push(f)));
        tell(&mut found)
    })?;
    let facts = scan.finish_with(&mut |_| {}, &mut |event| guard.event(event, &mut |f| found.push(f)));
    guard.finish(&mut |f| found.push(f));
    tell(&mut found)?;
    records.finish()?;
    told.iter().for_each(|line| account.note(line));
    if let Some(fault) = facts.fault(&dump.name).filter(|_| !facts.is_handmade()) {
        return Err(Error::no(fault).hint("What follows could not be judged."));
    }
    Ok(if told.is_empty() { Code::Done } else { Code::No })
}
