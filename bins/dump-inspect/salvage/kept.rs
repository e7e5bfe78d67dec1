//! Writing what is whole of a damaged dump, in one pass, and telling of the rest.

use std::ops::Range;

use kit::dump::columns::Columns;
use kit::exit::Result;
use kit::manifest::Item;
use kit::out::{Output, Speech, count};

/// An item, what of it can be read, and what is done with it.
pub(super) struct Step<'a> {
    pub(super) item: &'a Item,
    pub(super) kept: Vec<Range<u64>>,
    pub(super) how: How,
}

/// What is done with an item.
pub(super) enum How {
    Statement,
    /// Its rows are given; with columns, where the COPY statement is lost and made anew from them.
    Rows(Option<Columns>),
    /// Rows whose COPY statement is lost, and cannot be made anew.
    NoColumns,
    Lost,
}

pub(super) struct Writer<'a> {
    steps: &'a [Step<'a>],
    out: Output,
    speech: &'a Speech,
    lost: usize,
    /// The step at hand.
    at: usize,
    /// Where the stretch begins that its latest bytes are of.
    stretch: Option<u64>,
    /// Within a row that began before the stretch.
    skipping: bool,
    /// A row that has not ended.
    cut: Vec<u8>,
    rows: u64,
    /// Rows with another number of columns than their table.
    odd: u64,
    /// Columns of the rows at hand, where they are known.
    columns: Option<usize>,
    /// The text of the latest COPY statement.
    copy: Vec<u8>,
    /// The COPY statement made anew has been written, or none is needed.
    begun: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(steps: &'a [Step<'a>], speech: &'a Speech) -> Self {
        let mut writer = Writer {
            steps,
            out: Output::new(),
            speech,
            lost: 0,
            at: 0,
            stretch: None,
            skipping: false,
            cut: Vec::new(),
            rows: 0,
            odd: 0,
            columns: None,
            copy: Vec::new(),
            begun: true,
        };
        writer.begin();
        writer
    }

    /// Takes bytes of a stretch of a step.
    pub(super) fn take(&mut self, step: usize, stretch: &Range<u64>, bytes: &[u8]) -> Result<()> {
        self.up_to(step)?;
        let Step { item, how, .. } = &self.steps[step];
        if !matches!(how, How::Rows(_)) {
            if item.kind == "COPY" {
                self.copy.extend_from_slice(bytes);
            }
            return self.out.write(bytes);
        }
        if self.stretch.replace(stretch.start) != Some(stretch.start) {
            self.cut.clear();
            // a stretch behind damage begins within a row
            self.skipping = stretch.start != item.offset;
        }
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let ends = line.ends_with(b"\n");
            if self.skipping {
                self.skipping = !ends;
            } else if ends && self.cut.is_empty() {
                self.row(line)?;
            } else {
                self.cut.extend_from_slice(line);
                if ends {
                    let row = std::mem::take(&mut self.cut);
                    self.row(&row)?;
                }
            }
        }
        Ok(())
    }

    /// The end; how many parts are lost, in whole or in part.
    pub(super) fn finish(mut self) -> Result<usize> {
        self.up_to(self.steps.len())?;
        self.out.finish()?;
        Ok(self.lost)
    }

    fn row(&mut self, row: &[u8]) -> Result<()> {
        let fields = || 1 + memchr::memchr_iter(b'\t', row).count();
        if self.columns.is_some_and(|columns| columns != fields()) {
            self.odd += 1;
            return Ok(());
        }
        if let (How::Rows(Some(columns)), false) = (&self.steps[self.at].how, self.begun) {
            self.begun = true;
            self.out.write(&columns.copy())?;
            self.out.write(b"\n")?;
        }
        self.rows += 1;
        self.out.write(row)
    }

    fn up_to(&mut self, step: usize) -> Result<()> {
        while self.at < step {
            self.end()?;
            self.at += 1;
            self.begin();
        }
        Ok(())
    }

    /// Begins the step at hand.
    fn begin(&mut self) {
        let Some(Step { item, how, .. }) = self.steps.get(self.at) else { return };
        (self.stretch, self.skipping, self.rows, self.odd) = (None, false, 0, 0);
        self.cut.clear();
        let names = |columns: &Columns| (!columns.names.is_empty()).then_some(columns.names.len());
        self.columns = match how {
            How::Rows(None) => Columns::of_copy(&self.copy).as_ref().and_then(names),
            How::Rows(Some(columns)) => Some(columns.names.len().max(1)),
            _ => None,
        };
        self.begun = !matches!(how, How::Rows(Some(_)));
        if item.kind == "COPY" {
            self.copy.clear();
        }
    }

    /// Ends the step at hand.
    fn end(&mut self) -> Result<()> {
        let Step { item, kept, how } = &self.steps[self.at];
        match how {
            How::Statement => self.out.write(b"\n"),
            How::Lost => {
                self.statement(item);
                Ok(())
            }
            How::NoColumns => {
                self.rows_without_columns(item);
                Ok(())
            }
            How::Rows(anew) => {
                let all = item.offset..item.end();
                self.end_rows(item, *kept == [all], anew.is_some())
            }
        }
    }

    fn end_rows(&mut self, item: &Item, whole: bool, anew: bool) -> Result<()> {
        // of rows that all are odd, the columns made anew are not theirs
        if anew && self.rows == 0 && self.odd > 0 {
            self.rows_without_columns(item);
            return Ok(());
        }
        if self.begun {
            self.out.write(b"\\.\n")?;
        }
        if anew && self.rows > 0 {
            let name = item.full_name();
            self.speech.warn(&format!(
                "made anew from the table's columns: the statement before the rows of {name}"
            ));
        }
        if !whole || self.odd > 0 {
            self.lost += 1;
            let of = item.rows.map_or(String::new(), |n| format!(" of {}", count(n)));
            let name = item.full_name();
            self.speech.warn(&format!("lost: rows of {name}; {}{of} are kept", count(self.rows)));
        }
        Ok(())
    }

    /// A statement that is lost.
    fn statement(&mut self, item: &Item) {
        self.lost += 1;
        let what = match item.kind.as_str() {
            "END" => format!("all behind byte {}: {}", item.offset, item.name),
            "COPY" => format!("the statement before the rows of {}", item.full_name()),
            kind => format!("{} {} (byte {})", kind.to_lowercase(), item.full_name(), item.offset),
        };
        self.speech.warn(&format!("lost: {what}"));
    }

    /// Rows whose COPY statement is lost, and cannot be made anew.
    fn rows_without_columns(&mut self, item: &Item) {
        if item.bytes > 0 {
            self.lost += 1;
            let of = item.rows.map_or(String::new(), |n| format!("{} ", count(n)));
            self.speech.warn(&format!(
                "lost: all {of}rows of {}: the statement before them is damaged, and the columns of the \
                table are not certain",
                item.full_name()
            ));
        }
    }
}
