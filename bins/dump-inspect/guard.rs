//! `guard`: what in a dump a person must judge before it is restored.

use kit::digest::Depth;
use kit::dump::guard::Guard;
use kit::dump::scan::Scan;
use kit::exit::{Code, Error, Result};
use kit::source::Dump;

use crate::cli::Args;
use crate::records::Records;

/// Tells of each finding; 1 when there is any.
pub(crate) fn guard(dump: &Dump, args: &Args) -> Result<Code> {
    let mut records = Records::new(&["OFFSET", "WHAT", "TEXT"], args.json);
    let (mut found, mut guard) = (Vec::new(), Guard::default());
    let mut any = false;
    let mut scan = Scan::new(Depth::Skip);
    dump.whole(|bytes| {
        scan.feed_with(bytes, &mut |_| {}, &mut |event| guard.event(event, &mut |f| found.push(f)));
        for f in found.drain(..) {
            any = true;
            records.add(vec![f.at.into(), f.what.into(), f.text.into()])?;
        }
        Ok(())
    })?;
    let facts = scan.finish_with(&mut |_| {}, &mut |event| guard.event(event, &mut |f| found.push(f)));
    guard.finish(&mut |f| found.push(f));
    for f in found {
        any = true;
        records.add(vec![f.at.into(), f.what.into(), f.text.into()])?;
    }
    records.finish()?;
    if let Some(fault) = facts.fault(&dump.name).filter(|_| !facts.is_handmade()) {
        return Err(Error::no(fault).hint("What follows could not be judged."));
    }
    Ok(if any { Code::No } else { Code::Done })
}
