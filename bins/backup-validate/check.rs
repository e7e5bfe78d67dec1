//! The check of one backup: what every kind of artifact has in common; a module for each kind.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::archive;
use kit::catalog;
use kit::codec::{Kind as Codec, read};
use kit::exit::{Code, Error, Result};
use kit::manifest::{self, Manifest, Seal, Verified, path_of};
use kit::out::{self, Speech};
use kit::place::{self, open_regular};
use kit::proof;
use kit::source::Dump;
use kit::stamp::Stamp;
use kit::volume::set::Set;

use crate::cli::Args;
use crate::verdict::Verdict;

mod contents;
mod dump;
mod rdb;
mod volume;
mod wal;

const NO_MANIFEST: &str = "it has no manifest, so that nobody knows what should be in it";

/// What an artifact is, by its content: open, so that what fails from now on is the data's fault.
enum Artifact {
    /// A dump, or an archive of pg_dump.
    Dump(Box<Dump>),
    /// A snapshot of Redis.
    Rdb(File),
}

/// A backup that was looked at.
pub(crate) struct Checked {
    /// Its path, links followed: beside it stands its manifest. Of a snapshot its record.
    pub(crate) real: PathBuf,
    pub(crate) manifest: Option<Manifest>,
    /// What is known of a dump that was read.
    pub(crate) dump: Option<dump::About>,
    /// The set of a snapshot of volumes.
    pub(crate) set: Option<Set>,
}

/// Looks at a backup as closely as it is asked for. What came of it goes into its manifest, if
/// the data were read. `None`: there was nothing to look at.
pub(crate) fn check(path: &Path, args: &Args, speech: &Speech, verdict: &mut Verdict) -> Option<Checked> {
    verdict.fact("how", if args.quick { "quick" } else { "check" });
    let looked = look(path, args, speech, verdict);
    // what may not be read may be good
    let closed = || [path.to_owned(), path_of(path)].iter().any(|path| is_closed(path));
    let told = |error: Error| match closed() {
        true => verdict.unproven(error.with_code(Code::Refused)),
        false => verdict.fault(error),
    };
    looked.map_err(told).ok()
}

/// Whether we may not read a file.
fn is_closed(path: &Path) -> bool {
    open_regular(path).is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
}

fn look(path: &Path, args: &Args, speech: &Speech, verdict: &mut Verdict) -> Result<Checked> {
    if let Some(record) = volume::record_of(path) {
        let set = volume::check(path, &record, args, speech, verdict)?;
        return Ok(Checked { real: record, manifest: None, dump: None, set: Some(set) });
    }
    if let Some(of) = wal::of(path) {
        wal::check(&of, args.quick, verdict)?;
        return Ok(Checked { real: path.to_owned(), manifest: None, dump: None, set: None });
    }
    let folder = archive::is_directory(path);
    let artifact = if folder { Artifact::Dump(Dump::open(path)?.into()) } else { recognise(path, verdict)? };
    // a link is another name of a backup, whose manifest stands beside the backup
    let real = path.canonicalize().unwrap_or(path.to_owned());
    let manifest = if folder {
        // those that make manifests make no folders
        verdict.warn(NO_MANIFEST);
        None
    } else {
        manifest_of(&real, verdict)?
    };
    let mut checked = Checked { real, manifest, dump: None, set: None };
    if args.quick {
        verdict.note("looked at from outside only");
        return Ok(checked);
    }
    // a file of another size is not read: it is not the one that was proven
    if !verdict.passes() {
        checked.enter_if_known("check", verdict);
        return Ok(checked);
    }
    let manifest = checked.manifest.as_ref();
    let looked = match artifact {
        Artifact::Dump(dump) => dump::check(&dump, manifest, speech, verdict).map(Some),
        Artifact::Rdb(file) => rdb::check(&file, &checked.real, manifest, verdict).map(|()| None),
    };
    checked.dump = looked.unwrap_or_else(|error| {
        verdict.fault(error);
        None
    });
    checked.enter_if_known("check", verdict);
    Ok(checked)
}

/// What the file is; refuses what is no file, what is empty, and what cannot be told.
fn recognise(path: &Path, verdict: &mut Verdict) -> Result<Artifact> {
    let name = path.display().to_string();
    let file = open_regular(path).map_err(|e| match path.is_dir() {
        true => Error::no(format!("'{name}' is a folder, and no archive of pg_dump")),
        false if e.kind() == std::io::ErrorKind::PermissionDenied => {
            Error::io("open", &name, &e).hint(rights(path))
        }
        false => Error::io("open", &name, &e),
    })?;
    let bytes = file.metadata().map_err(|e| Error::io("read", &name, &e))?.len();
    verdict.fact("bytes", bytes);
    if bytes == 0 {
        return Err(Error::no("it is empty"));
    }
    verdict.note(out::bytes(bytes));
    // one whose beginning does not even inflate is looked at as a dump, which tells why
    let head = read::peek(&file, &name, 262).unwrap_or_default();
    if head.starts_with(b"--") && memchr::memmem::find(&head, b"\r\n").is_some() {
        verdict.warn("its lines end in CR LF, as on Windows: a copy made as text changes a dump, rows too");
    }
    Ok(if kit::redis::version(&head).is_some() {
        Artifact::Rdb(file)
    } else {
        Artifact::Dump(Dump::open(path)?.into())
    })
}

