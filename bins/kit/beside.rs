//! Databases that stand beside a live one: the one that a restore fills, and the one that it took the
//! place of.
//!
//! Each is known by the first line of its comment, which says what it is, since when, and of which
//! database; the rest of the comment is its own. The name says the same for people, as far as it fits.

use crate::exit::Result;
use crate::pg::{LONGEST_NAME, Server, identifier, literal};
use crate::stamp::Stamp;

/// What a database beside another is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A restore fills it; left by one that did not end, it is of no use.
    Restore,
    /// What was there before a restore.
    Before,
}

/// A database beside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Its name.
    pub name: String,
    /// What it is.
    pub what: What,
    /// Since when.
    pub stamp: Stamp,
    /// The database that it belongs to.
    pub of: String,
    /// A restore in place has dropped that one: this has its owner, settings and grants.
    pub in_place: bool,
    /// Its size; 0 where the role may not ask.
    pub bytes: u64,
}

impl What {
    /// The word for it in names and marks.
    pub fn word(self) -> &'static str {
        match self {
            What::Restore => "restore",
            What::Before => "before",
        }
    }

    /// How the mark of such a database begins.
    pub fn prefix(self) -> String {
        format!("pgkeep {} ", self.word())
    }

    /// `NAME__before_YYYYMMDD_HHMMSS`; a long name is cut, and told from others by a hash.
    pub fn name(self, of: &str, stamp: Stamp) -> String {
        let ending = format!("__{}_{}", self.word(), stamp.compact());
        let room = LONGEST_NAME - ending.len();
        if of.len() <= room {
            return format!("{of}{ending}");
        }
        let hash = format!("~{:06x}", xxhash_rust::xxh3::xxh3_64(of.as_bytes()) & 0xff_ffff);
        let mut end = room - hash.len();
        while !of.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}{hash}{ending}", &of[..end])
    }

    /// SQL that marks database `name` as this, of database `of`.
    pub fn mark(self, name: &str, of: &str, stamp: Stamp) -> String {
        self.marked(name, of, stamp, "")
    }

    fn marked(self, name: &str, of: &str, stamp: Stamp, how: &str) -> String {
        let mark = format!("{}{}{how} of {of}", self.prefix(), stamp.compact());
        // one that it has from another name goes
        comment(name, &format!("{} || coalesce(E'\\n' || {BARE}, '')", literal(&mark)))
    }
}

/// SQL that marks database `name` as one that is filled to stand in for `of`, which is dropped before.
pub fn mark_in_place(name: &str, of: &str, stamp: Stamp) -> String {
    What::Restore.marked(name, of, stamp, IN_PLACE)
}

/// What a mark says then.
const IN_PLACE: &str = " in place";

/// A time later than those of all that stands beside others: the latest is what was before the latest
/// restore, also where several come in a second, or the clock was set back.
pub fn next_stamp(all: &[Beside]) -> Stamp {
    let newest = all.iter().map(|b| b.stamp.plus(1)).max();
    newest.map_or(Stamp::now(), |newest| newest.max(Stamp::now()))
}

/// SQL that takes the mark of database `name` away.
pub fn unmark(name: &str) -> String {
    comment(name, BARE)
}

/// A comment without its mark: what stands behind the first line.
const BARE: &str = "CASE WHEN was LIKE 'pgkeep before %' OR was LIKE 'pgkeep restore %' \
    THEN nullif(substr(was, strpos(was || E'\\n', E'\\n') + 1), '') ELSE was END";

/// SQL that gives database `name` a comment made of the one that it has, `was`.
fn comment(name: &str, new: &str) -> String {
    let name = literal(name);
    // a comment is a string in SQL; E'' reads the same whatever standard_conforming_strings says
    let block = format!(
        "DECLARE was text := (SELECT pg_catalog.shobj_description(oid, 'pg_database') \
        FROM pg_catalog.pg_database WHERE datname = {name}); \
        BEGIN EXECUTE pg_catalog.format('COMMENT ON DATABASE %I IS %s', {name}, \
        pg_catalog.quote_nullable({new})); END"
    );
    let mut tag = "$pgkeep$".to_owned();
    while block.contains(&tag) {
        tag.insert(1, 'x');
    }
    format!("DO {tag} {block} {tag};\n")
}

/// SQL that asks which databases stand beside others.
pub const LIST: &str = "SELECT datname, split_part(shobj_description(oid, 'pg_database'), E'\\n', 1), \
    CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END \
    FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE 'pgkeep %';";

