//! The SQL around tables that are filled within one transaction: what stands in the way of the rows is
//! taken away before and put back after them. Pure.

use kit::dump::names;
use kit::pg::literal;

use crate::cli::Table;
use crate::tables::There;
use crate::tables::stream::Load;

/// Begins the transaction. For tables that are replaced or filled, foreign keys and triggers make room:
/// triggers have fired when the rows were new, and a key is made again when all rows are there, which
/// proves it for all of them at once. So do checks that are NOT VALID: rows of the dump may be older than they.
pub(crate) fn begin(how: &Table, present: &[There]) -> String {
    // names come out qualified where the search path is empty
    let mut sql = String::from(
        "SET client_encoding = 'UTF8';\nSET search_path = '';\nSET lock_timeout = '10s';\nBEGIN;\n",
    );
    sql.push_str("CREATE TEMP TABLE pgkeep_before (of pg_catalog.regclass, rows bigint) ON COMMIT DROP;\n");
    if present.is_empty() || !matches!(how, Table::Replace | Table::Append) {
        return sql;
    }
    let mine: Vec<String> = present.iter().map(|t| format!("{}::regclass", literal(&t.sql()))).collect();
    // a partition's key is that of the whole table, and goes with it; rows that are added leave the keys of others as they are
    let referring = if *how == Table::Replace { "OR confrelid = ANY (mine)" } else { "" };
    let mut block = format!(
        "DECLARE mine pg_catalog.regclass[] := ARRAY[{}]; it record; BEGIN\n\
        FOR it IN SELECT unnest(mine) AS of LOOP\n\
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', it.of);\n\
        END LOOP;\n\
        FOR it IN WITH RECURSIVE up AS (\n\
                SELECT oid, conparentid FROM pg_constraint \
                WHERE contype = 'f' AND (conrelid = ANY (mine) {referring}) \
                UNION SELECT c.oid, c.conparentid FROM pg_constraint c JOIN up ON c.oid = up.conparentid) \
            SELECT conrelid::regclass AS of, conname, pg_get_constraintdef(oid) AS def, \
            obj_description(oid, 'pg_constraint') AS said FROM pg_constraint \
            WHERE oid IN (SELECT oid FROM up WHERE conparentid = 0) OR (contype = 'c' AND NOT convalidated \
            AND coninhcount = 0 AND conrelid = ANY (mine)) LOOP\n\
            INSERT INTO pg_temp.pgkeep_after (command) \
                VALUES (format('ALTER TABLE %s ADD CONSTRAINT %I %s', it.of, it.conname, it.def));\n\
            INSERT INTO pg_temp.pgkeep_after (command) \
                SELECT format('COMMENT ON CONSTRAINT %I ON %s IS %L', it.conname, it.of, it.said) \
                WHERE it.said IS NOT NULL;\n\
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', it.of, it.conname);\n\
        END LOOP;\n\
        FOR it IN SELECT tgrelid::regclass AS of, tgname, \
            CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END AS mode \
            FROM pg_trigger t WHERE NOT tgisinternal AND tgrelid = ANY (mine) AND tgenabled <> 'D' \
            AND coalesce((to_jsonb(t) ->> 'tgparentid')::oid, 0) = 0 LOOP\n\
            INSERT INTO pg_temp.pgkeep_after (command) \
                VALUES (format('ALTER TABLE %s ENABLE %s TRIGGER %I', it.of, it.mode, it.tgname));\n\
            EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', it.of, it.tgname);\n\
        END LOOP;\n",
        mine.join(", ")
    );
    if *how == Table::Replace {
        // of a table of partitions, all of them
        let only = |t: &There| if t.is_partitioned() { "" } else { "ONLY " };
        let names: Vec<String> = present.iter().map(|t| format!("{}{}", only(t), t.sql())).collect();
        block.push_str(&format!("EXECUTE {};\n", literal(&format!("TRUNCATE {}", names.join(", ")))));
    }
    block.push_str("END");
    sql.push_str("CREATE TEMP TABLE pgkeep_after (n serial, command text) ON COMMIT DROP;\n");
    sql.push_str(&done(block.as_bytes()));
    sql
}

/// Runs `block` within one statement.
fn done(block: &[u8]) -> String {
    String::from_utf8_lossy(&in_do(block)).into_owned()
}

fn in_do(block: &[u8]) -> Vec<u8> {
    let mut tag = b"$pgkeep$".to_vec();
    while memchr::memmem::find(block, &tag).is_some() {
        tag.insert(1, b'x');
    }
    [b"DO ", tag.as_slice(), b" ", block, b" ", &tag, b";\n"].concat()
}

/// The rows of a table: its own, without those of tables that inherit from it, but with those of its
/// partitions.
pub(crate) fn count(table: &[u8]) -> Vec<u8> {
    let kind = [
        b"(SELECT relkind FROM pg_catalog.pg_class WHERE oid = ",
        &names::quoted(table, b'\'')[..],
        b"::pg_catalog.regclass)",
    ]
    .concat();
    let of = |only: &[u8]| [b"(SELECT count(*) FROM ", only, table, b")"].concat();
    [b"CASE ", kind.as_slice(), b" WHEN 'p' THEN ", &of(b""), b" ELSE ", &of(b"ONLY "), b" END"].concat()
}

/// Puts back what made room, and counts. `upserted`: the rows of each were counted by their keys
/// before.
pub(crate) fn end(loads: &[Load], upserted: bool) -> Vec<u8> {
    let mut sql = in_do(
        b"DECLARE it record; BEGIN IF pg_catalog.to_regclass('pg_temp.pgkeep_after') IS NOT NULL THEN \
        FOR it IN EXECUTE 'SELECT command FROM pg_temp.pgkeep_after ORDER BY n' LOOP EXECUTE it.command; END LOOP; \
        END IF; END",
    );
    for load in loads.iter().filter(|_| !upserted) {
        sql.extend_from_slice(&proof(&load.table, load.rows, BEFORE));
    }
    sql
}

/// How many rows a table had before.
const BEFORE: &[u8] = b"coalesce((SELECT max(rows) FROM pg_temp.pgkeep_before WHERE of = me), 0)";

/// SQL that fails unless a table has as many more rows than `before`, which is an expression.
pub(crate) fn proof(name: &[u8], rows: u64, before: &[u8]) -> Vec<u8> {
    let text = names::quoted(name, b'\'');
    let rows = rows.to_string();
    let block = [
        b"DECLARE me pg_catalog.regclass := ",
        text.as_slice(),
        b"; n bigint := ",
        &count(name),
        b"; want bigint := ",
        rows.as_bytes(),
        b" + ",
        before,
        b"; BEGIN IF n <> want THEN RAISE EXCEPTION '% has % rows, the dump %', ",
        &text,
        b", n, want; END IF; END",
    ];
    in_do(&block.concat())
}
