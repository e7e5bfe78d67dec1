//! COPY's text format as CSV (RFC 4180, line ends of one newline), as it comes.
//!
//! NULL is nothing at all and an empty text is `""`, as PostgreSQL's own CSV has it, so that what is
//! written here comes back by `COPY … FROM … (FORMAT csv, HEADER)`. Escapes are those of "COPY, Text
//! Format" in PostgreSQL's documentation.

/// How much of a field is held back to see whether it needs quotes.
const HELD: usize = 64 << 10;

/// A table on its way into CSV.
#[derive(Default)]
pub(crate) struct Csv {
    field: Vec<u8>,
    is_null: bool,
    escaped: bool,
    /// The field is too long to be held: its quote has been written.
    open: bool,
}

impl Csv {
    /// The line of the columns' names.
    pub(crate) fn header(names: &[Vec<u8>]) -> Vec<u8> {
        let mut line = Vec::new();
        for (i, name) in names.iter().enumerate() {
            line.extend((i > 0).then_some(b','));
            if needs_quotes(name) { quote(name, &mut line) } else { line.extend_from_slice(name) }
        }
        line.push(b'\n');
        line
    }

    /// Takes COPY data in any pieces, appends CSV to `out`.
    pub(crate) fn feed(&mut self, data: &[u8], out: &mut Vec<u8>) {
        for byte in data {
            match (std::mem::take(&mut self.escaped), *byte) {
                (true, b'N') if self.field.is_empty() && !self.open => self.is_null = true,
                (true, c) => self.push(unescaped(c), out),
                (false, b'\\') => self.escaped = true,
                (false, b'\t') => self.end(b',', out),
                (false, b'\n') => self.end(b'\n', out),
                (false, c) => self.push(c, out),
            }
        }
    }

    fn push(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.field.push(byte);
        if self.field.len() >= HELD {
            if !std::mem::replace(&mut self.open, true) {
                out.push(b'"');
            }
            doubled(&self.field, out);
            self.field.clear();
        }
    }

    fn end(&mut self, separator: u8, out: &mut Vec<u8>) {
        if self.open {
            doubled(&self.field, out);
            out.push(b'"');
        } else if !self.is_null {
            if needs_quotes(&self.field) {
                quote(&self.field, out);
            } else {
                out.extend_from_slice(&self.field);
            }
        }
        out.push(separator);
        *self = Csv::default();
    }
}

/// Takes COPY data in any pieces and appends it to `out` with the fields of each row in this order;
/// `cut` holds the row that has not ended yet.
pub(crate) fn reorder(order: &[usize], data: &[u8], cut: &mut Vec<u8>, out: &mut Vec<u8>) {
    for line in data.split_inclusive(|b| *b == b'\n') {
        cut.extend_from_slice(line);
        let Some(row) = cut.strip_suffix(b"\n") else { return };
        let fields: Vec<&[u8]> = row.split(|b| *b == b'\t').collect();
        let turned: Vec<&[u8]> = order.iter().filter_map(|i| fields.get(*i).copied()).collect();
        out.extend(turned.join(&b'\t'));
        out.push(b'\n');
        cut.clear();
    }
}

fn unescaped(c: u8) -> u8 {
    match c {
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        other => other,
    }
}

fn needs_quotes(field: &[u8]) -> bool {
    field.is_empty() || field == b"\\." || field.iter().any(|b| b",\"\n\r".contains(b))
}

fn quote(field: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    doubled(field, out);
    out.push(b'"');
}

fn doubled(field: &[u8], out: &mut Vec<u8>) {
    for byte in field {
        out.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_change_places() {
        let copy = b"1\ta\\tb\t\\N\n2\t\tz\n";
        for at in 0..copy.len() {
            let (mut cut, mut out) = (Vec::new(), Vec::new());
            reorder(&[2, 0, 1], &copy[..at], &mut cut, &mut out);
            reorder(&[2, 0, 1], &copy[at..], &mut cut, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), "\\N\t1\ta\\tb\nz\t2\t\n", "cut at {at}");
        }
    }

    #[test]
    fn copy_becomes_csv_however_it_is_cut() {
        let copy = b"1\t\\N\t\ta,b\n2\tit \"is\"\tx\\ty\\\\N\t\\\\N\nlone\n\n\\\\.\n";
        let want = "1,,\"\",\"a,b\"\n2,\"it \"\"is\"\"\",x\ty\\N,\\N\nlone\n\"\"\n\"\\.\"\n";
        for cut in 0..copy.len() {
            let (mut csv, mut out) = (Csv::default(), Vec::new());
            csv.feed(&copy[..cut], &mut out);
            csv.feed(&copy[cut..], &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "cut at {cut}");
        }
        let long = [vec![b'"'; HELD + 5], b"\tx\n".to_vec()].concat();
        let (mut csv, mut out) = (Csv::default(), Vec::new());
        csv.feed(&long, &mut out);
        assert_eq!(out.len(), 2 * (HELD + 5) + 2 + 3);
        assert_eq!(Csv::header(&[b"a".to_vec(), b"b,c".to_vec()]), b"a,\"b,c\"\n");
    }
}
