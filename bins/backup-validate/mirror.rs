//! A place in an object store as a folder: what is small is there, the data are holes of the right length
//! until a backup is judged. So whatever holds for folders holds for a store, drills too.
//!
//! What a run writes there (proofs, the history of drills) goes back, if nobody changed it meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::catalog::SUMS;
use kit::exit::{Code, Error, Result};
use kit::instance::Site;
use kit::out::{self, Speech};
use kit::place::{self, ensure_dir};
use kit::settings::Settings;
use kit::store::{Content, Object, Only, Place, Put, Store};
use kit::volume::set;
use kit::wal::archive::{IDENTITY, bare};
use kit::wal::name::Name;
use kit::{history, wal};

use crate::verdict::Verdict;

/// How the folders are called.
const TAG: &str = "pgkeep-mirror";
/// What shows what a file is.
const HEAD: u64 = 64 << 10;
/// Files that are whole from the beginning, by their endings: records, and lists of digests.
const WHOLE: [&str; 6] = [".json", wal::sums::SUFFIX, ".history", ".backup", SUMS, history::NAME];

/// The folder. Dropped, it is gone.
pub(crate) struct Mirror {
    store: Store,
    place: Place,
    site: Site,
    /// Of each file of the folder what the store says of it.
    objects: BTreeMap<String, Object>,
    /// How the files that are whole looked when they had been read.
    whole: BTreeMap<PathBuf, (u64, i64, i64)>,
}

impl Mirror {
    /// The folder of `place`, with all that has to do with it: an object and its manifest, a set of
    /// snapshots, or what stands below it.
    ///
    /// # Errors
    /// [`Code::No`] when there is nothing; what [`Store::look`] meets.
    pub(crate) fn of(place: &Place, settings: &Settings, speech: &Speech) -> Result<Self> {
        for swept in Site::sweep(TAG).map_err(lacking)? {
            speech.say(&format!("removed {}, left by a run that was killed", swept.display()));
        }
        let store = Store::open(place, settings)?;
        let mut mirror = Mirror {
            store,
            place: place.clone(),
            site: Site::bare(TAG).map_err(lacking)?,
            objects: BTreeMap::new(),
            whole: BTreeMap::new(),
        };
        let (key, name) = (place.key(), place.name());
        let beside = |file: &str| format!("{}{file}", place.folder());
        // a snapshot is a set: its record and its archives begin with the same time
        let stamp = set::parse_record(name).or(set::parse(name).map(|(stamp, _)| stamp));
        let prefix = stamp.map_or(key.to_owned(), |stamp| beside(&stamp.compact()));
        let below = if key.is_empty() { String::new() } else { format!("{key}/") };
        let (record, one) = (format!("{key}.json"), mirror.store.list(&prefix)?);
        let ours =
            |o: &Object| stamp.is_some() || o.key == key || o.key == record || o.key.starts_with(&below);
        let mut is_there = false;
        for object in one.into_iter().filter(ours) {
            is_there = true;
            mirror.add(object, speech)?;
        }
        match mirror.objects.is_empty() {
            true if is_there => {
                return Err(Error::refused(format!("nothing of '{place}' can be a file here")));
            }
            true => return Err(Error::no(format!("there is no '{place}'"))),
            false => {}
        }
        let mut others = vec![beside(SUMS), beside(history::NAME)];
        if bare(name).parse::<Name>().is_ok() {
            // ARCHIVE/TIMELINE/NAME
            let folder = place.at(place.folder().trim_end_matches('/'));
            others.push(format!("{}{IDENTITY}", folder.folder()));
            let sums = wal::sums::list(Path::new(folder.key()), bare(name).parse().map_err(Error::no)?);
            others.extend(sums.to_str().map(str::to_owned));
        }
        for key in others.iter().filter(|key| !key.starts_with(&below) || below.is_empty()) {
            if !mirror.objects.contains_key(key)
                && let Some(object) = mirror.store.look(key)?
            {
                mirror.add(object, speech)?;
            }
        }
        Ok(mirror)
    }

