//! Recording a later proof: `verified` alone is written anew, every other byte stays as it is.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::keys::Place;
use super::seal::{LENGTH, Seal, Sealing, seal};
use super::{Verified, path_of};
use crate::child::pause;
use crate::exit::{Error, Result};
use crate::place::{self, open_regular};

/// How long to wait for another who records a proof of the same backup.
const PATIENCE: Duration = Duration::from_secs(10);

/// Enters `verified` into the manifest of `artifact`, durably and in one step. A seal that holds is
/// renewed, a broken one stays broken: what was changed must not become right by this.
///
/// # Errors
/// When the manifest cannot be read or written; another who does the same and does not end.
pub fn record(artifact: &Path, verified: &Verified) -> Result<()> {
    record_in(&path_of(artifact), artifact, verified)
}

/// The same for any record that has a field `verified`, at `path`; `artifact` is what it tells of.
///
/// # Errors
/// Those of [`record`].
pub fn record_in(path: &Path, artifact: &Path, verified: &Verified) -> Result<()> {
    let fail = |e: io::Error| Error::io("record the proof in", path.display(), &e);
    // the artifact itself is the lock: nobody else locks it, and it stays what it is
    let lock = open_regular(artifact).map_err(|e| Error::io("open", artifact.display(), &e))?;
    let give_up = Instant::now() + PATIENCE;
    while let Err(e) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if e != rustix::io::Errno::WOULDBLOCK || Instant::now() > give_up {
            return Err(fail(e.into()));
        }
        pause(Duration::from_millis(20))?;
    }
    let old = open_regular(path).map_err(fail)?;
    let length = old.metadata().map_err(fail)?.len();
    let held = seal(&old).map_err(fail)? == Seal::Holds;
    let end = if held { length - LENGTH } else { length };
    // looking at the seal has read it
    (&old).rewind().map_err(fail)?;
    let place = Place::find(BufReader::new(&old), "verified").map_err(fail)?;
    let place = place.ok_or_else(|| fail(io::Error::other("it is no manifest")))?;
    let text = serde_json::to_string_pretty(verified).map_err(|e| fail(e.into()))?.replace('\n', "\n  ");
    place::renew(path, &old, |part| {
        let mut out = Sealing::new(BufWriter::new(part));
        copy(&old, 0..place.value.start, &mut out)?;
        match place.is_there {
            true => write!(out, " {text}")?,
            false => write!(out, "\n  \"verified\": {text},")?,
        }
        copy(&old, place.value.end..end, &mut out)?;
        if held { out.finish() } else { out.flush() }
    })
}

/// Copies a stretch of a file; leaves the file where the stretch ends.
fn copy(mut file: &File, range: Range<u64>, out: &mut impl Write) -> io::Result<()> {
    file.seek(io::SeekFrom::Start(range.start))?;
    let wanted = range.end.saturating_sub(range.start);
    match io::copy(&mut file.take(wanted), out)? {
        n if n == wanted => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Manifest, Toc, path_of};
    use super::*;

    fn proof(ok: bool) -> Verified {
        Verified { at: "2026-01-27T00:00:00Z".into(), how: "check".into(), ok }
    }

    fn sealed(artifact: &Path) -> Seal {
        seal(&File::open(path_of(artifact)).unwrap()).unwrap()
    }

    #[test]
    fn nothing_but_the_proof_changes() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = dir.path().join("a.sql");
        std::fs::write(&artifact, "x").unwrap();
        let manifest = super::super::tests::sample();
        let mut toc = Toc::new(dir.path(), None);
        toc.add(&super::super::Item { name: "\"verified\": {".into(), ..Default::default() }).unwrap();
        manifest.place(&artifact, toc).unwrap();
        let before = std::fs::read_to_string(path_of(&artifact)).unwrap();
        assert_eq!(sealed(&artifact), Seal::Holds);
        for ok in [false, true] {
            record(&artifact, &proof(ok)).unwrap();
            assert_eq!(sealed(&artifact), Seal::Holds);
            let back = Manifest::of(&artifact).unwrap().unwrap();
            assert_eq!(back.verified.unwrap().ok, ok);
        }
        record(&artifact, &manifest.verified.unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(path_of(&artifact)).unwrap(), before);
    }

    #[test]
    fn a_broken_seal_stays_broken_and_none_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = dir.path().join("a.sql");
        std::fs::write(&artifact, "x").unwrap();
        super::super::tests::sample().place(&artifact, Toc::new(dir.path(), None)).unwrap();
        let text = std::fs::read_to_string(path_of(&artifact)).unwrap();
        std::fs::write(path_of(&artifact), text.replace("\"rows\": 2", "\"rows\": 3")).unwrap();
        record(&artifact, &proof(true)).unwrap();
        assert_eq!(sealed(&artifact), Seal::Broken);
        std::fs::write(path_of(&artifact), "{\"a\": [\"verified\"], \"b\": 1}").unwrap();
        record(&artifact, &proof(true)).unwrap();
        let text = std::fs::read_to_string(path_of(&artifact)).unwrap();
        assert_eq!(sealed(&artifact), Seal::None);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["verified"]["ok"], &value["b"]), (&true.into(), &1.into()));
    }
}
