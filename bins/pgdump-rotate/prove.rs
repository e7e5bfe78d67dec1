//! Proof of a custom archive, which has neither checksum nor footer: unpacked from its first byte to
//! its last.

use kit::archive::{Archive, Input};
use kit::dump::scan::{Facts, Item, Scan};
use kit::exit::Result;
use kit::place::Part;

/// Unpacks a custom archive to its end, and draws the facts from its SQL.
pub(crate) fn unpack(part: &Part, item: &mut dyn FnMut(Item)) -> Result<Facts> {
    let mut scan = Scan::default();
    let archive = Archive::open(Input::File(part.file()), &part.path().display().to_string())?;
    archive.sql(&mut |bytes| {
        scan.feed(bytes, item);
        Ok(())
    })?;
    Ok(scan.finish(item))
}