/// Whose file it is, for somebody who may not read it.
fn rights(path: &Path) -> String {
    let us = rustix::process::geteuid().as_raw();
    path.metadata().map_or(format!("User {us} may not look into its folder."), |meta| {
        format!("It is of user {} and has mode {:04o}; this is user {us}.", meta.uid(), meta.mode() & 0o7777)
    })
}

/// The manifest, if it can be believed; what is wrong with it is told.
fn manifest_of(real: &Path, verdict: &mut Verdict) -> Result<Option<Manifest>> {
    let name = real.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let bytes = real.metadata().map_or(0, |m| m.len());
    let Some(manifest) = Manifest::of(real)? else {
        verdict.warn(NO_MANIFEST);
        return Ok(None);
    };
    sealed(&path_of(real), verdict)?;
    if manifest.file.name != name {
        verdict.bad(format!("its manifest is that of {}", manifest.file.name));
    } else if manifest.file.bytes != bytes {
        proof::of_file(&manifest, bytes, "").into_iter().for_each(|what| verdict.bad(what));
    }
    if verdict.passes() && manifest.verified.as_ref().is_some_and(|v| !v.ok) {
        verdict.note("an earlier proof failed");
    }
    Ok(Some(manifest))
}

/// Whether a record is as it was written.
fn sealed(record: &Path, verdict: &mut Verdict) -> Result<()> {
    let seal = File::open(record).and_then(|file| manifest::seal(&file));
    match seal.map_err(|e| Error::io("read", record.display(), &e))? {
        Seal::Holds => {}
        Seal::Broken => verdict.fault(
            Error::no("its manifest was changed after it was written")
                .hint("That of a dump is made anew by 'dump-inspect index', once the old one is removed."),
        ),
        Seal::None => verdict.warn("its manifest has no seal: a change in it would not be seen"),
    }
    Ok(())
}

/// Holds the file against its manifest and against the list of digests in its folder.
fn same_file(real: &Path, manifest: Option<&Manifest>, bytes: u64, sha256: &str, verdict: &mut Verdict) {
    let differences = manifest.map_or(Vec::new(), |m| proof::of_file(m, bytes, sha256));
    differences.into_iter().for_each(|what| verdict.bad(what));
    listed(real, sha256, verdict);
}

/// `SHA256SUMS` knows of files without a manifest, too.
fn listed(real: &Path, sha256: &str, verdict: &mut Verdict) {
    let name = real.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let sums = match catalog::sums(place::parent(real)) {
        Ok(sums) => sums.unwrap_or_default(),
        Err(error) => return verdict.warn(error.to_string()),
    };
    let digest = catalog::entries(&sums).filter(|(_, of)| *of == name).last().map(|(digest, _)| digest);
    if let (None, Some(at)) = (digest, catalog::odd_line(place::parent(real))) {
        verdict.warn(format!(
            "{} does not tell of it, and its line {at} is no digest of anything",
            catalog::SUMS
        ));
    }
    if digest.is_some_and(|digest| !digest.eq_ignore_ascii_case(sha256)) {
        let differs = Error::no(format!("{} tells of another digest", catalog::SUMS));
        // where more speaks against the file, the list is hardly what is wrong
        let help = format!("If the file was replaced on purpose, remove its line from {}.", catalog::SUMS);
        verdict.fault(if verdict.passes() { differs.hint(help) } else { differs });
    }
}

impl Checked {
    /// Whether there is a record to enter a proof into.
    pub(crate) fn has_record(&self) -> bool {
        self.manifest.is_some() || self.set.is_some()
    }

    /// Enters what came of it; nothing is known of what could not be read.
    fn enter_if_known(&self, how: &str, verdict: &mut Verdict) {
        if verdict.passes() || verdict.code() == Code::No {
            self.enter(how, verdict);
        }
    }

    /// Enters that it was proven, and how.
    pub(crate) fn enter(&self, how: &str, verdict: &mut Verdict) {
        if let Some(set) = &self.set {
            return volume::enter(&self.real, set, how, verdict);
        }
        let Some(manifest) = &self.manifest else { return };
        // that nobody saw how its producer ended stays true
        let unseen = manifest.verified.as_ref().is_some_and(|v| v.how.split(", ").any(|how| how == "footer"));
        let how = if unseen { format!("{how}, footer") } else { how.to_owned() };
        let verified = Verified { at: Stamp::now().to_string(), how, ok: verdict.passes() };
        if let Err(error) = manifest::record(&self.real, &verified) {
            verdict.warn(error.to_string());
        }
    }
}

/// How a file is compressed, for people.
fn packed(kind: Codec) -> String {
    if kind == Codec::None { "not compressed".into() } else { kind.to_string() }
}
