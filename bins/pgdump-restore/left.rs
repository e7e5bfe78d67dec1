//! What a restore leaves that did not come to its end: it is removed, now or by the next one, and told.

use kit::beside::{Beside, LIST, What, listed, mark_in_place, next_stamp};
use kit::child::clean_up;
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::pg::{Server, identifier};

use crate::cli::Way;
use crate::create::definition;
use crate::plan::{Plan, Target};
use crate::survey::{INVALID, has_objects};
use crate::swap::{AS_IT_WAS, drop_each, drop_one};

/// Drops all tables: unlike TRUNCATE, that takes no room. One may have gone with another.
const EMPTY: &str = "SET search_path = pg_catalog, pg_temp; \
    DO $$ DECLARE t record; BEGIN FOR t IN SELECT nspname, relname FROM pg_class c \
    JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p') AND c.oid >= 16384 \
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') LOOP \
    EXECUTE format('DROP TABLE IF EXISTS %I.%I CASCADE', t.nspname, t.relname); END LOOP; END $$;";

/// The databases that are whole, by their names and numbers.
fn whole() -> String {
    format!("SELECT datname, oid FROM pg_database WHERE datconnlimit <> {INVALID};")
}

/// The names in the answer to that.
fn names(whole: &[Vec<String>]) -> Vec<String> {
    whole.iter().filter_map(|row| row.first().cloned()).collect()
}

/// Those that no role could have made to be taken for one that stands in: whoever may create databases, and is no
/// superuser, is no member of its owner; or we own it.
const TRUSTED: &str = "SELECT datname FROM pg_database d WHERE \
    shobj_description(d.oid, 'pg_database') LIKE 'pgkeep restore % in place of %' \
    AND (pg_get_userbyid(datdba) = current_user OR NOT EXISTS (SELECT 1 FROM pg_roles r WHERE rolcreatedb \
    AND NOT rolsuper AND pg_has_role(r.oid, d.datdba, 'MEMBER')));";

/// Drops what restores have left that did not end: nobody else restores, so it is nobody's. One that was
/// killed when it had created a database, and not come to mark it, left nothing to tell of it but its name, so
/// only what is empty is taken for that. What stands in for a database that was dropped in place stays, unless
/// `plan` has another definition of it.
pub(crate) fn drop_left(plan: &mut Plan, server: &Server, speech: &Speech) -> Result<()> {
    let unmarked = format!(
        "SELECT datname FROM pg_database d WHERE datname ~ '__{}_[0-9]{{8}}_[0-9]{{6}}$' AND datallowconn \
        AND NOT datistemplate AND datconnlimit <> {INVALID} AND pg_has_role(datdba, 'USAGE') \
        AND shobj_description(oid, 'pg_database') IS NULL \
        AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datid = d.oid);",
        What::Restore.word()
    );
    let entrance = &plan.entrance.clone();
    let [marked, unmarked, whole, trusted] =
        server.queries(entrance, [LIST, &unmarked, &whole(), TRUSTED])?;
    let (there, names) = (listed(&marked), names(&whole));
    // what cannot be dropped below is no reason to do without
    plan.settle(&there, &names, &trusted.concat(), speech);
    let defined = |b: &Beside| plan.targets.iter().any(|t| t.name == b.of && t.by_dump);
    let stands_in = |b: &Beside| stands_in(b, &names) && !defined(b);
    let left = there.iter().filter(|b| b.what == What::Restore && !stands_in(b));
    drop_each(server, entrance, speech, left)?;
    for name in unmarked.concat() {
        // without the others' sessions being ended: whoever has come meanwhile may be at work in it
        if !has_objects(server, &name)? {
            server.query(entrance, &format!("DROP DATABASE {};", identifier(&name)))?;
            speech.say(&format!("removed {name}, empty, left by a restore that did not end"));
        }
    }
    Ok(())
}

