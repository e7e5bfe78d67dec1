//! What `push --ahead` remembers: that a file is stored and durable, so that the server's own call
//! for it answers at once.
//!
//! A receipt stands in the archive, `ahead/NAME`, so it is away when the archive is. It names the file
//! that was read and the file that was stored, by inode, size and times; a server does not write into
//! a file that is ready. A receipt that fits in any way less than fully is worth nothing, and the
//! file is pushed as any other. It is written when all it says is durable, and need not be so itself.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::place;
use kit::wal::archive::Archive;
use kit::wal::name::Name;
use xxhash_rust::xxh3::xxh3_64;

const FOLDER: &str = "ahead";

/// Whether every archive holds a receipt for the file; they are used up by this.
pub(crate) fn redeem_all(path: &Path, name: Name, archives: &[PathBuf]) -> bool {
    let fits = |dir: &PathBuf| {
        let receipt = fs::read_to_string(dir.join(FOLDER).join(name.to_string())).ok()?;
        (receipt == text(path, name, dir)?).then_some(())
    };
    let all = archives.iter().all(|dir| fits(dir).is_some());
    if all {
        for dir in archives {
            // what stays is overwritten, or fits nothing
            let _ = fs::remove_file(dir.join(FOLDER).join(name.to_string()));
        }
    }
    all
}

/// Leaves receipts for a file that is stored in all archives. Without them the file is only pushed
/// once more, so nothing here can fail.
pub(crate) fn leave_all(path: &Path, name: Name, archives: &[PathBuf]) {
    for dir in archives {
        let folder = dir.join(FOLDER);
        if let Some(text) = text(path, name, dir)
            && place::ensure_dir(&folder).is_ok()
        {
            let _ = fs::write(folder.join(name.to_string()), text);
        }
    }
}

fn text(path: &Path, name: Name, dir: &Path) -> Option<String> {
    let source = fs::metadata(path).ok()?;
    let stored = Archive::open(dir).ok()?.find(name).ok()??;
    let line = format!("{} {}", look(&source), look(&fs::symlink_metadata(&stored.path).ok()?));
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
