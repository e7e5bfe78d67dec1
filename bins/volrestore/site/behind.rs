//! The directory of an engine's volume and what is beside it, through a shell in a container that has the folder of
//! both: it is started when it is needed first, and ends with us.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kit::child::{Sink, Source, interrupted};
use kit::exit::{Error, Result};
use kit::out;
use kit::stamp::Stamp;
use kit::volume::helper::{Helper, Running};
use xxhash_rust::xxh3::xxh3_64;

use super::{Disk, of_its_own};

/// As much of a file as is looked at, in bytes: more than any control file or configuration has.
const KEPT: u64 = 64 << 10;

/// Names in a folder, durably.
const SYNC: &str = "sync \"$1\" 2>/dev/null || sync";

/// A folder of the engine's.
pub(crate) struct Behind {
    helper: Helper,
    folder: PathBuf,
    shell: Mutex<Option<Shell>>,
}

/// A shell at work. What it is fed ends first.
struct Shell {
    stdin: Sink,
    stdout: Source,
    running: Running,
    /// What stands behind each of its answers; files cannot hold it by chance or will.
    mark: String,
}

impl Behind {
    /// Of the folder that holds the volume's directory.
    pub(super) fn new(helper: Helper, folder: &Path) -> Self {
        Behind { helper: helper.at(folder), folder: folder.to_owned(), shell: Mutex::new(None) }
    }

    /// How the folder is reached.
    pub(crate) fn helper(&self) -> &Helper {
        &self.helper
    }

    /// Refuses a volume whose directory is not the one that the engine mounts, or cannot change its name.
    pub(super) fn is_replaceable(&self, live: &Path) -> Result<()> {
        let script = "\
            if [ ! -d \"$1\" ] || [ -L \"$1\" ]; then echo 'it is no directory'; exit 1; fi; stat -c %d:%i . \"$1\"";
        let ours = self.ask("replace", live, script, &[live])?;
        let of_volume = self.helper.volume().identity()?;
        let mut ours = ours.split_whitespace();
        let (parent, own) = (ours.next().unwrap_or_default(), ours.next().unwrap_or_default());
        let device = |id: &str| id.split(':').next().unwrap_or_default().to_owned();
        if device(parent) != device(&of_volume) {
            return Err(of_its_own(live).hint(self.elsewhere()));
        }
        if own != of_volume {
            return Err(Error::refused(format!(
                "cannot replace '{}': that is not the directory that {} has in a container",
                live.display(),
                self.helper.place()
            ))
            .hint("Run this as root, on the machine of the engine.")
            .hint(self.elsewhere()));
        }
        Ok(())
    }

    /// What can be done without it.
    fn elsewhere(&self) -> String {
        let place = self.helper.place().to_string();
        let engine = place.split(':').next().unwrap_or_default();
        format!("Or restore into a volume that is not there yet: LABEL={engine}:NEW.")
    }

    pub(super) fn there(&self, path: &Path) -> Result<bool> {
        let script = "if [ -e \"$1\" ] || [ -L \"$1\" ]; then echo there; fi";
        Ok(!self.ask("look for", path, script, &[path])?.trim().is_empty())
    }

    pub(super) fn names(&self, dir: &Path) -> Result<Vec<String>> {
        let script = "if [ -d \"$1\" ]; then cd \"$1\" && find . -mindepth 1 -maxdepth 1; fi";
        let found = self.ask("list", dir, script, &[dir])?;
        let mut names: Vec<String> =
            found.lines().filter_map(|l| l.strip_prefix("./")).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let script = "\
            if [ -e \"$2\" ] || [ -L \"$2\" ]; then echo \"'$2' is there\"; false; else mv \"$1\" \"$2\"; fi";
        self.ask("rename", from, script, &[from, to]).map(drop)
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.ask("sync", dir, SYNC, &[dir]).map(drop)
    }

    pub(super) fn remove_tree(&self, path: &Path) -> Result<()> {
        self.ask("remove", path, "rm -rf \"$1\"", &[path]).map(drop)
    }

    pub(super) fn empty(&self, dir: &Path) -> Result<()> {
        let script = "find \"$1\" -mindepth 1 -maxdepth 1 -exec rm -rf {} +";
        self.ask("empty", dir, script, &[dir]).map(drop)
    }

    pub(super) fn empty_like(&self, live: &Path, new: &Path) -> Result<()> {
        let script = "\
            owner=$(stat -c %u:%g \"$1\") && mode=$(stat -c %a \"$1\") &&\n\
            mkdir \"$2\" && chown \"$owner\" \"$2\" && chmod \"$mode\" \"$2\"";
        self.ask("create", new, script, &[live, new]).map(drop)
    }

    /// Makes a directory that is to be filled.
    pub(crate) fn make(&self, new: &Path) -> Result<()> {
        self.ask("create", new, "mkdir -m 700 \"$1\"", &[new]).map(drop)
    }

