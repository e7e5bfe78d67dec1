//! Who loads which rows, where every session reads the dump by itself. Pure.
//!
//! Two sessions that load one table wait for each other whenever it grows, so each takes a table of its
//! own, the largest first. Only what is too large for that is cut, the more finely the less is left, so
//! that all come to an end together. A table in parts costs more than one that is filled by whoever
//! emptied it, so a little more than one's share is no reason to cut.

use std::ops::Range;
use std::sync::Arc;

/// A table of fewer bytes is not cut.
const SMALL: u64 = 32 << 20;

/// A table's rows.
pub(crate) struct Load {
    /// Its name, without its schema.
    pub(crate) table: Option<String>,
    /// Its COPY statement.
    pub(crate) copy: Arc<Vec<u8>>,
    /// What empties the table, where it is known to be empty: rows that come in the same transaction need
    /// no more work later.
    pub(crate) truncate: Option<Vec<u8>>,
    pub(crate) rows: Vec<Range<u64>>,
}

/// Rows that one session loads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) table: Option<String>,
    pub(crate) copy: Arc<Vec<u8>>,
    pub(crate) truncate: Option<Vec<u8>>,
    pub(crate) rows: Vec<Range<u64>>,
}

/// What is not given to anybody yet.
pub(crate) struct Shares {
    loads: Vec<Load>,
    /// How many bytes each session was given.
    given: Vec<u64>,
}

impl Shares {
    pub(crate) fn new(loads: Vec<Load>, sessions: usize) -> Self {
        Shares { loads, given: vec![0; sessions.max(1)] }
    }

    /// Whether rows of a table of this name are not given to anybody yet.
    pub(crate) fn holds(&self, table: &str) -> bool {
        self.loads.iter().any(|l| l.table.as_deref() == Some(table))
    }

    /// Whether all is given to somebody.
    pub(crate) fn is_empty(&self) -> bool {
        self.loads.is_empty()
    }

    /// What session `who` is to load, which is free now.
    pub(crate) fn next(&mut self, who: usize) -> Option<Share> {
        let share = self.share(who)?;
        self.given[who] += bytes(&share.rows);
        Some(share)
    }

    /// Bytes that are not loaded yet: those that nobody has, and what others have still to do if they are as
    /// fast as the one that has just done all of its own.
    fn left(&self, who: usize) -> u64 {
        let free: u64 = self.loads.iter().map(|l| bytes(&l.rows)).sum();
        free + self.given.iter().map(|given| given.saturating_sub(self.given[who])).sum::<u64>()
    }

    fn share(&mut self, who: usize) -> Option<Share> {
        let sessions = self.given.len() as u64;
        let fair = self.left(who) / sessions;
        let largest = (0..self.loads.len()).max_by_key(|i| bytes(&self.loads[*i].rows))?;
        let load = &mut self.loads[largest];
        let most = if load.truncate.is_some() { SMALL + fair } else { SMALL.max(fair) };
        if bytes(&load.rows) <= most {
            let Load { table, copy, truncate, rows } = self.loads.swap_remove(largest);
            return Some(Share { table, copy, truncate, rows });
        }
        // others load the rest of it: it cannot be emptied by any of them
        load.truncate = None;
        let part = fair / 2;
        let (mut count, mut taken) = (0, 0);
        while count == 0 || (count < load.rows.len() && taken < part) {
            taken += length(&load.rows[count]);
            count += 1;
        }
        let rest = load.rows.split_off(count);
        let rows = std::mem::replace(&mut load.rows, rest);
        let (table, copy) = (load.table.clone(), load.copy.clone());
        if load.rows.is_empty() {
            self.loads.swap_remove(largest);
        }
        Some(Share { table, copy, truncate: None, rows })
    }
}

fn length(rows: &Range<u64>) -> u64 {
    rows.end - rows.start
}

fn bytes(rows: &[Range<u64>]) -> u64 {
    rows.iter().map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// The shares of tables of so many MiB, as `table:MiB`, with a star where it is emptied first; all
    /// sessions are as fast.
    fn shares(tables: &[u64], sessions: usize) -> Vec<String> {
        let load = |(i, mib): (usize, &u64)| {
            let stretch = |at: u64| at * 16 * MIB..((at + 1) * 16).min(*mib) * MIB;
            Load {
                table: None,
                copy: Arc::new(vec![b'a' + i as u8]),
                truncate: Some(Vec::new()),
                rows: (0..mib.div_ceil(16)).map(stretch).collect(),
            }
        };
        let mut shares = Shares::new(tables.iter().enumerate().map(load).collect(), sessions);
        let told = |s: Share| {
            let star = if s.truncate.is_some() { "*" } else { "" };
            format!("{}:{}{star}", s.copy[0] as char, bytes(&s.rows) / MIB)
        };
        let free = |shares: &Shares| (0..sessions).min_by_key(|i| shares.given[*i]).unwrap_or(0);
        std::iter::from_fn(|| shares.next(free(&shares))).map(told).collect()
    }

    #[test]
    fn whole_tables_first_and_what_is_too_large_in_parts() {
        for (tables, sessions, want) in [
            (&[][..], 2, &[][..]),
            (&[5], 2, &["a:5*"]),
            (&[32], 8, &["a:32*"]),
            (&[48], 2, &["a:48*"]),
            // while another has as much to do, a table of more than half of what is left is no reason to cut
            (&[120, 200, 200, 200, 30, 250], 2, &["f:250*", "d:200*", "c:200*", "b:200*", "a:120*", "e:30*"]),
            (&[100, 300, 100, 100], 2, &["b:300*", "c:100*", "d:100*", "a:100*"]),
            (&[400, 40], 2, &["a:112", "a:112", "a:64", "a:64", "a:32", "b:40*", "a:16"]),
        ] {
            let got = shares(tables, sessions);
            assert_eq!(
                got.iter().map(|s| s.trim_end_matches('*')).map(mib).sum::<u64>(),
                tables.iter().sum::<u64>()
            );
            assert_eq!(got, want, "{tables:?}");
        }
    }

    fn mib(share: &str) -> u64 {
        share.split_once(':').unwrap().1.parse().unwrap()
    }
}
