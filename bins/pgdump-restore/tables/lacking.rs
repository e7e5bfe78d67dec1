//! Tables that are asked for, and of which the dump holds no rows: neither COPY nor INSERT.
//!
//! A dump without rows, or one that was told to leave some out, must not empty a table that is there,
//! and one whose rows stand elsewhere (`--load-via-partition-root`) neither: what is emptied is filled
//! again, or nothing is done.

use kit::exit::{Error, Result};
use kit::source::Dump;

use super::{Found, Listed, There, listed};
use crate::cli::{Args, Table};

/// The partitions of `whole`, and theirs.
pub(super) fn partitions(whole: &[There], all: &[There]) -> Vec<There> {
    let mut parts: Vec<There> = Vec::new();
    loop {
        let is_above = |p: &(String, String)| whole.iter().chain(&parts).any(|t| t.is(&p.0, &p.1));
        let known = |t: &There| whole.iter().chain(&parts).any(|k| k.is(&t.schema, &t.name));
        let below = |t: &&There| t.parent.as_ref().is_some_and(is_above) && !known(t);
        let more: Vec<There> = all.iter().filter(below).cloned().collect();
        if more.is_empty() {
            return parts;
        }
        parts.extend(more);
    }
}

/// A partition that rows would go into by its table, which has none of its own, and that is not named itself.
pub(super) fn unnamed_part(listed: &[Listed], present: &[There], all: &[There]) -> Option<There> {
    let is_empty = |t: &&There| listed.iter().any(|l| t.is(&l.schema, &l.name) && !l.filled);
    let whole: Vec<There> = present.iter().filter(|t| t.is_partitioned()).filter(is_empty).cloned().collect();
    let named = |t: &There| present.iter().any(|p| p.is(&t.schema, &t.name));
    partitions(&whole, all).into_iter().find(|t| !named(t))
}

/// Those of `present` and of their partitions that would be empty afterwards. Refused, unless it is forced.
pub(super) fn lacking(
    args: &Args,
    chosen: &Dump,
    asked: &[Listed],
    Found { present, parts, .. }: &Found,
) -> Result<Vec<String>> {
    if args.table != Table::Replace || present.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = asked.to_vec();
    if !parts.is_empty() {
        let tables = parts.iter().map(There::sql).collect();
        known.extend(listed(&Args { tables, only: args.only.clone(), ..Args::default() }, chosen)?);
    }
    let all = [&present[..], parts].concat();
    let found = |t: &There| known.iter().find(|l| t.is(&l.schema, &l.name));
    let is_filled = |t: &There| found(t).is_some_and(|l| l.filled);
    let whole = |t: &There| t.parent.as_ref().and_then(|(s, n)| all.iter().find(|t| t.is(s, n)));
    let is_within = |t: &There| std::iter::successors(Some(t), |t| whole(t)).any(is_filled);
    // INSERT statements tell nothing of a table without rows: there the whole speaks for its partitions
    let by_insert = known.iter().any(|l| l.rows > 0 && !l.hashed);
    let is_lost = |t: &&There| match t.is_partitioned() {
        true => !is_within(t) && !partitions(std::slice::from_ref(t), &all).iter().any(is_filled),
        // what the dump does not know was made since
        false => found(t).is_some() && !is_within(t) && !(by_insert && whole(t).is_some()),
    };
    let lost: Vec<String> = all.iter().filter(is_lost).map(|t| format!("{}.{}", t.schema, t.name)).collect();
    if lost.is_empty() || args.force.contains("part") {
        return Ok(lost);
    }
    let names = lost.join(", ");
    Err(Error::refused(format!(
        "'{}' holds no rows of {names}, which would be empty afterwards",
        chosen.name
    ))
    .hint("Take a dump that has them; TRUNCATE empties a table. --force=part lifts this."))
}
