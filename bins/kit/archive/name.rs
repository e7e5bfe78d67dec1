//! Identifiers as pg_restore writes them (`fmtId`), and names in its comments (`sanitize_line`).

use super::header::Header;

/// Every keyword of PostgreSQL 15 that is not unreserved (`src/include/parser/kwlist.h`), sorted.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary \
bit boolean both case cast char character check coalesce collate collation column concurrently \
constraint create cross current_catalog current_date current_role current_schema current_time \
current_timestamp current_user dec decimal default deferrable desc distinct do else end except \
exists extract false fetch float for foreign freeze from full grant greatest group grouping having \
ilike in initially inner inout int integer intersect interval into is isnull join lateral leading \
least left like limit localtime localtimestamp national natural nchar none normalize not notnull \
null nullif numeric offset on only or order out outer overlaps overlay placing position precision \
primary real references returning right row select session_user setof similar smallint some \
substring symmetric table tablesample then time timestamp to trailing treat trim true union unique \
user using values varchar variadic verbose when where window with xmlattributes xmlconcat \
xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";
/// What 16 added.
const KEYWORDS_16: &str = "json_array json_arrayagg json_object json_objectagg system_user";
/// What 17 and 18 added.
const KEYWORDS_18: &str =
    "json json_exists json_query json_scalar json_serialize json_table json_value merge_action";

fn is_keyword(header: &Header, name: &[u8]) -> bool {
    let is_in = |list: &str| list.split(' ').any(|word| word.as_bytes() == name);
    is_in(KEYWORDS) || header.since(15) && is_in(KEYWORDS_16) || header.since(16) && is_in(KEYWORDS_18)
}

/// The identifier, in double quotes where it needs them. In every encoding of PostgreSQL a byte
/// that looks like a double quote is one.
pub(super) fn quoted(header: &Header, name: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let begins = matches!(name.first(), Some(b'a'..=b'z' | b'_'));
    if begins && name.iter().all(plain) && !is_keyword(header, name) {
        return name.to_vec();
    }
    let mut quoted = Vec::with_capacity(name.len() + 2);
    quoted.push(b'"');
    for byte in name {
        quoted.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
    }
    quoted.push(b'"');
    quoted
}

/// Schema and name, each as [`quoted`]; the name alone where there is no schema.
pub(super) fn qualified(header: &Header, schema: Option<&[u8]>, name: &[u8]) -> Vec<u8> {
    let mut both = Vec::new();
    if let Some(schema) = schema.filter(|schema| !schema.is_empty()) {
        both.extend(quoted(header, schema));
        both.push(b'.');
    }
    both.extend(quoted(header, name));
    both
}

/// The name as it stands in a comment: a line break must not end it.
pub(super) fn commented(name: Option<&[u8]>) -> Vec<u8> {
    let space = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    name.map_or_else(|| b"-".to_vec(), |name| name.iter().map(space).collect())
}