/// The databases that stand beside others, newest first.
///
/// # Errors
/// When the server does not answer.
pub fn list(server: &Server, database: &str) -> Result<Vec<Beside>> {
    server.query(database, LIST).map(|rows| listed(&rows))
}

/// What the answer to [`LIST`] tells, newest first.
pub fn listed(rows: &[Vec<String>]) -> Vec<Beside> {
    let mut found: Vec<Beside> = rows.iter().filter_map(|row| parse(row)).collect();
    found.sort_by(|a, b| (b.stamp, &a.name).cmp(&(a.stamp, &b.name)));
    found
}

fn parse(row: &[String]) -> Option<Beside> {
    let [name, mark, bytes] = row else { return None };
    let (what, rest) = mark.strip_prefix("pgkeep ")?.split_once(' ')?;
    let what = [What::Restore, What::Before].into_iter().find(|w| w.word() == what)?;
    let (stamp, of) = rest.split_once(" of ")?;
    let in_place = stamp.strip_suffix(IN_PLACE);
    let (stamp, in_place) = (in_place.unwrap_or(stamp), in_place.is_some() && what == What::Restore);
    // a time in the last year that can be written has no later one
    let stamp = Stamp::parse_compact(stamp).filter(|stamp| stamp.plus(366 * 86_400).compact().len() == 15)?;
    // one that somebody has renamed is whatever its name says
    (what.name(of, stamp) == *name).then_some(())?;
    let (name, of, bytes) = (name.clone(), of.to_owned(), bytes.parse().unwrap_or(0));
    Some(Beside { name, what, stamp, of, in_place, bytes })
}

/// SQL that fails where what was written so far finds no room on the disks. A database is created without
/// all of its blocks being there, and one whose drop fails at that is lost: neither whole nor gone. Who may
/// not ask for a checkpoint goes without.
pub const FLUSH: &str = "DO $$ BEGIN CHECKPOINT; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;\n";

/// SQL that ends all sessions in a database and drops it.
/// `version`: the server's `server_version_num`.
pub fn drop_database(version: u32, name: &str, is_template: bool) -> String {
    let quoted = identifier(name);
    let free =
        if is_template { format!("ALTER DATABASE {quoted} IS_TEMPLATE false;\n") } else { String::new() };
    // PostgreSQL 13 ends the sessions and drops in one step, so that none can come back between
    if version >= 130_000 {
        return format!("{free}DROP DATABASE IF EXISTS {quoted} WITH (FORCE);");
    }
    format!(
        "{free}ALTER DATABASE {quoted} ALLOW_CONNECTIONS false;\n\
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid();\n\
         DROP DATABASE IF EXISTS {quoted};",
        literal(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_marks_are_read_back() {
        let stamp = Stamp::parse_compact("20261121_064645").unwrap();
        assert_eq!(What::Before.name("shop", stamp), "shop__before_20261121_064645");
        let long = What::Restore.name(&"ü".repeat(31), stamp);
        assert!(long.len() <= LONGEST_NAME && long.ends_with("__restore_20261121_064645"), "{long}");
        assert_ne!(long, What::Restore.name(&format!("{}x", "ü".repeat(31)), stamp));
        let name = "my of shop__before_20261121_064645".to_owned();
        let row = [name, "pgkeep before 20261121_064645 of my of shop".into(), "7".into()];
        let beside = parse(&row).unwrap();
        assert_eq!((beside.of.as_str(), beside.what, beside.bytes), ("my of shop", What::Before, 7));
        let left = "shop__restore_20261121_064645".to_owned();
        let row_in_place = [left, "pgkeep restore 20261121_064645 in place of shop".into(), String::new()];
        let left = parse(&row_in_place).unwrap();
        assert_eq!((left.of.as_str(), left.what, left.in_place), ("shop", What::Restore, true));
        assert_eq!(next_stamp(&[]), next_stamp(std::slice::from_ref(&beside)));
        let ahead = Stamp::now().plus(100);
        assert_eq!(next_stamp(&[beside, Beside { stamp: ahead, ..left }]), ahead.plus(1));
        assert_eq!(parse(&["my of shop".into(), row[1].clone(), "7".into()]), None);
        assert_eq!(parse(&["x".into(), "pgkeep is nice".into(), String::new()]), None);
    }
}
