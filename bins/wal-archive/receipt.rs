//! What `push --ahead` remembers: that a file is stored and durable, so that the server's own call
//! for it answers at once.
//!
//! A receipt stands in the archive, `ahead/NAME`, so it is away when the archive is. It names the file
//! that was read and the file that was stored, by inode, size and times; a server does not write into
//! a file that is ready. A receipt that fits in any way less than fully is worth nothing, and the
//! file is pushed as any other. It is written when all it says is durable, and need not be so itself.
//!
//! To ask an object store for its receipts would take as long as to store: those stand beside the server's
//! log, for each store in a folder of its own, and name the object.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::place;
use kit::store::Place;
use kit::wal::archive::Archive;
use kit::wal::name::Name;
use xxhash_rust::xxh3::xxh3_64;

const FOLDER: &str = "ahead";
/// In `pg_wal`, at whose names the server does not look, and which base backups leave out.
const BESIDE: &str = ".pgkeep-stored";

/// Whether every archive holds a receipt for the file; they are used up by this.
pub(crate) fn redeem_all(path: &Path, name: Name, archives: &[PathBuf]) -> bool {
    let fits = |dir: &PathBuf| {
        let receipt = fs::read_to_string(folder(path, dir).join(name.to_string())).ok()?;
        (receipt == text(path, name, dir)?).then_some(())
    };
    let all = archives.iter().all(|dir| fits(dir).is_some());
    if all {
        for dir in archives {
            // what stays is overwritten, or fits nothing
            let _ = fs::remove_file(folder(path, dir).join(name.to_string()));
        }
    }
    all
}

/// Leaves receipts for a file that is stored in all archives. Without them the file is only pushed
/// once more, so nothing here can fail.
pub(crate) fn leave_all(path: &Path, name: Name, archives: &[PathBuf]) {
    for dir in archives {
        let folder = folder(path, dir);
        if let Some(text) = text(path, name, dir)
            && place::ensure_dir(&folder).is_ok()
        {
            let _ = fs::write(folder.join(name.to_string()), text);
        }
    }
}

/// Where the receipts of an archive stand.
fn folder(path: &Path, dir: &Path) -> PathBuf {
    match Place::is(dir) {
        true => {
            place::parent(path).join(BESIDE).join(format!("{:016x}", xxh3_64(dir.as_os_str().as_bytes())))
        }
        false => dir.join(FOLDER),
    }
}

fn text(path: &Path, name: Name, dir: &Path) -> Option<String> {
    let source = fs::metadata(path).ok()?;
    let stored = match Place::is(dir) {
        true => dir.join(name.to_string()).to_str()?.to_owned(),
        false => {
            let stored = Archive::open(dir).ok()?.find(name).ok()??;
            look(&fs::symlink_metadata(&stored.path).ok()?)
        }
    };
    let line = format!("{} {stored}", look(&source));
    // the digest tells a receipt that a crash left unwritten or half written
    Some(format!("{line} {:016x}\n", xxh3_64(line.as_bytes())))
}

fn look(m: &Metadata) -> String {
    format!(
        "{}:{} {} {}.{:09} {}.{:09}",
        m.dev(),
        m.ino(),
        m.size(),
        m.mtime(),
        m.mtime_nsec(),
        m.ctime(),
        m.ctime_nsec()
    )
}