    /// What stands for the place itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.local(self.place.key())
    }

    fn local(&self, key: &str) -> PathBuf {
        self.root().join(key)
    }

    /// What stands for the bucket.
    fn root(&self) -> PathBuf {
        self.site.path().join("b")
    }

    fn add(&mut self, mut object: Object, speech: &Speech) -> Result<()> {
        // the name of a folder, in the eyes of some programs
        if object.key.ends_with('/') && object.bytes == 0 {
            return Ok(());
        }
        let shown = self.store.shown(&object.key);
        let passed_over = |why: &str| speech.warn(&format!("{shown} is passed over: {why}"));
        if object.key.ends_with('/') || Place::parse(&shown).is_err() {
            passed_over("a part of its key is empty, '.' or '..', or holds a control character");
            return Ok(());
        }
        let whole = is_whole(&object.key);
        // what may be written back must be the one that was read
        if whole && object.etag.is_empty() {
            let Some(found) = self.store.look(&object.key)? else { return Ok(()) };
            object = found;
        }
        let path = self.local(&object.key);
        let made = ensure_dir(place::parent(&path)).and_then(|()| {
            let file = place::create_new(&path)?;
            file.set_len(object.bytes).map_err(|e| Error::io("create", path.display(), &e))?;
            Ok(file)
        });
        let made = match made {
            Ok(file) => file,
            Err(error) if error.code() == Code::Temporary => return Err(error),
            // such as one that is a file and a folder, or whose name is too long for a file
            Err(error) => {
                passed_over(&self.renamed(&error.to_string()));
                return Ok(());
            }
        };
        let bytes = if whole { object.bytes } else { HEAD.min(object.bytes) };
        self.room(bytes)?;
        self.store.fetch(&object, bytes, &made)?;
        if whole {
            self.whole.insert(path.clone(), look(&path)?);
        }
        self.objects.insert(object.key.clone(), object);
        Ok(())
    }

    /// Reads all data of the backup at `path`, a file or folder of ours.
    pub(crate) fn fill(&self, path: &Path) -> Result<()> {
        let mine = self.of_backup(path);
        self.room(mine.iter().map(|(_, object)| object.bytes).sum())?;
        mine.iter().try_for_each(|(path, object)| {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|e| Error::io("open", path.display(), &e))?;
            self.store.fetch(object, object.bytes, &file)
        })
    }

    /// Gives back the room that its data took.
    pub(crate) fn empty(&self, path: &Path) {
        for (path, object) in self.of_backup(path) {
            // the next one may want for room then, and says so
            let file = OpenOptions::new().write(true).open(path);
            let _ = file.and_then(|f| f.set_len(0).and_then(|()| f.set_len(object.bytes)));
        }
    }

    /// The files of the backup at `path`, but those that are whole.
    fn of_backup(&self, path: &Path) -> Vec<(PathBuf, &Object)> {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let stamp = set::parse_record(name);
        let mine = |p: &Path| match stamp {
            Some(stamp) => {
                let of = p.file_name().and_then(|n| n.to_str()).and_then(set::parse);
                p.parent() == path.parent() && of.is_some_and(|(s, _)| s == stamp)
            }
            None => p.starts_with(path),
        };
        let all = self.objects.values().map(|object| (self.local(&object.key), object));
        all.filter(|(p, o)| mine(p) && !is_whole(&o.key)).collect()
    }

    /// Refuses what does not fit into the folder's file system.
    fn room(&self, bytes: u64) -> Result<()> {
        // where nobody knows, writing tells
        let free = place::free(self.site.path()).unwrap_or(u64::MAX);
        if bytes <= free {
            return Ok(());
        }
        let (needs, has) = (out::bytes(bytes), out::bytes(free));
        Err(Error::temporary(format!("its copy takes {needs}, and {has} are free")).hint(
            "What is judged is copied from the store to the folder that TMPDIR names, one backup at a time.",
        ))
    }

    /// Writes what has changed in the folder back into the store.
    pub(crate) fn give_back(&mut self, verdict: &mut Verdict) {
        for (path, key) in self.changed() {
            if let Err(error) = self.give(&path, &key) {
                verdict.warn(format!("what was found is not recorded: {error}"));
            }
        }
    }

    fn give(&mut self, path: &Path, key: &str) -> Result<()> {
        let fail = |e| Error::io("read", path.display(), &e);
        let file = File::open(path).map_err(fail)?;
        let content = Content { bytes: file.metadata().map_err(fail)?.len(), file: &file, digest: None };
        let old = self.objects.get(key);
        let only = old.map_or(Only::IfNew, |object| Only::If(&object.etag));
        if self.store.put(key, &content, only)? == Put::Held {
            let shown = self.store.shown(key);
            return Err(Error::no(format!("'{shown}' was changed meanwhile, and stays as it is")));
        }
        // the next proof changes what this one has written
        if let Some(object) = self.store.look(key)? {
            self.objects.insert(key.into(), object);
            self.whole.insert(path.to_owned(), look(path)?);
        }
        Ok(())
    }

    /// Records that were written anew, and the history of drills; each with its key.
    fn changed(&self) -> Vec<(PathBuf, String)> {
        let root = self.root();
        let folders: BTreeSet<PathBuf> =
            self.objects.keys().map(|key| place::parent(&root.join(key)).to_owned()).collect();
        let histories = folders.iter().map(|folder| folder.join(history::NAME));
        let files = self.whole.keys().cloned().chain(histories).collect::<BTreeSet<PathBuf>>();
        let changed = files
            .into_iter()
            .filter(|path| path.exists() && look(path).ok().as_ref() != self.whole.get(path));
        changed
            .filter_map(|path| Some((path.clone(), path.strip_prefix(&root).ok()?.to_str()?.to_owned())))
            .collect()
    }

    /// A text with names as the store has them.
    pub(crate) fn renamed(&self, text: &str) -> String {
        let shown = self.store.shown("");
        let root = self.root().display().to_string();
        text.replace(&format!("{root}/"), &shown).replace(&root, shown.trim_end_matches('/'))
    }

    /// The same for an error.
    pub(crate) fn told(&self, error: Error) -> Error {
        let mut lines = error.lines().map(|line| self.renamed(&line));
        let new = Error::new(error.code(), lines.next().unwrap_or_default());
        lines.fold(new, |new, line| new.hint(line.strip_prefix("hint: ").unwrap_or(&line)))
    }
}

/// What is wrong with the folder for copies says nothing about a backup.
fn lacking(error: Error) -> Error {
    match error.code() {
        Code::No => {
            error.with_code(Code::Refused).hint("TMPDIR names the folder for copies: choose another.")
        }
        _ => error,
    }
}

fn is_whole(key: &str) -> bool {
    WHOLE.iter().any(|end| key.ends_with(end))
}

/// What changes when a file is written or replaced.
fn look(path: &Path) -> Result<(u64, i64, i64)> {
    let meta = path.metadata().map_err(|e| Error::io("read", path.display(), &e))?;
    Ok((meta.ino(), meta.ctime(), meta.ctime_nsec()))
}
