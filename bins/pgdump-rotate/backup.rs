//! Making one backup: one pass over the dump, a proof, a name, a manifest.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kit::catalog;
use kit::child::Ended;
use kit::codec::write::{Written, write};
use kit::codec::{self, Codec};
use kit::dump::scan::{self, Facts, Scan, display, text_of};
use kit::exit::{Error, Result};
use kit::guard::Guard;
use kit::manifest::{self, Artifact, FORMAT_VERSION, Format, Manifest, Rotation, Source, Toc, Verified};
use kit::out::{self, Speech};
use kit::pg::Server;
use kit::place::{self, Part};
use kit::progress::Progress;
use kit::retention::Policy;
use kit::stamp::Stamp;

use crate::cli::{Args, TOOL};
use crate::produce::{Job, Producer, What};

/// What every backup of a run has in common.
pub(crate) struct Run<'a> {
    pub(crate) args: &'a Args,
    pub(crate) dir: &'a Path,
    pub(crate) codec: Codec,
    pub(crate) server: Option<&'a Server>,
    /// Keeps restores from beginning while the dump is made.
    pub(crate) guard: RefCell<Option<Guard>>,
    pub(crate) speech: &'a Speech,
    /// Databases that pg_dumpall cannot connect to.
    pub(crate) left_out: Vec<String>,
    /// Databases that restores have left beside others.
    pub(crate) beside: Vec<String>,
}

