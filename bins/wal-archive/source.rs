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
use kit::wal::history::History;
use kit::wal::name::{Lsn, Name, Segment, is_segment_size};

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
    /// Opens the file and holds its header against its name. The error within says why nothing was ever
    /// written to the file under this name, so that there is nothing to store.
    ///
    /// # Errors
    /// It cannot be read, or is not what its name says.
    pub(crate) fn open(path: &Path, name: Name) -> Result<std::result::Result<Self, Unwritten>> {
        let shown = path.display().to_string();
        let fail = |e| Error::io("read", &shown, &e);
        let file = place::open_regular(path).map_err(fail)?;
        let bytes = file.metadata().map_err(fail)?.len();
        let mut identity = Identity::fresh();
        if let Some(segment) = name.segment() {
            let mut first = Vec::with_capacity(LONG);
            (&file).take(LONG as u64).read_to_end(&mut first).map_err(fail)?;
            let checked = Header::parse(&first).and_then(|h| h.check(segment, bytes).map(|()| h));
            let header = match checked {
                Ok(header) => header,
                Err(wrong) => match unwritten(path, segment, bytes, &first) {
                    Some(left) => return Ok(Err(left)),
                    None => {
                        return Err(Error::refused(format!("cannot archive '{shown}' as {name}: {wrong}")));
                    }
                },
            };
            identity.system_identifier = Some(header.system_identifier.to_string());
            identity.segment_bytes = Some(header.segment_bytes);
        } else {
            identity.system_identifier = system(path);
        }
        Ok(Ok(Source { name, file, path: shown, bytes, identity }))
    }

    /// Whose it is, as far as that can be told.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A segment of a timeline that its server had left before it wrote to the file.
///
/// A server makes segments in advance, empty or out of older ones that it needs no more. A standby
/// that goes over to the next timeline keeps those of the last, and as a leader asks to have them
/// archived once their place in the log has passed (`RemoveOldXlogFiles` compares no timelines).
/// Refused, they would end its archiving for good; stored, they would stand in the way of the true
/// segment of that name, which another server may still bring.
pub(crate) struct Unwritten {
    name: Segment,
    left: Lsn,
}

impl std::fmt::Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unwritten { name, left } = self;
        write!(f, "{name} was made in advance and never written to: the log left its timeline at {left}")
    }
}

/// Whether the file is what its server made in advance, and left: by its beginning, and by the newest
/// history that stands beside it.
fn unwritten(path: &Path, name: Segment, bytes: u64, first: &[u8]) -> Option<Unwritten> {
    let older = || Header::parse(first).is_ok_and(|h| h.page.address < name.start(bytes));
    let ours = path.file_name()?.to_str()? == name.to_string();
    if !ours || !is_segment_size(bytes) || !(first.iter().all(|b| *b == 0) || older()) {
        return None;
    }
    let wal = place::parent(path);
    let histories = place::names(wal).ok()?.into_iter().filter_map(|n| match n.parse() {
        Ok(Name::History(timeline)) => Some((timeline, n)),
        _ => None,
    });
    let (timeline, file) = histories.max()?;
    let history = History::parse(timeline, &fs::read_to_string(wal.join(file)).ok()?).ok()?;
    Some(Unwritten { name, left: history.left(name, bytes)? })
}

/// The system identifier in the control file of the data directory that holds `pg_wal/NAME`: the
/// first eight bytes (`pg_control.h`), in decimal. Histories and labels carry none of their own.
pub(crate) fn system(path: &Path) -> Option<String> {
    // by name: `pg_wal` may be a link to elsewhere
    let data = place::parent(place::parent(path));
    let bytes = fs::read(data.join(control::FILE)).ok()?;
    Some(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?).to_string())
}
