//! The columns of a table, and the COPY statement that its rows would stand behind. Pure.

use super::names::quoted;
use super::token::{Name, Parser, Qualified, Token};

/// A table and those of its columns that COPY takes, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The table.
    pub table: Qualified,
    /// Their names.
    pub names: Vec<Name>,
}

impl Columns {
    /// Of a `CREATE TABLE`, without generated columns. `None` where the statement does not list them
    /// all: it is cut, or other tables or types give columns too.
    pub fn of_table(statement: &[u8]) -> Option<Self> {
        let p = &mut Parser::new(statement);
        while !p.take("table") {
            p.take_any(&["create", "unlogged", "foreign", "global", "local", "temporary", "temp"])
                .then_some(())?;
        }
        p.skip_if_exists();
        let table = p.qualified()?;
        p.0.next_if_eq(&Token::Mark(b'('))?;
        let (mut names, mut depth) = (Vec::new(), 1);
        let mut element: Vec<Token> = Vec::new();
        while depth > 0 {
            let token = p.0.next()?;
            match token {
                Token::Mark(b'(' | b'[') => depth += 1,
                Token::Mark(b')' | b']') => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && token == Token::Mark(b',')) {
                if begins_with(&element, &[b"like"]) {
                    return None;
                }
                names.extend(column(&element));
                element.clear();
            } else if depth == 1 || token == Token::Mark(b'(') {
                element.push(token);
            }
        }
        (!p.take("inherits")).then_some(Columns { table, names })
    }

    /// Of a `COPY table (a, b) FROM stdin`; no names where it lists none.
    pub fn of_copy(statement: &[u8]) -> Option<Self> {
        let p = &mut Parser::new(statement);
        p.take("copy").then_some(())?;
        Self::listed(p)
    }

    /// Of an `INSERT INTO table (a, b) …`; no names where it lists none.
    pub fn of_insert(statement: &[u8]) -> Option<Self> {
        let p = &mut Parser::new(statement);
        (p.take("insert") && p.take("into")).then_some(())?;
        Self::listed(p)
    }

    fn listed(p: &mut Parser) -> Option<Self> {
        let table = p.qualified()?;
        let mut names = Vec::new();
        if p.0.next_if_eq(&Token::Mark(b'(')).is_some() {
            while p.0.peek()? != &Token::Mark(b')') {
                names.push(p.name()?);
                p.0.next_if_eq(&Token::Mark(b','));
            }
        }
        Some(Columns { table, names })
    }

    /// `COPY table (a, b) FROM stdin;`
    pub fn copy(&self) -> Vec<u8> {
        let schema = self.table.schema.iter().flat_map(|s| [quoted(s, b'"'), b".".to_vec()].concat());
        let table: Vec<u8> = schema.chain(quoted(&self.table.name, b'"')).collect();
        let names: Vec<Vec<u8>> = self.names.iter().map(|n| quoted(n, b'"')).collect();
        let list =
            if names.is_empty() { Vec::new() } else { [b" (", &*names.join(&b", "[..]), b")"].concat() };
        [b"COPY ", &*table, &*list, b" FROM stdin;"].concat()
    }
}

/// The name of a column that COPY takes; `None` for generated ones, and for constraints of the table.
fn column(element: &[Token]) -> Option<Name> {
    // a column with such a name is in quotes, but for the last, which is no reserved word
    let constraints: [&[&[u8]]; 6] =
        [&[b"constraint"], &[b"check"], &[b"primary"], &[b"unique"], &[b"foreign"], &[b"exclude", b"using"]];
    let generated = (0..element.len()).any(|i| {
        begins_with(&element[i..], &[b"generated", b"always", b"as"])
            && element.get(i + 3) == Some(&Token::Mark(b'('))
    });
    match element.first()? {
        Token::Word(name) | Token::Quoted(name)
            if !generated && !constraints.iter().any(|c| begins_with(element, c)) =>
        {
            Some(name.clone())
        }
        _ => None,
    }
}

fn begins_with(element: &[Token], words: &[&[u8]]) -> bool {
    words.len() <= element.len()
        && words.iter().zip(element).all(|(w, t)| matches!(t, Token::Word(word) if word == w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_copy_takes() {
        for (sql, want) in [
            ("CREATE TABLE public.t (\n    a integer NOT NULL,\n    \"B c\" text\n);", Some("a|B c")),
            (
                "CREATE UNLOGGED TABLE t (a int[] DEFAULT ARRAY[1, 2], n numeric(4,1) DEFAULT f(1, 2), CONSTRAINT c CHECK ((a > 0)), \
                g int GENERATED ALWAYS AS ((n * 2)) STORED, i int GENERATED ALWAYS AS IDENTITY, exclude int, \
                \"check\" text DEFAULT 'generated always as (') PARTITION BY RANGE (a);",
                Some("a|n|i|exclude|check"),
            ),
            ("CREATE TABLE t (\n);", Some("")),
            ("CREATE TABLE t (a int) INHERITS (u);", None),
            ("CREATE TABLE t OF s.u (PRIMARY KEY (a));", None),
            ("CREATE TABLE t (LIKE u, a int);", None),
            ("CREATE TABLE t (a int, b", None),
            ("CREATE VIEW t (a) AS SELECT 1;", None),
            ("COPY public.t (a, \"B c\") FROM stdin;", None),
        ] {
            let told =
                Columns::of_table(sql.as_bytes()).map(|c| String::from_utf8(c.names.join(&b'|')).unwrap());
            assert_eq!(told.as_deref(), want, "{sql}");
        }
        let copy = b"COPY \"s\".\"a\"\"b\" (\"x\", \"Y z\") FROM stdin;";
        assert_eq!(Columns::of_copy(copy).unwrap().copy(), copy);
        let insert =
            Columns::of_insert(b"INSERT INTO \"s\".\"a\"\"b\" (\"x\", \"Y z\") VALUES (1);").unwrap();
        assert_eq!(insert.copy(), copy);
        assert_eq!(Columns::of_copy(b"COPY t FROM stdin;").unwrap().copy(), b"COPY \"t\" FROM stdin;");
    }
}
