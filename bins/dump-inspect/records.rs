//! Records on standard output: columns on a terminal, tabs elsewhere, JSON on request.

use std::io::IsTerminal;

use kit::exit::Result;
use kit::out::{self, Output};
use serde_json::{Map, Value};

/// Records of one kind, written as they come, except that a terminal's columns wait for the last.
pub(crate) struct Records {
    header: &'static [&'static str],
    json: bool,
    waiting: Option<Vec<Vec<String>>>,
    out: Output,
}

impl Records {
    /// No record yet; `header` are the names of their fields, in capitals.
    pub(crate) fn new(header: &'static [&'static str], json: bool) -> Self {
        let columns = !json && std::io::stdout().is_terminal();
        Records { header, json, waiting: columns.then(Vec::new), out: Output::new() }
    }

    /// Adds a record, its fields in the order of the header.
    pub(crate) fn add(&mut self, fields: Vec<Value>) -> Result<()> {
        if self.json {
            let names = self.header.iter().map(|h| h.to_lowercase().replace(' ', "_"));
            let object: Map<String, Value> = names.zip(fields).collect();
            return self.out.write(format!("{}\n", Value::Object(object)).as_bytes());
        }
        let cells: Vec<String> = fields.iter().map(|f| out::plain(&cell(f))).collect();
        match &mut self.waiting {
            Some(rows) => rows.push(cells),
            None => self.out.write(format!("{}\n", cells.join("\t")).as_bytes())?,
        }
        Ok(())
    }

    /// The end of the records.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(rows) = &self.waiting {
            out::table(self.header, rows)?;
        }
        self.out.finish()
    }
}

/// A field as text; `-` where there is none.
fn cell(field: &Value) -> String {
    match field {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
