//! What is looked at in a volume before it is read, brought here from behind a [`Helper`]: as a directory that
//! holds the few files that tell what the volume is.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::volume::entry::relative;
use kit::volume::helper::Helper;
use kit::volume::tar::{Entry, Kind, Reader, Sink};
use tempfile::TempDir;

/// Of each data directory its control file and its links, else one segment of WAL, by the depths that
/// `kit::volume::live` and [`crate::inspect`] look to. Names with a line's end in them are passed over.
/// `postmaster.pid` is not asked: its number counts in another container, and no container runs.
const SCRIPT: &str = "\
IFS='
'
set -f
x='[0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F]'
found=$(find . -maxdepth 5 -path '*/global/pg_control') || exit
for control in $found; do
  links=$(find \"${control%/global/pg_control}\" -maxdepth 2 -type l) || exit
  set -- \"$@\" \"$control\" $links
done
if [ $# = 0 ]; then
  found=$(find . -maxdepth 2 -type f -name \"$x$x$x$x*\") || exit
  for segment in $found; do set -- \"$segment\"; done
fi
tar -c --no-recursion -f - . \"$@\"";

/// As much of each file as is looked at, in bytes.
const KEPT: usize = 8192;

/// Makes the directory, which goes with what is given back.
pub(crate) fn sketch(helper: &Helper) -> Result<TempDir> {
    let fail = |e| Error::io("create", "a temporary directory", &e);
    let dir = tempfile::Builder::new().prefix("volsnap-").tempdir().map_err(fail)?;
    let mut running = helper.read(SCRIPT)?;
    let mut stdout = running.stdout()?;
    let (mut reader, mut files) = (Reader::default(), Files::new(dir.path()));
    let mut chunk = vec![0; 64 << 10];
    let read = loop {
        match stdout.read(&mut chunk).map_err(|e| Error::io("read from", "the helper container", &e)) {
            Ok(0) => break reader.finish(),
            Ok(n) => {
                if let Err(e) = reader.feed(&chunk[..n], &mut files) {
                    break Err(e);
                }
            }
            Err(e) => break Err(kit::child::interrupted().err().unwrap_or(e)),
        }
    };
    drop(stdout);
    // why it ended says more than where its output did
    running.end()?;
    read?;
    // last of all, so that nothing is written through one
    for (path, target) in files.links {
        symlink(&target, &path).map_err(|e| Error::io("create", path.display(), &e))?;
    }
    Ok(dir)
}

/// Makes files below a directory.
struct Files<'a> {
    root: &'a Path,
    now: Option<PathBuf>,
    content: Vec<u8>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl<'a> Files<'a> {
    fn new(root: &'a Path) -> Self {
        Files { root, now: None, content: Vec::new(), links: Vec::new() }
    }
}

impl Sink for Files<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        let path = self.root.join(relative(&entry.path).map_err(Error::no)?);
        if let Some(parent) = path.parent().filter(|parent| parent.starts_with(self.root)) {
            fs::create_dir_all(parent).map_err(|e| Error::io("create", parent.display(), &e))?;
        }
        match entry.kind {
            Kind::File => self.now = Some(path),
            Kind::Symlink => self.links.push((path, String::from_utf8_lossy(&entry.link).as_ref().into())),
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, _: u64, bytes: &[u8]) -> Result<()> {
        let n = bytes.len().min(KEPT - self.content.len());
        self.content.extend_from_slice(&bytes[..n]);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let content = std::mem::take(&mut self.content);
        let Some(path) = self.now.take() else { return Ok(()) };
        fs::write(&path, content).map_err(|e| Error::io("write", path.display(), &e))
    }
}
