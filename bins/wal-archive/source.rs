//! A file that the server wants archived, looked at before it is stored: is it what its name says,
//! and whose is it?

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use kit::exit::{Error, Result};
use kit::place;
use kit::volume::control;
use kit::wal::archive::Identity;
use kit::wal::header::{Header, LONG};
use kit::wal::name::Name;

/// A file to store.
pub(crate) struct Source {
    pub(crate) name: Name,
    pub(crate) file: File,
    /// Its path, for messages.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Whose it is, as far as that can be told.
    identity: Identity,
}

impl Source {
    /// Opens the file and holds its header against its name.
    ///
    /// # Errors
    /// It cannot be read, or is not what its name says.
    pub(crate) fn open(path: &Path, name: Name) -> Result<Self> {
        let shown = path.display().to_string();
        let fail = |e| Error::io("read", &shown, &e);
        let file = place::open_regular(path).map_err(fail)?;
        let bytes = file.metadata().map_err(fail)?.len();
        let mut identity = Identity::fresh();
        if let Some(segment) = name.segment() {
            let mut first = Vec::with_capacity(LONG);
            (&file).take(LONG as u64).read_to_end(&mut first).map_err(fail)?;
            let checked = Header::parse(&first).and_then(|h| h.check(segment, bytes).map(|()| h));
            let header =
                checked.map_err(|e| Error::refused(format!("cannot archive '{shown}' as {name}: {e}")))?;
            identity.system_identifier = Some(header.system_identifier.to_string());
            identity.segment_bytes = Some(header.segment_bytes);
        } else {
            identity.system_identifier = system(path);
        }
        Ok(Source { name, file, path: shown, bytes, identity })
    }

    /// Whose it is, as far as that can be told.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// The system identifier in the control file of the data directory that holds `pg_wal/NAME`: the
/// first eight bytes (`pg_control.h`), in decimal. Histories and labels carry none of their own.
pub(crate) fn system(path: &Path) -> Option<String> {
    // by name: `pg_wal` may be a link to elsewhere
    let data = place::parent(place::parent(path));
    let bytes = fs::read(data.join(control::FILE)).ok()?;
    Some(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?).to_string())
}
