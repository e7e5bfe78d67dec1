//! What becomes of each statement of a dump: left out, changed, and who runs it. Pure.

use std::collections::BTreeSet;

use kit::beside::{FLUSH, What, drop_database};
use kit::dump::needs;
use kit::dump::object::{Object, describe, is_of_large_object};
use kit::dump::scan::{display, text_of};
use kit::dump::statement::{Statement, classify, transaction};
use kit::pg::identifier;

use crate::cli::{Part, Way};
use crate::plan::{Plan, Target};

/// Who runs a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nobody.
    Out,
    /// Every session.
    Set,
    /// The first session, when all before it is done.
    Main,
    /// It begins rows, which several load at once.
    Rows,
    /// One session, beside others: it makes an index.
    Build,
    /// One session, beside others: it makes a foreign key.
    Key,
    /// Whoever made the index before it.
    Beside,
    /// The first session, when the rows before it are there; what follows it need not wait.
    Value,
}

/// Where in the dump we are.
pub(crate) struct Router<'a> {
    plan: &'a Plan,
    /// The database that the present part goes into.
    place: String,
    /// The present part is not wanted.
    elsewhere: bool,
    /// Before the first database of a cluster dump.
    globals: bool,
    /// Nothing was made in this database yet: what `--clean` drops cannot be there.
    only_drops: bool,
    /// The schema that every database is born with is still there.
    public: bool,
    /// No statement has come yet.
    is_first: bool,
    /// The transaction that all of the dump is wrapped in, where it begins with one; then whether another
    /// is open within it, as around large objects.
    wrapped: Option<bool>,
    /// The latest COPY statement is left out, and so are its rows.
    rows_out: bool,
    /// What is to be run behind the present statement.
    after: Vec<u8>,
    table: Option<String>,
}

