//! Proof of a backup that has been written: read from its first byte to its last.

use kit::codec::read::{Index, read};
use kit::codec::write::Written;
use kit::dump::scan::{Facts, Item, Scan};
use kit::exit::{Error, Result};
use kit::pg::archive_as_sql;
use kit::place::Part;
use kit::via::Via;

/// Reads the file back on all cores: every piece must inflate to what went into it (its own
/// checksum tells), and the whole must have the digest of what was written.
pub(crate) fn read_back(part: &Part, written: &Written) -> Result<()> {
    let name = part.path().display().to_string();
    let index = Index { frames: &written.frames, raw_bytes: written.raw_bytes };
    let seen = read(part.file(), &name, Some(index), |_| Ok(()))?;
    if (seen.bytes, seen.raw_bytes, &seen.sha256) != (written.bytes, written.raw_bytes, &written.sha256) {
        return Err(Error::no(format!("'{name}' does not read back as it was written"))
            .hint("The disk, its cable or the memory is failing."));
    }
    Ok(())
}

/// Has pg_restore unpack a custom archive to its end, and draws the facts from the SQL.
pub(crate) fn unpack(part: &Part, via: &Via, item: &mut dyn FnMut(Item)) -> Result<Facts> {
    let mut scan = Scan::default();
    archive_as_sql(via, part.file(), &part.path().display().to_string(), &mut |bytes| {
        scan.feed(bytes, item);
        Ok(())
    })?;
    Ok(scan.finish(item))
}
