//! The history of drills: a line for each in `drills.jsonl` beside the backups.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use kit::exit::{Error, Result};
use kit::place;
use kit::stamp::Stamp;
use serde_json::Value;

/// The name of the file.
pub(crate) const NAME: &str = "drills.jsonl";

/// Adds a drill of the backup `artifact`. Lines are short and written in one piece, so that two drills
/// that end together do not mix theirs.
pub(super) fn add(artifact: &Path, mut drill: Value, faults: &[Error]) -> Result<()> {
    let path = place::parent(artifact).join(NAME);
    drill["at"] = Stamp::now().to_string().into();
    drill["name"] = artifact.file_name().map(|n| n.to_string_lossy().into_owned()).into();
    drill["faults"] = faults.iter().map(ToString::to_string).collect::<Vec<_>>().into();
    let mut open = OpenOptions::new();
    let file = open.create(true).append(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(format!("{drill}\n").as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|e| Error::io("write", path.display(), &e))
}
