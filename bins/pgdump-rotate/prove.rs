//! Proof of a custom archive, which has neither checksum nor footer: unpacked from its first byte to
//! its last.

use kit::dump::scan::{Facts, Item, Scan};
use kit::exit::Result;
use kit::pg::archive_as_sql;
use kit::place::Part;
use kit::via::Via;

/// Has pg_restore unpack a custom archive to its end, and draws the facts from the SQL.
pub(crate) fn unpack(part: &Part, via: &Via, item: &mut dyn FnMut(Item)) -> Result<Facts> {
    let mut scan = Scan::default();
    archive_as_sql(via, part.file(), &part.path().display().to_string(), &mut |bytes| {
        scan.feed(bytes, item);
        Ok(())
    })?;
    Ok(scan.finish(item))
}
