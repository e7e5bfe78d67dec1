//! `guard`: what in a dump a person must judge before it is restored.

use kit::dump::guard::Guard;
use kit::exit::{Code, Result};
use kit::source::Dump;

use crate::cli::Args;
use crate::records::Records;

/// Tells of each finding; 1 when there is any.
pub(crate) fn guard(dump: &Dump, args: &Args) -> Result<Code> {
    let mut records = Records::new(&["OFFSET", "WHAT", "TEXT"], args.json);
    let (mut found, mut guard) = (Vec::new(), Guard::default());
    let mut any = false;
    dump.whole(|bytes| {
        guard.feed(bytes, &mut |finding| found.push(finding));
        for f in found.drain(..) {
            any = true;
            records.add(vec![f.at.into(), f.what.into(), f.text.into()])?;
        }
        Ok(())
    })?;
    guard.finish(&mut |finding| found.push(finding));
    for f in found {
        any = true;
        records.add(vec![f.at.into(), f.what.into(), f.text.into()])?;
    }
    records.finish()?;
    Ok(if any { Code::No } else { Code::Done })
}