impl Run<'_> {
    /// Makes the backup of `job`; on failure nothing of it stays.
    pub(crate) fn make(&self, job: &Job) -> Result<(PathBuf, Manifest)> {
        let (began, clock) = (Stamp::now(), Instant::now());
        let stamp = catalog::free_stamp(self.dir, &job.prefix, began)?;
        let mut producer = Producer::start(job, self.server, self.args, &self.beside)?;
        let custom = producer.format == Format::Custom;
        let codec = if custom { Codec { kind: codec::Kind::None, level: None } } else { self.codec };
        let ending = if custom { ".dump".to_owned() } else { format!(".sql{}", codec.kind.suffix()) };
        let name = catalog::name(&job.prefix, stamp, &ending);
        let path = self.dir.join(&name);
        let part = Part::create(&path)?;

        let mut scan = Scan::default();
        let database = match &job.what {
            What::Database(name) => Some(name.clone()),
            _ => None,
        };
        let mut toc = Toc::new(self.dir, database);
        let written = {
            let progress = Progress::start("dumping", None, self.speech.is_quiet());
            let look = |bytes: &[u8], breaks: &mut Vec<u64>| {
                progress.advance(bytes.len() as u64);
                if custom {
                    return;
                }
                scan.feed(bytes, &mut |item| toc.note(&item));
                breaks.extend(scan.take_breaks());
                if let Some(table) = scan.current() {
                    progress.at(&display(table));
                }
            };
            write(codec, producer.stream(), look, part.file(), &part.path().display().to_string())
        };
        let producer_name = producer.name.clone();
        let written = written.map_err(|e| e.within(format!("cannot back up {}", job.describe())))?;
        let ended = producer.end()?;
        self.check_end(ended.as_ref(), job)?;
        let facts = if custom {
            crate::prove::unpack(&part, &mut |item| toc.note(&item))
                .map_err(|e| e.within(format!("cannot back up {}", job.describe())))?
        } else {
            let facts = scan.finish(&mut |item| toc.note(&item));
            self.check_whole(&facts, job)?;
            facts
        };
        // nothing was restored under the dump
        self.guard.borrow_mut().as_mut().map_or(Ok(()), Guard::holds)?;
        part.place()?;
        let how = if ended.is_some() { "read-back" } else { "read-back, footer" };
        let mut manifest = self.manifest(job, &producer_name, name, began, &facts, &written, codec);
        if custom {
            manifest.file.format = Format::Custom;
            manifest.raw_bytes = facts.bytes;
        }
        manifest.duration_ms = clock.elapsed().as_millis() as u64;
        manifest.verified = Some(Verified { at: Stamp::now().to_string(), how: how.into(), ok: true });
        self.enter(&path, &manifest, toc).inspect_err(|_| self.leave_nothing(&path, &manifest))?;
        if let Some(link) = &self.args.latest_link {
            place::relink(&self.dir.join(link), &manifest.file.name)?;
        }
        self.tell(&manifest, &facts, ended.as_ref());
        Ok((path, manifest))
    }

    /// Enters the placed file into the list of digests, and places its manifest.
    fn enter(&self, path: &Path, manifest: &Manifest, toc: Toc) -> Result<()> {
        catalog::update_sums(self.dir, &[], Some((&manifest.file.name, &manifest.file.sha256)))?;
        manifest.place(path, toc)
    }

    /// A dump without its manifest would be no backup, and nobody would ever remove it.
    fn leave_nothing(&self, path: &Path, manifest: &Manifest) {
        // best effort: the error that led here is the one to tell
        let _ = place::remove_if_there(path);
        let _ = catalog::update_sums(self.dir, &[&manifest.file.name], None);
    }

    fn check_end(&self, ended: Option<&Ended>, job: &Job) -> Result<()> {
        match ended {
            Some(ended) if !ended.ok() => {
                Err(explain(ended, ended.error().within(format!("cannot back up {}", job.describe()))))
            }
            _ => Ok(()),
        }
    }

    fn check_whole(&self, facts: &Facts, job: &Job) -> Result<()> {
        match &facts.incomplete {
            None => Ok(()),
            Some(why) => {
                Err(Error::no(format!("cannot back up {}: the dump is not whole: {why}", job.describe()))
                    .hint("Nothing was kept of it; earlier backups are untouched."))
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn manifest(
        &self,
        job: &Job,
        producer: &str,
        name: String,
        began: Stamp,
        facts: &Facts,
        written: &Written,
        codec: Codec,
    ) -> Manifest {
        let server = self.server.map(Server::facts);
        let named = || facts.databases.iter().filter(|d| !d.name.is_empty()).map(|d| text_of(&d.name));
        let mut databases: Vec<String> = match &job.what {
            What::Database(name) => vec![name.clone()],
            _ => named().collect(),
        };
        databases.dedup();
        let mut partial = job.partial(self.args);
        if partial.is_empty() && facts.tables == 0 && facts.rows > 0 {
            partial.push("--data-only".into());
        }
        Manifest {
            format_version: FORMAT_VERSION,
            kind: match facts.kind {
                Some(scan::Kind::Cluster) => manifest::Kind::Cluster,
                _ => manifest::Kind::Database,
            },
            created: began.to_string(),
            duration_ms: 0,
            tool: format!("{TOOL} {}", env!("CARGO_PKG_VERSION")),
            tag: self.args.tag.clone(),
            source: Source {
                producer: producer.to_owned(),
                server_version: facts.server_version.clone().or(server.map(|s| s.version_text.clone())),
                dump_version: facts.dump_version.clone(),
                system_identifier: server.and_then(|s| s.system_identifier.clone()),
                place: None,
                databases,
                roles: facts.roles.iter().map(|r| text_of(r)).collect(),
                partial,
                left_out: self.left_out.iter().chain(&self.beside).cloned().collect(),
            },
            file: Artifact {
                name,
                bytes: written.bytes,
                sha256: written.sha256.clone(),
                codec: codec.kind,
                format: Format::Plain,
            },
            raw_bytes: written.raw_bytes,
            tables: facts.tables,
            rows: facts.rows,
            large_objects: facts.large_objects,
            verified: None,
            rotation: Rotation {
                rules: Some(self.args.policy.as_ref().map_or(Vec::new(), Policy::to_options)),
                shrink_allowed: self.args.allow_shrink,
            },
            frames: written.frames.clone(),
        }
    }

    fn tell(&self, manifest: &Manifest, facts: &Facts, ended: Option<&Ended>) {
        // what pg_dump warned of although it succeeded, such as circular foreign keys
        for line in ended.map_or(&[][..], |e| &e.stderr) {
            self.speech.say(line);
        }
        for (offset, line) in &facts.suspicious {
            self.speech.warn(&format!(
                "warning: at byte {offset} psql would run '{line}'; a restore will refuse it"
            ));
        }
        self.speech.say(&proof(manifest));
    }
}

/// What was proven, for people.
pub(crate) fn proof(manifest: &Manifest) -> String {
    let (bytes, raw) = (out::bytes(manifest.file.bytes), out::bytes(manifest.raw_bytes));
    let size = if manifest.file.bytes == manifest.raw_bytes { bytes } else { format!("{bytes} of {raw}") };
    let (tables, rows) = (out::count(manifest.tables), out::count(manifest.rows));
    let seconds = manifest.duration_ms as f64 / 1000.0;
    format!("proven: {}: {tables} tables, {rows} rows, {size}, {seconds:.1} s", manifest.file.name)
}

/// Adds what usually helps to the failures that people meet.
fn explain(ended: &Ended, error: Error) -> Error {
    let said = ended.stderr.join("\n");
    if said.contains("permission denied for table pg_authid") {
        return error.hint(
            "Only a superuser may read password hashes; --pg-dump-arg --no-role-passwords leaves them out.",
        );
    }
    if said.contains("no password supplied") {
        return error.hint("Give PGPASSWORD, a .pgpass file, or DATABASE_URL.");
    }
    error
}
