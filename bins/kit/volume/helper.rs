//! A container beside a named volume: whoever may use the engine reaches the volume's files through it,
//! where only root may enter the directory that the engine keeps them in; and that directory itself.
//!
//! It has no network and no right but the one that it needs, and its image is never fetched by itself. It ends with
//! whoever started it, however he ends: it watches its standard input.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Place;
use super::engine::ask;
use crate::child::{Child, Ended, Sink, Source};
use crate::exit::{Code, Error, Result};
use crate::settings::Settings;

/// The image where none is named: GNU tar, which keeps holes, attributes and fractions of a second.
pub const IMAGE: &str = "debian:bookworm-slim";

/// Where the volume is in the container.
pub const INSIDE: &str = "/volume";

/// The label by which a container is known as one of a folder's.
const LABEL: &str = "pgkeep.folder";

/// A tar of all of the volume. GNU tar keeps more than busybox, if it is told to.
pub const PACK: &str = "\
if tar --version 2>/dev/null | grep -q GNU; then
  set -- --format=posix --sparse --sparse-version=0.1 --xattrs '--xattrs-include=*'
fi
tar -c \"$@\" -f - .";

/// The opposite, durably.
const UNPACK: &str = "\
cd /volume || exit
if tar --version 2>/dev/null | grep -q GNU; then set -- --xattrs '--xattrs-include=*'; fi
tar -x \"$@\" -f - && sync";

/// What GNU tar and busybox say of a file that somebody writes to.
const CHANGED: [&str; 4] =
    ["file changed as we read it", "File removed before we read it", "File shrank by", "short read"];

/// How the files of one volume are reached.
#[derive(Clone, Debug)]
pub struct Helper {
    place: Place,
    engine: &'static str,
    volume: String,
    /// A directory of the engine's machine that is mounted in the volume's stead.
    folder: Option<PathBuf>,
    image: String,
    label: String,
}

/// A container at work.
pub struct Running {
    helper: Helper,
    /// What it does, for messages.
    verb: &'static str,
    child: Child,
    /// Closed, it ends the container.
    stdin: Option<Sink>,
}

impl Helper {
    /// Of a volume of an engine's. What it starts is known as that of `folder`, whose lock the caller has.
    ///
    /// # Errors
    /// Refused where the image is not there: it is for people to fetch it.
    pub fn new(place: &Place, image: &str, folder: &Path) -> Result<Self> {
        let Some((engine, volume)) = place.engine() else {
            return Err(Error::no(format!("{place} is no volume of an engine")));
        };
        ask(engine, &["image", "inspect", "--format", "{{.Id}}", "--", image]).map_err(|e| match e.code() {
            Code::No => Error::refused(format!(
                "cannot reach the files of {place}: only root may, and image '{image}' is not there to do it in a container"
            ))
            .hint(format!("{engine} pull {image}"))
            .hint("Or name an image with sh, find and tar that is there with --helper, or run this as root."),
            _ => e,
        })?;
        let label = label(folder);
        let (place, volume, image) = (place.clone(), volume.to_owned(), image.to_owned());
        Ok(Helper { place, engine, volume, folder: None, image, label })
    }

    /// The same of a directory of the engine's machine, which is there: one beside the volume's, or that of both.
    #[must_use]
    pub fn at(&self, folder: &Path) -> Self {
        Helper { folder: Some(folder.to_owned()), ..self.clone() }
    }

    /// The same of the volume itself.
    #[must_use]
    pub fn volume(&self) -> Self {
        Helper { folder: None, ..self.clone() }
    }

    /// The volume.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The image.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Ends the containers that somebody left behind who was killed; the folder's lock is held.
    pub fn sweep(place: &Place, folder: &Path) -> Result<()> {
        let Some((engine, _)) = place.engine() else { return Ok(()) };
        let filter = format!("label={}", label(folder));
        for id in ask(engine, &["ps", "-aq", "--filter", &filter])? {
            // it may end by itself meanwhile
            let _ = ask(engine, &["rm", "-f", &id]);
        }
        Ok(())
    }

    /// Starts a container that reads the volume by a shell's `script`, and ends with its standard input.
    ///
    /// # Errors
    /// The volume is gone: the engine would make an empty one.
    pub fn read(&self, script: &str) -> Result<Running> {
        if self.place.mountpoint()?.is_none() {
            return Err(Error::no(format!("there is no volume {}", self.place)));
        }
        // the first process of a container ends by no signal that it does not ask for
        let script = format!(
            "trap 'exit 143' TERM INT HUP; exec 3<&0; cd {INSIDE} || exit\n\
            work() {{\n{script}\n}}\nwork </dev/null 3<&- & pid=$!\n\
            {{ cat <&3 >/dev/null; kill $pid; }} & wait $pid"
        );
        self.start("read", "ro", &["DAC_READ_SEARCH"], &script)
    }

