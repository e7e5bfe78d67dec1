//! The table of contents in a manifest, line by line beside the scan of the dump itself.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use kit::dump::scan::{self, text_of};
use kit::exit::{Code, Error, Result};
use kit::manifest::{Item, Kind, Manifest, each_item};

/// How many differences are told one by one.
const TOLD: usize = 5;
/// How many lines are read ahead.
const AHEAD: usize = 64;

/// What comes next by the manifest, and what was found to differ.
pub(super) struct Contents {
    /// `None` once the two have parted.
    lines: Option<Receiver<Item>>,
    /// The database of a dump that need not name it.
    database: Option<String>,
    told: Vec<String>,
    more: usize,
}

impl Contents {
    /// Runs `with` beside a thread that reads the table of contents of `artifact`; what differs.
    ///
    /// # Errors
    /// That of `with`; a table of contents that cannot be read.
    pub(super) fn beside<T>(
        artifact: &Path,
        manifest: &Manifest,
        with: impl FnOnce(&mut Contents) -> Result<T>,
    ) -> Result<(T, Vec<String>)> {
        std::thread::scope(|scope| {
            let (send, lines) = sync_channel(AHEAD);
            let reader = scope.spawn(move || {
                // nobody wants the rest once the scan has ended
                each_item(artifact, &mut |item| send.send(item).map_err(|_| Error::read_enough()))
            });
            let database = manifest.source.databases.first().filter(|_| manifest.kind == Kind::Database);
            let mut contents =
                Contents { lines: Some(lines), database: database.cloned(), told: Vec::new(), more: 0 };
            let outcome = with(&mut contents);
            let told = contents.finish(outcome.is_ok());
            let read = reader.join().unwrap_or_else(|_| Err(Error::no("a thread panicked")));
            let outcome = outcome?;
            match read {
                Err(error) if error.code() != Code::Done => Err(error),
                _ => Ok((outcome, told)),
            }
        })
    }

    /// Holds what the scan found against the next line.
    pub(super) fn next(&mut self, found: &scan::Item) {
        let Some(lines) = &self.lines else { return };
        let named = (!found.database.is_empty()).then(|| text_of(&found.database));
        let mut is = Item::new(found, named);
        let Ok(said) = lines.recv() else {
            self.lines = None;
            self.tell(format!("{} is not in its manifest", describe(&is)));
            return;
        };
        if is.database.is_none() && said.database == self.database {
            is.database.clone_from(&said.database);
        }
        if is == said {
            return;
        }
        let same = |a: &Item, b: &Item| {
            (&a.database, &a.schema, &a.name, &a.kind) == (&b.database, &b.schema, &b.name, &b.kind)
        };
        if !same(&is, &said) {
            // from here on nothing would fit
            self.lines = None;
            let of = |item: &Item, other: &Item| match (&item.database, describe(item) == describe(other)) {
                (Some(database), true) => format!("{} of {database}", describe(item)),
                _ => describe(item),
            };
            self.tell(format!("its manifest tells of {} where it has {}", of(&said, &is), of(&is, &said)));
        } else if is.rows != said.rows {
            let of = |rows: Option<u64>| rows.map_or("no".into(), kit::out::count);
            let (is_rows, said_rows) = (of(is.rows), of(said.rows));
            self.tell(format!("{} has {is_rows} rows, its manifest says {said_rows}", is.full_name()));
        } else if is.row_hash != said.row_hash {
            self.tell(format!("rows of {} differ from those that its manifest tells of", is.full_name()));
        } else {
            self.tell(format!("{} is not as its manifest says", describe(&is)));
        }
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD {
            self.told.push(what);
        } else {
            self.more += 1;
        }
    }

    /// What differs; `whole`: the dump was scanned to its end.
    fn finish(&mut self, whole: bool) -> Vec<String> {
        if let Some(said) = self.lines.take().filter(|_| whole).and_then(|lines| lines.recv().ok()) {
            self.tell(format!("its manifest tells of {}, which it does not have", describe(&said)));
        }
        let mut told = std::mem::take(&mut self.told);
        told.extend((self.more > 0).then(|| format!("and {} more", self.more)));
        told
    }
}

fn describe(item: &Item) -> String {
    format!("{} {}", item.kind.to_lowercase(), item.full_name())
}