impl<'a> Router<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let place = plan.unnamed().map_or(&plan.entrance, |t| &t.place).clone();
        Router {
            plan,
            place,
            elsewhere: false,
            globals: plan.unnamed().is_none(),
            only_drops: true,
            public: true,
            is_first: true,
            wrapped: None,
            rows_out: false,
            after: Vec::new(),
            table: None,
        }
    }

    /// The database that the present part goes into.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Whether the present part is not wanted.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Whether the rows of the latest COPY statement are left out.
    pub(crate) fn leaves_rows_out(&self) -> bool {
        self.rows_out
    }

    /// What is to be run behind the statement, once.
    pub(crate) fn after(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.after)
    }

    /// The table whose rows have begun, once.
    pub(crate) fn table(&mut self) -> Option<String> {
        self.table.take()
    }

    /// The dump goes on in another database. Where to connect to, if that is needed.
    pub(crate) fn connect(&mut self, name: &str) -> Option<String> {
        let target = self.plan.targets.iter().find(|t| t.section == name);
        let wanted = self.plan.part != Part::Globals && self.plan.only.as_ref().is_none_or(|o| o == name);
        self.elsewhere = !wanted;
        self.globals = false;
        self.only_drops = true;
        self.public = true;
        // within a transaction nobody can connect elsewhere, and nobody needs to
        if self.elsewhere || self.plan.way == Way::Transaction {
            return None;
        }
        self.place = target.map_or(name, |t| &t.place).to_owned();
        Some(self.place.clone())
    }

    /// What becomes of the statement that begins with `head`, and its text. `parallel`: others than the
    /// first session may run it.
    pub(crate) fn route(&mut self, head: &[u8], parallel: bool) -> (Route, Vec<u8>) {
        let statement = classify(head);
        self.rows_out = false;
        if self.wraps(head) {
            return (Route::Out, Vec::new());
        }
        if self.elsewhere {
            self.rows_out = true;
            // the statements that make a database stand behind the contents of the one before it
            return match &statement {
                _ if self.keeps_unknown(head) => (Route::Out, Vec::new()),
                Statement::CreateDatabase(name) => self.created(&text_of(name), head),
                Statement::OnDatabase => self.on_database(head),
                Statement::Session if says_how_to_read(head) => (Route::Set, head.to_vec()),
                _ => (Route::Out, Vec::new()),
            };
        }
        match &statement {
            _ if self.keeps_unknown(head) => (Route::Out, Vec::new()),
            Statement::Session | Statement::SearchPath(_) => self.setting(head),
            Statement::CreateDatabase(name) => self.created(&text_of(name), head),
            Statement::OnDatabase => self.on_database(head),
            _ if self.globals && self.plan.only.is_some() => (Route::Out, Vec::new()),
            statement if self.is_out(statement) => (Route::Out, Vec::new()),
            statement => self.judged(statement, head, parallel),
        }
    }

    /// Whether a statement begins or ends a transaction around all of the dump: what is made in it would be
    /// hidden from the other sessions, which would wait for its end.
    fn wraps(&mut self, head: &[u8]) -> bool {
        let first = std::mem::take(&mut self.is_first);
        match (transaction(head), &mut self.wrapped) {
            (Some(true), wrapped @ None) if first => *wrapped = Some(false),
            (Some(begins), Some(inner)) => return !std::mem::replace(inner, begins) && !begins,
            _ => return false,
        }
        true
    }

    fn setting(&self, head: &[u8]) -> (Route, Vec<u8>) {
        let left_out = &self.plan.left_out;
        match needs::set(head) {
            Some((name, _)) if left_out.settings.contains(&text_of(&name)) => (Route::Out, Vec::new()),
            Some((name, Some(value)))
                if name == b"default_tablespace" && left_out.tablespaces.contains(&text_of(&value)) =>
            {
                (Route::Set, b"SET default_tablespace = '';".to_vec())
            }
            // what follows belongs to whoever restores
            _ if self.names_missing_role(head) => (Route::Set, b"RESET SESSION AUTHORIZATION;".to_vec()),
            _ => (Route::Set, head.to_vec()),
        }
    }

    /// Whether it would keep a parameter for a database or a role that this server does not know.
    fn keeps_unknown(&self, head: &[u8]) -> bool {
        let unknown = &self.plan.left_out.settings;
        !unknown.is_empty() && needs::kept(head).is_some_and(|name| unknown.contains(&text_of(&name)))
    }

    /// `CREATE DATABASE`: under the name that it is restored under, with a mark on it.
    fn created(&mut self, name: &str, head: &[u8]) -> (Route, Vec<u8>) {
        let made = |t: &&Target| t.section == name && t.by_dump && self.plan.way != Way::Transaction;
        let target = self.plan.targets.iter().find(made);
        let (Some(target), Some((place, _))) = (target, needs::database(head)) else {
            return (Route::Out, Vec::new());
        };
        self.after = What::Restore.mark(&target.place, &target.name, self.plan.stamp).into_bytes();
        if let Some(live) = target.present.as_ref().filter(|_| self.plan.drops_first(target)) {
            self.after.extend_from_slice(FLUSH.as_bytes());
            self.after.extend_from_slice(
                drop_database(self.plan.version, &target.name, live.is_template).as_bytes(),
            );
            self.after.push(b'\n');
        }
        let left_out = &self.plan.left_out;
        if needs::locales(head).iter().any(|l| left_out.locales.contains(&text_of(l))) {
            let text = format!("CREATE DATABASE {} TEMPLATE template0;", identifier(&target.place));
            return (Route::Main, text.into_bytes());
        }
        // it stands behind the name
        let tablespace = needs::tablespace(head).filter(|(_, t)| left_out.tablespaces.contains(&text_of(t)));
        let head = tablespace.map_or(head.to_vec(), |(at, _)| spliced(head, at, ""));
        (Route::Main, spliced(&head, place, &identifier(&target.place)))
    }

    /// Owner, settings, grants, comment of a database.
    fn on_database(&mut self, head: &[u8]) -> (Route, Vec<u8>) {
        let Some((place, name)) = needs::database(head) else { return (Route::Out, Vec::new()) };
        let name = text_of(&name);
        let unwanted = self.plan.part == Part::Globals
            || self.plan.way == Way::Transaction
            || self.plan.only.as_ref().is_some_and(|only| *only != name);
        let unnamed = self.plan.unnamed();
        let target = unnamed.or_else(|| self.plan.targets.iter().find(|t| t.section == name));
        match target {
            _ if unwanted || self.names_missing_role(head) => (Route::Out, Vec::new()),
            // the database is made like the one that is there, or like a new one
            Some(target) if !target.by_dump && unnamed.is_some() => (Route::Out, Vec::new()),
            Some(target) => {
                if head.len() > 7 && head[..7].eq_ignore_ascii_case(b"comment") {
                    self.after =
                        What::Restore.mark(&target.place, &target.name, self.plan.stamp).into_bytes();
                }
                (Route::Main, spliced(head, place, &identifier(&target.place)))
            }
            None => (Route::Main, head.to_vec()),
        }
    }

    /// Whether a statement is known to be wrong here.
    fn is_out(&mut self, statement: &Statement) -> bool {
        let left_out = &self.plan.left_out;
        match statement {
            Statement::CreateRole(name) => self.plan.roles.contains(&text_of(name)),
            Statement::CreateTablespace(name) => {
                let name = text_of(name);
                self.plan.tablespaces.contains(&name) || left_out.tablespaces.contains(&name)
            }
            Statement::DropRole(_) | Statement::DropDatabase(_) | Statement::DropTablespace(_) => true,
            Statement::CreateExtension(name) => {
                self.only_drops = false;
                left_out.extensions.contains(&text_of(name))
            }
            Statement::Drop => self.only_drops,
            Statement::DropPublic => {
                self.public = false;
                false
            }
            _ => {
                self.only_drops = false;
                false
            }
        }
    }

    fn judged(&mut self, statement: &Statement, head: &[u8], parallel: bool) -> (Route, Vec<u8>) {
        const ROWS: [&str; 5] = ["TABLE DATA", "SEQUENCE SET", "MATERIALIZED VIEW DATA", "BLOB", "BLOBS"];
        // of rows, nothing else is asked
        if let (Statement::Insert(_), Part::All) = (statement, self.plan.part) {
            return (Route::Main, head.to_vec());
        }
        let object = describe(head);
        if let Statement::Copy(table) = statement {
            self.table = Some(display(table));
            self.rows_out = self.plan.part == Part::Schema;
        }
        let out = match object.kind {
            kind if ROWS.contains(&kind) => self.plan.part == Part::Schema,
            "TRANSACTION" => self.plan.part == Part::Schema || self.plan.way == Way::Transaction,
            _ if self.plan.part == Part::Schema && is_of_large_object(head) => true,
            // as in a dump of the schema alone; what pg_dump grants on it is meant for one that is there
            "SCHEMA" if object.name.name == b"public" && std::mem::take(&mut self.public) => true,
            "TABLESPACE" | "ACL" | "COMMENT" if self.is_about_missing(&object) => true,
            "OWNER" | "ACL" | "DEFAULT ACL" | "POLICY" | "USER MAPPING" => self.names_missing_role(head),
            _ => false,
        };
        let route = match (object.kind, statement) {
            _ if out => Route::Out,
            (_, Statement::Copy(_)) if parallel && is_text(head) => Route::Rows,
            ("INDEX" | "CONSTRAINT", _) if parallel => Route::Build,
            ("FK CONSTRAINT", _) if parallel => Route::Key,
            ("TABLE ALTER" | "REPLICA IDENTITY" | "INDEX ALTER", _) if parallel => Route::Beside,
            ("COMMENT", _) if parallel && is_of_index(&object) => Route::Beside,
            ("SEQUENCE SET", _) if parallel => Route::Value,
            _ => Route::Main,
        };
        (route, head.to_vec())
    }

    fn names_missing_role(&self, head: &[u8]) -> bool {
        let missing = &self.plan.left_out.roles;
        !missing.is_empty() && needs::roles(head).iter().any(|r| missing.contains(&text_of(r)))
    }

    /// Whether a statement is about an extension or a tablespace that is left out.
    fn is_about_missing(&self, object: &Object) -> bool {
        let left_out = &self.plan.left_out;
        let name = object.name.name.as_slice();
        let is_in = |names: &BTreeSet<String>, name: &[u8]| names.contains(&text_of(name));
        (object.kind == "TABLESPACE" && is_in(&left_out.tablespaces, name))
            || name.strip_prefix(b"TABLESPACE ").is_some_and(|n| is_in(&left_out.tablespaces, n))
            || name.strip_prefix(b"EXTENSION ").is_some_and(|n| is_in(&left_out.extensions, n))
    }
}

/// Whether a statement says how names and strings of those after it are to be read.
fn says_how_to_read(head: &[u8]) -> bool {
    let set = needs::set(head);
    set.is_some_and(|(name, _)| name == b"client_encoding" || name == b"standard_conforming_strings")
}

/// Whether every line of a COPY's rows is a row of its own: nothing is said of another format, such as
/// CSV, where a value may go on in the next line.
fn is_text(copy: &[u8]) -> bool {
    const END: &[u8] = b"from stdin;";
    copy.len() > END.len() && copy[copy.len() - END.len()..].eq_ignore_ascii_case(END)
}

fn is_of_index(object: &Object) -> bool {
    [&b"INDEX "[..], b"CONSTRAINT "].iter().any(|kind| object.name.name.starts_with(kind))
}

fn spliced(text: &[u8], place: std::ops::Range<usize>, name: &str) -> Vec<u8> {
    [&text[..place.start], name.as_bytes(), &text[place.end..]].concat()
}

impl Plan {
    /// The only target, of a dump that does not name its database.
    pub(crate) fn unnamed(&self) -> Option<&Target> {
        if self.names_none { self.targets.first() } else { None }
    }
}