/// A restore has dropped the database that this was to take the place of, and did not come to that: it is all
/// that has the owner, settings and grants of that.
fn stands_in(beside: &Beside, names: &[String]) -> bool {
    beside.in_place && !names.contains(&beside.of)
}

impl Plan {
    /// Takes in what stands beside others now that nobody else restores: databases get names of a later time,
    /// and the definition of one that is gone is that of what stands in for it.
    fn settle(&mut self, there: &[Beside], names: &[String], trusted: &[String], speech: &Speech) {
        if there.iter().any(|b| b.stamp >= self.stamp) {
            self.stamp = next_stamp(there);
            let beside = self.way != Way::Transaction;
            for target in self.targets.iter_mut().filter(|_| beside) {
                target.place = What::Restore.name(&target.name, self.stamp);
            }
        }
        let gone = |b: &&Beside| {
            let of = |t: &Target| t.name == b.of && t.present.is_none() && !t.by_dump;
            stands_in(b, names) && self.targets.iter().any(of)
        };
        let (stand_ins, others): (Vec<_>, Vec<_>) =
            there.iter().filter(gone).cloned().partition(|b| trusted.contains(&b.name));
        for Beside { name, of, .. } in others {
            speech.warn(&format!(
                "warning: the owner, settings and grants of '{name}' are not given to '{of}': its owner may create \
                databases, and could have made it for that"
            ));
            speech.warn(
                "hint: If a restore in place has left it, give them by hand; the next restore removes it.",
            );
        }
        self.stand_ins = stand_ins;
    }

    /// What stands in for a target.
    pub(crate) fn stand_in(&self, target: &Target) -> Option<&Beside> {
        self.stand_ins.iter().find(|b| b.of == target.name)
    }
}

/// What there is after a restore that has failed.
struct Remains {
    /// What should have been removed, and is there.
    left: Vec<String>,
    /// What stands in for a database that was dropped.
    stand_ins: Vec<String>,
    /// Databases that have changed names all the same.
    swapped: Vec<String>,
    /// Databases that were dropped and have been replaced all the same.
    replaced: Vec<String>,
    /// Databases that are gone.
    gone: Vec<String>,
    /// Those whose drop has not ended.
    half: Vec<String>,
}

/// Removes what a failed restore has made, and looks what there is. `None` where the server does not say.
fn remains(plan: &Plan, server: &Server) -> Option<Remains> {
    let half = format!("SELECT datname FROM pg_database WHERE datconnlimit = {INVALID};");
    let [marked, whole, half] = server.queries(&plan.entrance, [LIST, &whole(), &half]).ok()?;
    let (there, names, mut half) = (listed(&marked), names(&whole), half.concat());
    let (mut left, mut stand_ins) = (Vec::new(), Vec::new());
    for target in &plan.targets {
        let Some(beside) = there.iter().find(|b| b.name == target.place) else { continue };
        if stands_in(beside, &names) {
            let made = stand_in(plan, target, &there, server).or_else(|_| {
                // where the disk is full, it is so of these rows
                server.query(&target.place, EMPTY)?;
                stand_in(plan, target, &there, server)
            });
            match made {
                Ok(name) => stand_ins.push(name),
                // then it is the only one that has them, with whatever was loaded
                Err(_) => {
                    stand_ins.push(target.place.clone());
                    continue;
                }
            }
        }
        if drop_one(server, &plan.entrance, &target.place).is_err() {
            left.push(target.place.clone());
        }
    }
    let swapped = there.iter().filter(|b| b.what == What::Before && b.stamp == plan.stamp);
    let swapped = swapped.map(|b| b.of.clone()).collect();
    let dropped = plan.targets.iter().filter(|t| t.present.is_some() && plan.drops_first(t));
    let dropped: Vec<String> = dropped.map(|t| t.name.clone()).collect();
    half.retain(|name| dropped.contains(name));
    let is_another = |t: &&Target| {
        let was = t.present.as_ref().map(|live| &live.oid);
        let is = whole.iter().find(|row| row.first() == Some(&t.name)).and_then(|row| row.get(1));
        plan.drops_first(t) && was.is_some() && is.is_some() && is != was
    };
    let replaced = plan.targets.iter().filter(is_another).map(|t| t.name.clone()).collect();
    let gone = dropped.into_iter().filter(|name| !names.contains(name) && !half.contains(name)).collect();
    Some(Remains { left, stand_ins, swapped, replaced, gone, half })
}

