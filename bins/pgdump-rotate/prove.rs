//! Proof of a backup that has been written: read from its first byte to its last.

use std::process::Stdio;

use kit::child::{Child, interrupted};
use kit::codec::read::{Index, read};
use kit::codec::write::Written;
use kit::dump::scan::{Facts, Item, Scan};
use kit::exit::{Error, Result};
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

/// Has pg_restore turn a custom archive into SQL, to its end, and draws the facts from that: an
/// archive has no checksum and no footer, and its list alone cannot tell that its data is cut.
pub(crate) fn unpack(part: &Part, via: &Via, item: &mut dyn FnMut(Item)) -> Result<Facts> {
    let file = part.file().try_clone().map_err(|e| Error::io("read", part.path().display(), &e))?;
    std::io::Seek::rewind(&mut &file).map_err(|e| Error::io("read", part.path().display(), &e))?;
    let mut command = via.run("pg_restore").args(["--file=-"]).command();
    let mut child = Child::spawn(&mut command, "pg_restore", Stdio::from(file), Stdio::piped())?;
    let mut scan = Scan::default();
    if let Some(mut sql) = child.stdout() {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let n = std::io::Read::read(&mut sql, &mut buffer).map_err(|e| {
                interrupted().err().unwrap_or_else(|| Error::io("read from", "pg_restore", &e))
            })?;
            if n == 0 {
                break;
            }
            scan.feed(&buffer[..n], item);
        }
    }
    let ended = child.wait()?;
    if !ended.ok() {
        return Err(ended.error().within("the archive does not unpack"));
    }
    Ok(scan.finish(item))
}