    pub(super) fn disk(&self) -> Result<Disk> {
        let path = self.folder.clone();
        let said = self.ask("read", &path, "stat -c %d . && df -P -k . | tail -n 1", &[])?;
        let mut words = said.split_whitespace();
        let device = words.next().and_then(|word| word.parse().ok());
        // behind the device's name, all and what is used
        let free = words.nth(3).and_then(|word| word.parse::<u64>().ok());
        match (device, free) {
            (Some(device), Some(kib)) => Ok(Disk { device, free: kib.saturating_mul(1024), path }),
            _ => Err(self.strange(&path, &said)),
        }
    }

    pub(super) fn used(&self, dir: &Path) -> Result<u64> {
        let script = "\
            find \"$1\" -mindepth 1 \\( -type d -o -links 1 \\) -exec stat -c %b {} + | {\n\
            all=0; while read -r n; do all=$((all + n)); done; echo \"$all\"; }";
        let said = self.ask("read", dir, script, &[dir])?;
        let blocks = said.trim().parse::<u64>().map_err(|_| self.strange(dir, &said))?;
        Ok(blocks.saturating_mul(512))
    }

    /// The beginning of a regular file; `None`: it is not there.
    pub(super) fn bytes(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let script = format!("if [ -f \"$1\" ]; then echo :; head -c {KEPT} \"$1\" | od -A n -v -t x1; fi");
        let said = self.ask("read", path, &script, &[path])?;
        let mut words = said.split_whitespace();
        if words.next().is_none() {
            return Ok(None);
        }
        let bytes: Option<Vec<u8>> = words.map(|word| u8::from_str_radix(word, 16).ok()).collect();
        bytes.map(Some).ok_or_else(|| self.strange(path, &said))
    }

    fn strange(&self, thing: &Path, said: &str) -> Error {
        Error::no(format!(
            "cannot read '{}': image '{}' said '{}'",
            thing.display(),
            self.helper.image(),
            out::plain(said.trim())
        ))
    }

    /// What the shell prints when it does `script` with the paths as its words, in the folder that holds the
    /// volume's directory.
    fn ask(&self, verb: &str, thing: &Path, script: &str, paths: &[&Path]) -> Result<String> {
        let mut words = String::new();
        for path in paths {
            let below = path.strip_prefix(&self.folder).map_err(|_| {
                Error::no(format!("cannot {verb} '{}': it is not beside the volume", thing.display()))
            })?;
            words.push_str(&quoted(&Path::new(".").join(below)));
        }
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at_work = match shell.take() {
            Some(shell) => shell,
            None => Shell::start(&self.helper)?,
        };
        let answer = at_work.answer(&format!("(set --{words}\n{script}\n) </dev/null 2>&1"));
        let (said, status) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // the next begins another
                interrupted()?;
                return Err(at_work.end().err().unwrap_or_else(|| Error::io(verb, thing.display(), &error)));
            }
        };
        *shell = Some(at_work);
        let fail = || format!("cannot {verb} '{}': {}", thing.display(), out::plain(said.trim()));
        match status {
            0 => Ok(said),
            126 | 127 => Err(Error::refused(fail()).hint("Name an image that has that with --helper.")),
            _ if said.contains("No space left on device") => Err(Error::temporary(fail())),
            _ => Err(Error::no(fail())),
        }
    }
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Shell {
    fn start(helper: &Helper) -> Result<Self> {
        let mut running = helper.shell()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = format!("{} {} {}", std::process::id(), now.as_nanos(), Stamp::now().compact());
        let mark = format!("{:016x}", xxh3_64(seed.as_bytes()));
        Ok(Shell { stdin: running.stdin()?, stdout: running.stdout()?, running, mark })
    }

    /// What it prints, and the status that it ends with.
    fn answer(&mut self, script: &str) -> std::io::Result<(String, i32)> {
        self.stdin.write_all(format!("{script}\nprintf '\\n%s %s\\n' {} $?\n", self.mark).as_bytes())?;
        let (begin, mut said, mut chunk) = (format!("\n{} ", self.mark), Vec::new(), [0; 4096]);
        loop {
            let n = self.stdout.read(&mut chunk)?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            said.extend_from_slice(&chunk[..n]);
            if said.ends_with(b"\n")
                && let Some(at) = find_last(&said, begin.as_bytes())
            {
                let status = String::from_utf8_lossy(&said[at + begin.len()..]).trim().parse();
                said.truncate(at);
                let said = String::from_utf8_lossy(&said).into_owned();
                return Ok((said, status.map_err(std::io::Error::other)?));
            }
        }
    }

    /// Why it ended.
    fn end(self) -> Result<()> {
        let Shell { stdin, stdout, running, .. } = self;
        drop((stdin, stdout));
        running.end().map(drop)
    }
}

fn find_last(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|window| window == what)
}

/// A word of a shell's, behind a space.
fn quoted(path: &Path) -> String {
    format!(" '{}'", path.display().to_string().replace('\'', "'\\''"))
}