/// Makes an empty database with the owner, settings and grants that `target` had, which is dropped: those of the
/// one that was to take its place. Its name.
fn stand_in(plan: &Plan, target: &Target, there: &[Beside], server: &Server) -> Result<String> {
    let stamp = next_stamp(there);
    let name = What::Restore.name(&target.name, stamp);
    let mark = What::Restore.mark(&name, &target.name, stamp);
    let definition = definition(server, &target.place, &name, &mark)?;
    let made = server.query_in("UTF8", &plan.entrance, &definition);
    let made = made.and_then(|_| server.query(&plan.entrance, &mark_in_place(&name, &target.name, stamp)));
    match made {
        Ok(_) => Ok(name),
        Err(error) => {
            // what has a part of them only is no use, and without that mark the next restore's to remove
            let _ = drop_one(server, &plan.entrance, &name);
            Err(error)
        }
    }
}

/// The error of a restore that has failed: what was there is as it was, or is gone.
pub(crate) fn explain(plan: &Plan, server: &Server, safety: Option<&str>, error: Error) -> Error {
    if plan.targets.is_empty() || plan.way == Way::Transaction {
        return error.hint(AS_IT_WAS);
    }
    let list = |names: &[String]| names.join(", ");
    let Some(remains) = clean_up(|| remains(plan, server)) else {
        let places: Vec<String> = plan.targets.iter().map(|t| t.place.clone()).collect();
        let hint = format!("Perhaps left over, and then removed by the next restore: {}.", list(&places));
        let dropped = plan.targets.iter().filter(|t| t.present.is_some() && plan.drops_first(t));
        let dropped: Vec<String> = dropped.map(|t| t.name.clone()).collect();
        let error = error.hint(hint);
        return match dropped.is_empty() {
            true => error.hint(AS_IT_WAS),
            false => {
                let hint = format!("Dropped before, if the restore had come so far: {}.", list(&dropped));
                with_safety(error.hint(hint), safety)
            }
        };
    };
    let Remains { left, stand_ins, swapped, replaced, gone, half } = remains;
    let mut error = error;
    if !left.is_empty() {
        error = error.hint(format!("Left over, and removed by the next restore: {}.", list(&left)));
    }
    // the answer to a swap may be lost, and the swap not
    if !swapped.is_empty() {
        return error.hint(format!("Replaced all the same: {}; --undo goes back.", list(&swapped)));
    }
    if gone.is_empty() && half.is_empty() && replaced.is_empty() {
        return error.hint(AS_IT_WAS);
    }
    if !replaced.is_empty() {
        error = error.hint(format!("Replaced all the same: {}.", list(&replaced)));
    }
    if !gone.is_empty() {
        error = error.hint(format!("Dropped before: {}.", list(&gone)));
    }
    if !stand_ins.is_empty() {
        error = error.hint(format!(
            "Owner, settings and grants are kept for the next restore, by {}.",
            list(&stand_ins)
        ));
    }
    if !half.is_empty() {
        error = error.hint(format!(
            "Dropped halfway, and of no use any more: {}. When the cause is gone, DROP DATABASE each once more, \
            then restore again.",
            list(&half)
        ));
    }
    with_safety(error, safety)
}

fn with_safety(error: Error, safety: Option<&str>) -> Error {
    match safety {
        Some(path) => error.hint(format!("What they were is in {path}.")),
        None => error,
    }
}
