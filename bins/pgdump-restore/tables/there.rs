//! The tables of a database.

use kit::exit::Result;
use kit::pg::{Server, identifier};

/// A table of the database.
#[derive(Clone)]
pub(crate) struct There {
    pub(super) schema: String,
    pub(super) name: String,
    /// `r` for a table, `p` for one of partitions.
    pub(super) kind: String,
    /// Columns of its primary key.
    pub(crate) key: Vec<String>,
    /// Columns that the server numbers, and nobody may set.
    pub(crate) numbered: Vec<String>,
    /// Schema and name of the table that it is a partition of.
    pub(super) parent: Option<(String, String)>,
}

/// The name as SQL has it, quoted.
pub(super) fn quoted(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

impl There {
    /// Its name, quoted.
    pub(crate) fn sql(&self) -> String {
        quoted(&self.schema, &self.name)
    }

    pub(super) fn is(&self, schema: &str, name: &str) -> bool {
        self.schema == schema && self.name == name
    }

    /// Whether it is made of partitions.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.kind == "p"
    }
}

/// The tables of a database.
pub(super) fn there(server: &Server, database: &str) -> Result<Vec<There>> {
    let columns = |of: &str| format!("coalesce((SELECT json_agg(a.attname) FROM {of}), '[]')");
    let sql = format!(
        "SELECT n.nspname, c.relname, c.relkind, {}, {}, up.nspname, up.relname FROM pg_class c \
        JOIN pg_namespace n ON n.oid = c.relnamespace \
        LEFT JOIN (SELECT inhrelid, nspname, relname FROM pg_inherits JOIN pg_class p ON p.oid = inhparent \
            JOIN pg_namespace s ON s.oid = p.relnamespace WHERE relkind = 'p') up ON up.inhrelid = c.oid \
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema';",
        columns(
            "pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
            WHERE i.indrelid = c.oid AND i.indisprimary"
        ),
        columns("pg_attribute a WHERE a.attrelid = c.oid AND to_jsonb(a) ->> 'attidentity' = 'a'"),
    );
    let names = |text: &String| serde_json::from_str(text).unwrap_or_default();
    let row = |row: Vec<String>| {
        let [schema, name, kind, key, numbered, above @ ..] = &row[..] else { return None };
        Some(There {
            schema: schema.clone(),
            name: name.clone(),
            kind: kind.clone(),
            key: names(key),
            numbered: names(numbered),
            parent: match above {
                [schema, name] if !name.is_empty() => Some((schema.clone(), name.clone())),
                _ => None,
            },
        })
    };
    Ok(server.query(database, &sql)?.into_iter().filter_map(row).collect())
}