    /// Bytes on the disk of all that is in the volume.
    ///
    /// # Errors
    /// Those of [`Helper::read`]; the image has no `du`.
    pub fn size(&self) -> Result<u64> {
        let said = self.told("du -sk .")?;
        let kib = said.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
        kib.map(|kib| kib.saturating_mul(1024))
            .ok_or_else(|| Error::no(format!("cannot tell how large {} is: '{}'", self.place, said.trim())))
    }

    /// The device and the number of the volume's directory, as `DEVICE:NUMBER`: none other on the engine's machine has
    /// the same.
    ///
    /// # Errors
    /// Those of [`Helper::read`]; the image has no `stat`.
    pub fn identity(&self) -> Result<String> {
        Ok(self.told("stat -c %d:%i .")?.trim().to_owned())
    }

    /// What a script that reads prints.
    fn told(&self, script: &str) -> Result<String> {
        let mut running = self.read(script)?;
        let mut said = String::new();
        running.stdout()?.read_to_string(&mut said).map_err(|e| Error::io("read from", self.engine, &e))?;
        running.end()?;
        Ok(said)
    }

    /// Starts a container that fills the volume with the tar on its standard input.
    pub fn unpack(&self) -> Result<Running> {
        self.start("fill", "rw", &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"], UNPACK)
    }

    /// Starts a shell in the volume that may change it. It does what its standard input says, and ends with that.
    pub fn shell(&self) -> Result<Running> {
        let script = format!("cd {INSIDE} && exec sh -s");
        self.start("change", "rw", &["CHOWN", "DAC_OVERRIDE", "FOWNER"], &script)
    }

    fn start(&self, verb: &'static str, mode: &str, may: &[&str], script: &str) -> Result<Running> {
        let mut command = Command::new(self.engine);
        command.args(["run", "--rm", "-i", "--pull=never", "--network=none", "--read-only", "--user=0:0"]);
        // an engine's log would hold all that is read
        command.args(["--log-driver=none", "--cap-drop=ALL"]);
        command.args(may.iter().map(|right| format!("--cap-add={right}")));
        match &self.folder {
            None => command.args(["--volume", &format!("{}:{INSIDE}:{mode},nocopy", self.volume)]),
            // one that is not there is an error then, where `--volume` makes it
            Some(folder) => {
                let only = if mode == "ro" { ",readonly" } else { "" };
                command.arg(format!("--mount=type=bind,source={},target={INSIDE}{only}", folder.display()))
            }
        };
        command.args(["--label", &self.label, "--entrypoint=sh", "--", &self.image, "-c", script]);
        let mut child = Child::spawn(&mut command, self.engine, Stdio::piped(), Stdio::piped())?;
        let stdin = child.stdin();
        Ok(Running { helper: self.clone(), verb, child, stdin })
    }

    fn failed(&self, verb: &str, ended: &Ended) -> Error {
        let place = &self.place;
        if ended.stderr.iter().any(|line| CHANGED.iter().any(|words| line.contains(words))) {
            return Error::temporary(format!(
                "cannot read {place}: it changed meanwhile: something writes to the volume"
            ))
            .hint("Stop it with --services, or with --stop and --start.");
        }
        match ended.status.code() {
            Some(126 | 127) => {
                let last = ended.stderr.iter().find(|l| l.contains("not found")).map_or("", String::as_str);
                Error::refused(format!("image '{}' cannot {verb} {place}: {last}", self.image))
                    .hint("Name one that has sh, find and tar with --helper.")
            }
            _ => {
                let error = ended.error().within(format!("cannot {verb} {place}"));
                // busybox, of a file with holes
                match ended.stderr.iter().any(|line| line.contains("unknown typeflag")) {
                    true => error.hint("Name an image with GNU tar with --helper."),
                    false => error,
                }
            }
        }
    }
}

impl Running {
    /// What it writes, once.
    pub fn stdout(&mut self) -> Result<Source> {
        self.child.stdout().ok_or_else(|| Error::no(format!("cannot read from {}", self.helper.engine)))
    }

    /// The writing end of its standard input, once, whose end is the caller's from then on.
    pub fn stdin(&mut self) -> Result<Sink> {
        self.stdin.take().ok_or_else(|| Error::no(format!("cannot write to {}", self.helper.engine)))
    }

    /// Waits for its end, when all has been read that it wrote; gives back the last lines that it said.
    pub fn end(self) -> Result<Vec<String>> {
        let Running { helper, verb, child, stdin } = self;
        let ended = child.wait()?;
        drop(stdin);
        if ended.ok() { Ok(ended.stderr) } else { Err(helper.failed(verb, &ended)) }
    }
}

/// The image that the command line names, else the settings, else [`IMAGE`].
pub fn image<'a>(option: Option<&'a str>, settings: &'a Settings) -> &'a str {
    option.or(settings.get("BACKUP_HELPER_IMAGE")).unwrap_or(IMAGE)
}

fn label(folder: &Path) -> String {
    format!("{LABEL}={}", std::path::absolute(folder).unwrap_or_default().display())
}
