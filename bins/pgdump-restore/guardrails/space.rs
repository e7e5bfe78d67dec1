//! Whether what is restored has room where it goes.

use std::collections::{BTreeMap, BTreeSet};

use kit::child::converse;
use kit::dump::scan::text_of;
use kit::exit::Result;
use kit::out;
use kit::pg::Server;

use super::{Holds, LeftOut, Question, texts};
use crate::cli::{Part, Way};
use crate::plan::Target;
use crate::survey::Survey;

impl Question<'_> {
    pub(super) fn space(&self, left_out: &LeftOut) -> Result<Option<Holds>> {
        let raw = match (self.args.part, &self.args.only) {
            // roles alone take no room
            _ if self.targets.is_empty() => return Ok(None),
            (Part::Schema | Part::Globals, _) => return Ok(None),
            (_, Some(only)) => self.checked.sizes.get(only.as_bytes()).copied().unwrap_or(0),
            _ => self.checked.facts.bytes,
        };
        let mut spaces = texts(&self.checked.needs.tablespaces);
        spaces.extend(self.targets.iter().map(|t| self.home(t)));
        if spaces.iter().any(|s| left_out.tablespaces.contains(s)) {
            spaces.insert(DEFAULT.into());
            spaces.retain(|s| !left_out.tablespaces.contains(s));
        }
        let made = self.checked.needs.locations.iter().map(|(name, folder)| (text_of(name), text_of(folder)));
        let Some(mut free) = free_space(self.server, self.survey, &spaces, made) else { return Ok(None) };
        let present: u64 = self.present().map(|l| l.bytes).sum();
        let in_place = self.args.way == Way::InPlace;
        free = free.saturating_add(if in_place { present } else { 0 });
        let needed = raw.max(present);
        Ok((needed > free).then(|| Holds {
            name: "space",
            what: format!(
                "the server's disk has {} left, the restore needs some {}",
                out::bytes(free),
                out::bytes(needed)
            ),
            hint: if in_place || present == 0 {
                "Make room first.".into()
            } else {
                "Make room, or drop the present databases first with --in-place.".into()
            },
        }))
    }

    /// The tablespace that a database comes back into.
    fn home(&self, target: &Target) -> String {
        match &target.present {
            _ if target.by_dump => {
                self.checked.needs.homes.get(target.section.as_bytes()).map(|h| text_of(h))
            }
            Some(live) => Some(live.tablespace.clone()),
            None => None,
        }
        .unwrap_or(DEFAULT.into())
    }
}

/// The tablespace of whatever is not given another.
const DEFAULT: &str = "pg_default";

/// Bytes left on the disks that `spaces` are on, together, if that can be asked. `made`: tablespaces that
/// are still to be created, and their folders.
fn free_space(
    server: &Server,
    survey: &Survey,
    spaces: &BTreeSet<String>,
    made: impl Iterator<Item = (String, String)>,
) -> Option<u64> {
    let there = survey.tablespaces.clone().into_iter();
    let folders: BTreeMap<String, String> = made.chain(there).filter(|(s, _)| spaces.contains(s)).collect();
    // two tablespaces may be on one disk
    let mut left: BTreeMap<String, u64> = BTreeMap::new();
    if !server.via().is_here() {
        // whatever is behind the prefix may have no df
        let df = server.via().run("df").args(["-Pk"]).args(folders.values());
        let (ended, output) = converse(&mut df.command(), "df", "").ok()?;
        for line in String::from_utf8_lossy(&output).lines().skip(1) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let kib = cells.get(3).and_then(|kib| kib.parse::<u64>().ok());
            left.extend(
                kib.map(|kib| (cells.get(5..).unwrap_or_default().join(" "), kib.saturating_mul(1024))),
            );
        }
        return ended.ok().then(|| left.values().sum());
    }
    // a server in a container that is reached by a port of this machine has another address
    if !survey.address.starts_with("127.") && survey.address != "::1" {
        return None;
    }
    for folder in folders.values() {
        let (Ok(disk), Ok(space)) = (rustix::fs::stat(folder), rustix::fs::statvfs(folder)) else {
            return None;
        };
        left.insert(disk.st_dev.to_string(), space.f_bavail.saturating_mul(space.f_frsize));
    }
    Some(left.values().sum())
}
