//! The proof of a restore: as many rows as in the dump; with `--prove=hash` the very same rows and large
//! objects, and the same schema.

mod columns;
mod compare;
mod count;
pub(crate) mod schema;

use kit::exit::Result;
use kit::out::{self, Speech};
use kit::pg::Server;

use crate::check::{Checked, Table};
use crate::cli::Part;
use crate::plan::{Plan, Target};

/// How many tables that were counted alone are named.
const TOLD: usize = 10;

/// Every table of every target has the rows of the dump.
pub(crate) fn prove(
    plan: &Plan,
    checked: &Checked,
    server: &Server,
    hash: bool,
    speech: &Speech,
) -> Result<()> {
    let (mut tables, mut rows, mut counted) = (0, 0, Vec::new());
    for target in &plan.targets {
        let of = tables_of(target, checked, plan.part);
        tables += count::count(server, &target.place, encoding(target, checked), &of, plan.jobs)?;
        rows += of.iter().map(|t| t.rows).sum::<u64>();
        if hash {
            counted.extend(compare::compare(plan, target, &of, checked, server, speech)?);
        }
    }
    tell_proof(tables, rows, hash.then_some(counted), speech);
    Ok(())
}

/// The encoding that the dump has of this database, where it says so.
fn encoding<'a>(target: &Target, checked: &'a Checked) -> Option<&'a str> {
    let section = checked.facts.databases.iter().find(|s| s.name == target.section.as_bytes());
    section.and_then(|s| s.encoding.as_deref())
}

/// Says what has been proven. `counted`: the tables whose rows were counted alone where all others were
/// compared.
pub(crate) fn tell_proof(tables: usize, rows: u64, counted: Option<Vec<String>>, speech: &Speech) {
    let how = match counted {
        None => "counted, as in the dump".to_owned(),
        Some(counted) if counted.is_empty() => "compared with those of the dump".to_owned(),
        Some(mut counted) => {
            let more = counted.len().saturating_sub(TOLD);
            counted.truncate(TOLD);
            counted.extend((more > 0).then(|| format!("and {more} more")));
            let list = counted.join(", ");
            format!("compared with those of the dump, but counted in {list}")
        }
    };
    speech.say(&format!(
        "restored and proven: {} rows in {} tables, {how}",
        out::count(rows),
        out::count(tables as u64)
    ));
}

/// What a target's tables must hold.
pub(crate) fn tables_of(target: &Target, checked: &Checked, part: Part) -> Vec<Table> {
    let own = |t: &&Table| target.section.is_empty() || t.database == target.section.as_bytes();
    let empty = |t: Table| if part == Part::Schema { Table { rows: 0, hash: Some(0), ..t } } else { t };
    checked.tables.iter().filter(own).cloned().map(empty).collect()
}
