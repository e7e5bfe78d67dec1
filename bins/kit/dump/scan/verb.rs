//! Whether a text can be SQL, by its first word.

/// What a statement of pg_dump or of a person can begin with. Anything else at the beginning of a dump
/// is a prompt or a warning that went into it, and psql would stop there.
const VERBS: [&[u8]; 34] = [
    b"abort",
    b"alter",
    b"analyze",
    b"begin",
    b"call",
    b"checkpoint",
    b"cluster",
    b"comment",
    b"commit",
    b"copy",
    b"create",
    b"delete",
    b"discard",
    b"do",
    b"drop",
    b"end",
    b"grant",
    b"import",
    b"insert",
    b"lock",
    b"merge",
    b"prepare",
    b"reassign",
    b"refresh",
    b"reindex",
    b"reset",
    b"revoke",
    b"security",
    b"select",
    b"set",
    b"start",
    b"truncate",
    b"update",
    b"with",
];

/// Whether a text begins like SQL.
pub(super) fn is_sql(text: &[u8]) -> bool {
    let word = text.split(|b| !b.is_ascii_alphabetic()).next().unwrap_or_default();
    VERBS.contains(&word.to_ascii_lowercase().as_slice())
}

/// Whether it is neither SQL nor has a dump's header in it.
pub(super) fn is_foreign(text: &[u8]) -> bool {
    !is_sql(text) && memchr::memmem::find(text, b"database dump").is_none()
}
