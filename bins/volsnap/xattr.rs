//! Extended attributes, as tar keeps them: SELinux labels, ACLs, what users set.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr, llistxattr_query};
use rustix::io::Errno;

/// Linux has no longer list and no larger value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MOST: usize = 64 << 10;

/// Name and value of each attribute; none where the file system has none.
pub(crate) fn of(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // the size is asked first: it is nothing for nearly all files
    match llistxattr_query(path) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(e) => return Err(e.into()),
    }
    let mut names = vec![0; MOST];
    let n = llistxattr(path, names.as_mut_slice())?;
    let mut found = Vec::new();
    for name in names[..n].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; MOST];
        match lgetxattr(path, std::ffi::OsStr::from_bytes(name), value.as_mut_slice()) {
            Ok(n) => {
                value.truncate(n);
                found.push((name.to_vec(), value));
            }
            // removed meanwhile, or of a kind that only others may read
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(found)
}
