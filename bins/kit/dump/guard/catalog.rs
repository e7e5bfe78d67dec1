//! What writes the system catalogs, which no dump does: every right and every setting stands in them. Pure.

use crate::dump::object::{describe, kind_of, name_of};
use crate::dump::scan::{display, text_of};
use crate::dump::token::{Parser, Qualified, Token};

/// The catalogs, which are meant where a name has no schema; those of text search apart, whose names
/// tables of tsearch2 had before version 8.3.
const CATALOGS: &str = "pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_authid pg_cast \
    pg_class pg_collation pg_constraint pg_conversion pg_database pg_db_role_setting pg_default_acl \
    pg_depend pg_description pg_enum pg_event_trigger pg_extension pg_foreign_data_wrapper \
    pg_foreign_server pg_foreign_table pg_index pg_inherits pg_init_privs pg_language pg_largeobject \
    pg_largeobject_metadata pg_namespace pg_opclass pg_operator pg_opfamily pg_parameter_acl \
    pg_partitioned_table pg_pltemplate pg_policy pg_proc pg_publication pg_publication_namespace \
    pg_publication_rel pg_range pg_replication_origin pg_rewrite pg_seclabel pg_sequence pg_settings \
    pg_shadow pg_shdepend pg_shdescription pg_shseclabel pg_statistic pg_statistic_ext \
    pg_statistic_ext_data pg_subscription pg_subscription_rel pg_tablespace pg_transform pg_trigger \
    pg_type pg_user_mapping";

/// What a statement does to an object of the system.
pub(super) fn written(head: &[u8]) -> Option<String> {
    let of_system = targets(head).into_iter().find(is_of_system)?;
    Some(format!("a change of {}, which is the system's own", display(&of_system)))
}

/// Whether an `UPDATE` says that a database is a template, or none: such a one cannot be dropped, nor is it
/// made as one.
pub(super) fn marks_template(statement: &[u8]) -> bool {
    let p = &mut Parser::new(statement);
    p.take("update")
        && p.qualified().is_some_and(|table| table.name == b"pg_database")
        && p.take("set")
        && p.take("datistemplate")
        && matches!(
            (p.0.next(), p.0.next(), p.take("where"), p.take("datname")),
            (Some(Token::Mark(b'=')), Some(Token::Word(_) | Token::String(_)), true, true)
        )
        && matches!((p.0.next(), p.0.next()), (Some(Token::Mark(b'=')), Some(Token::String(_))))
        && matches!((p.0.next(), p.0.next()), (None | Some(Token::Mark(b';')), None))
}

fn is_of_system(name: &Qualified) -> bool {
    let schemas: [&[u8]; 2] = [b"pg_catalog", b"information_schema"];
    match &name.schema {
        Some(schema) => schemas.contains(&schema.as_slice()),
        None => {
            let text = text_of(&name.name);
            schemas.contains(&name.name.as_slice()) || CATALOGS.split_whitespace().any(|known| known == text)
        }
    }
}

/// What a statement makes, fills, changes or drops, and the tables that this is of.
fn targets(head: &[u8]) -> Vec<Qualified> {
    let p = &mut Parser::new(head);
    if p.take("truncate") {
        p.take("table");
        return listed(p, "TABLE");
    }
    if p.take("drop") {
        while p.take_any(&["procedural", "trusted"]) {}
        return kind_of(p).map_or(Vec::new(), |kind| listed(p, kind));
    }
    if !p.take_any(&["alter", "copy", "create", "insert"]) {
        return Vec::new();
    }
    let object = describe(head);
    object.of.into_iter().chain([object.name]).collect()
}

/// The names of a list, and what stands behind `ON`.
fn listed(p: &mut Parser<'_>, kind: &str) -> Vec<Qualified> {
    p.skip_if_exists();
    let (mut names, mut depth) = (Vec::new(), 0);
    loop {
        p.take("only");
        names.extend(name_of(kind, p));
        loop {
            match p.0.next() {
                None => return names,
                Some(Token::Mark(b'(')) => depth += 1,
                Some(Token::Mark(b')')) => depth -= 1,
                Some(Token::Mark(b',')) if depth == 0 => break,
                Some(Token::Word(word)) if depth == 0 && word == b"on" => names.extend(p.qualified()),
                _ => {}
            }
        }
    }
}
