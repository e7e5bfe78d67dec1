//! The names that a statement mentions.

use super::scan::text_of;
use super::token::{Parser, Qualified, Token, Tokens, is_operator};

/// Every `schema.name` in a statement, outside of strings, and those in strings that are names by
/// themselves, such as that of `nextval('schema.name'::regclass)`. Columns of tables count too: what
/// is no object is for the caller to pass over.
pub fn qualified(statement: &[u8]) -> Vec<(Option<String>, String)> {
    let mut found = Vec::new();
    collect(statement, true, &mut found);
    found
}

/// What a statement names that has no schema, by the word before it: servers, wrappers, access
/// methods and languages.
pub fn without_schema(statement: &[u8]) -> Vec<String> {
    const BEFORE: [&[u8]; 5] = [b"server", b"wrapper", b"using", b"language", b"default_table_access_method"];
    let mut tokens = Tokens::new(statement).filter(|t| *t != Token::Mark(b'=')).peekable();
    let mut found = Vec::new();
    while let Some(token) = tokens.next() {
        let before = matches!(&token, Token::Word(word) if BEFORE.contains(&word.as_slice()));
        if let (true, Some(Token::Word(name) | Token::Quoted(name))) = (before, tokens.peek()) {
            found.push(text_of(name));
        }
    }
    found
}

/// The trigger that `ALTER TABLE … ENABLE | DISABLE TRIGGER name` is about; not ALL or USER.
pub fn switched_trigger(statement: &[u8]) -> Option<String> {
    let p = &mut Parser::new(statement);
    if !(p.take("alter") && p.take_any(&["table", "foreign"])) {
        return None;
    }
    p.take("table");
    p.skip_if_exists();
    p.take("only");
    p.qualified()?;
    if !p.take_any(&["enable", "disable"]) {
        return None;
    }
    p.take_any(&["always", "replica"]);
    if !p.take("trigger") || p.take_any(&["all", "user"]) {
        return None;
    }
    p.name().map(|name| text_of(&name))
}

/// The table of `ALTER PUBLICATION … ADD TABLE`.
pub fn added_to_publication(statement: &[u8]) -> Option<(Option<String>, String)> {
    let p = &mut Parser::new(statement);
    if !(p.take("alter") && p.take("publication")) {
        return None;
    }
    p.name()?;
    if !(p.take("add") && p.take("table")) {
        return None;
    }
    p.take("only");
    p.qualified().map(|table| (table.schema.as_deref().map(text_of), text_of(&table.name)))
}

/// How the definition of a table refers to other tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kin {
    /// Those that it inherits from, or is made as a partition of.
    pub parents: Vec<Qualified>,
    /// It is made as a partition.
    pub is_partition: bool,
    /// It consists of partitions.
    pub is_partitioned: bool,
}

/// The kin that `CREATE TABLE` tells of; `ATTACH PARTITION` stands elsewhere.
pub fn kin(statement: &[u8]) -> Kin {
    let p = &mut Parser::new(statement);
    let (mut kin, mut depth) = (Kin::default(), 0);
    while let Some(token) = p.0.next() {
        match token {
            Token::Mark(b'(') => depth += 1,
            Token::Mark(b')') => depth -= 1,
            Token::Word(word) if depth == 0 && word == b"inherits" => {
                while p.0.next_if(|t| matches!(t, Token::Mark(b'(' | b','))).is_some() {
                    kin.parents.extend(p.qualified());
                }
            }
            Token::Word(word) if depth == 0 && word == b"partition" => {
                kin.is_partitioned |= p.take("by");
                if p.take("of") {
                    kin.is_partition = true;
                    kin.parents.extend(p.qualified());
                }
            }
            _ => {}
        }
    }
    kin
}

/// The schema of `CREATE EXTENSION … SCHEMA name`.
pub fn schema_of_extension(statement: &[u8]) -> Option<String> {
    let mut tokens = Tokens::new(statement);
    tokens.find(|t| *t == Token::Word(b"schema".to_vec()))?;
    match tokens.next()? {
        Token::Word(name) | Token::Quoted(name) => Some(text_of(&name)),
        _ => None,
    }
}

/// The statement with other names: `qualified` gives the new name of `schema.name`, also within
/// strings that are a name by themselves, `bare` that of an index or constraint where it stands alone.
pub fn renamed(
    statement: &[u8],
    qualified: &dyn Fn(&str, &str) -> Option<String>,
    bare: &dyn Fn(&str) -> Option<String>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(statement.len());
    let mut tokens = Tokens::new(statement);
    // how far the statement has been copied
    let mut copied = 0;
    let (mut before, mut dotted): (Option<Vec<u8>>, bool) = (None, false);
    let mut words: [Vec<u8>; 2] = Default::default();
    while let Some(token) = tokens.next() {
        let end = statement.len() - tokens.rest().len();
        let new = match &token {
            Token::Word(name) | Token::Quoted(name) => {
                let text = text_of(name);
                let schema = before.take().filter(|_| dotted).map(|s| text_of(&s));
                let follows = |a: &[u8]| words[1] == a;
                let alone =
                    follows(b"index") || follows(b"constraint") || (words[0] == b"cluster" && follows(b"on"));
                before = Some(name.clone());
                match schema {
                    Some(schema) => qualified(&schema, &text),
                    None if alone => bare(&text),
                    None => None,
                }
                .map(|new| quoted(new.as_bytes(), b'"'))
            }
            Token::String(inner) if whole_name(inner) => {
                let changed = renamed(inner, qualified, &|_| None);
                (changed != *inner).then(|| quoted(&changed, b'\''))
            }
            _ => None,
        };
        if let Some(new) = new {
            out.extend_from_slice(&statement[copied..end - tokens.length()]);
            out.extend_from_slice(&new);
            copied = end;
        }
        dotted = token == Token::Mark(b'.') && before.is_some();
        if let Token::Word(word) = token {
            words.rotate_left(1);
            words[1] = word;
        } else if !dotted {
            before = before.filter(|_| matches!(token, Token::Quoted(_)));
        }
    }
    out.extend_from_slice(&statement[copied..]);
    out
}

/// A form of the statement that is the same however pg_dump quotes names and sets blanks.
pub fn normal(statement: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(statement.len());
    for token in Tokens::new(statement) {
        match token {
            Token::Word(name) | Token::Quoted(name) => out.extend(quoted(&name, b'"')),
            Token::String(inner) if whole_name(&inner) => out.extend(quoted(&normal(&inner), b'\'')),
            Token::String(inner) => out.extend(quoted(&inner, b'\'')),
            Token::Mark(mark) => out.push(mark),
        }
    }
    out
}

/// Whether a string is a name and nothing else.
fn whole_name(text: &[u8]) -> bool {
    let tokens: Vec<Token> = Tokens::new(text).take(4).collect();
    matches!(
        tokens.as_slice(),
        [Token::Word(_) | Token::Quoted(_), Token::Mark(b'.'), Token::Word(_) | Token::Quoted(_)]
    )
}

/// A name in quotes, or a string.
pub fn quoted(text: &[u8], mark: u8) -> Vec<u8> {
    let mut out = vec![mark];
    for byte in text {
        out.extend((*byte == mark).then_some(mark));
        out.push(*byte);
    }
    out.push(mark);
    out
}

fn collect(text: &[u8], strings: bool, found: &mut Vec<(Option<String>, String)>) {
    let mut before: Option<Vec<u8>> = None;
    let (mut dotted, mut operator) = (false, false);
    for token in Tokens::new(text) {
        let goes_on = std::mem::take(&mut operator);
        match token {
            Token::Mark(sign) if is_operator(sign) && (dotted || goes_on) => {
                operator = true;
                match (before.take(), found.last_mut()) {
                    (Some(schema), _) => found.push((Some(text_of(&schema)), char::from(sign).into())),
                    (None, Some((_, name))) => name.push(char::from(sign)),
                    (None, None) => {}
                }
                dotted = false;
            }
            Token::Word(name) | Token::Quoted(name) => {
                if let (true, Some(schema)) = (dotted, &before) {
                    found.push((Some(text_of(schema)), text_of(&name)));
                }
                before = Some(name);
                dotted = false;
            }
            Token::Mark(b'.') => dotted = before.is_some(),
            Token::String(inner) if strings => {
                collect(&inner, false, found);
                (before, dotted) = (None, false);
            }
            _ => (before, dotted) = (None, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::scan::display;

    #[test]
    fn names_in_statements() {
        let names = |sql: &str| -> Vec<String> {
            qualified(sql.as_bytes())
                .into_iter()
                .map(|(s, n)| format!("{}/{n}", s.unwrap_or_default()))
                .collect()
        };
        assert_eq!(
            names("CREATE TABLE public.t (a public.mood DEFAULT nextval('s.\"Q\"'::regclass), b int);"),
            ["public/t", "public/mood", "s/Q"]
        );
        assert_eq!(names("SELECT 1.5, a . b"), ["1/5", "a/b"]);
        assert_eq!(
            names("CHECK (a.x OPERATOR(public.==>) b) OPERATOR 1 o.= (p.t, p.u)"),
            ["a/x", "public/==>", "o/=", "p/t", "p/u"]
        );
        let bare = |sql: &str| without_schema(sql.as_bytes()).join(" ");
        assert_eq!(bare("CREATE FOREIGN TABLE s.f (a int) SERVER \"the one\" OPTIONS (x 'y');"), "the one");
        assert_eq!(bare("CREATE SERVER s FOREIGN DATA WRAPPER w;"), "s w");
        assert_eq!(bare("SET default_table_access_method = heap;"), "heap");
    }

    #[test]
    fn quotes_of_names_and_blanks_say_nothing() {
        let same = |a: &str, b: &str| normal(a.as_bytes()) == normal(b.as_bytes());
        let bare = "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('public.s'::regclass);";
        let quoted = "ALTER TABLE ONLY \"public\".\"t\"\n  ALTER COLUMN \"id\" SET DEFAULT \"nextval\"('\"public\".\"s\"'::\"regclass\");";
        assert!(same(bare, quoted));
        for (a, b) in [("a", "\"A\""), ("'a b'", "'ab'"), ("'x'", "x"), ("'\"x\"'", "'x'"), ("a b", "ab")] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn tables_tell_of_their_kin() {
        let told = |sql: &str| {
            let kin = kin(sql.as_bytes());
            (kin.parents.iter().map(display).collect::<Vec<_>>().join(" "), kin.is_partitioned)
        };
        for (sql, parents, is_partitioned) in [
            ("CREATE TABLE s.t (inherits int, partition text);", "", false),
            (
                "CREATE TABLE t (a int DEFAULT f(1))\nINHERITS (public.a, \"B\".c) WITH (x=1);",
                "public.a B.c",
                false,
            ),
            ("CREATE TABLE t (a int)\nPARTITION BY RANGE (a);", "", true),
            ("CREATE TABLE t PARTITION OF s.p\nFOR VALUES IN (1) PARTITION BY LIST (b);", "s.p", true),
            ("CREATE TABLE \"inherits\" (a text DEFAULT ') INHERITS (x');", "", false),
        ] {
            assert_eq!(told(sql), (parents.to_owned(), is_partitioned), "{sql}");
        }
    }

    #[test]
    fn names_are_changed_where_they_are_names() {
        let changed = |sql: &str| {
            let qualified = |s: &str, n: &str| ((s, n) == ("public", "t")).then(|| "new t".to_owned());
            let bare = |n: &str| (n == "t_pkey").then(|| "n_pkey".to_owned());
            String::from_utf8(renamed(sql.as_bytes(), &qualified, &bare)).unwrap()
        };
        for (sql, want) in [
            (
                "CREATE TABLE public.t (t int, u public.u);",
                "CREATE TABLE public.\"new t\" (t int, u public.u);",
            ),
            ("SELECT setval('public.t', 3);", "SELECT setval('public.\"new t\"', 3);"),
            (
                "COMMENT ON TABLE \"public\".\"t\" IS 'about public.t itself';",
                "COMMENT ON TABLE \"public\".\"new t\" IS 'about public.t itself';",
            ),
            (
                "ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (t);",
                "ALTER TABLE ONLY public.\"new t\" ADD CONSTRAINT \"n_pkey\" PRIMARY KEY (t);",
            ),
            (
                "ALTER TABLE public.t CLUSTER ON t_pkey;",
                "ALTER TABLE public.\"new t\" CLUSTER ON \"n_pkey\";",
            ),
            ("SELECT t_pkey, x.t, public.tt;", "SELECT t_pkey, x.t, public.tt;"),
        ] {
            assert_eq!(changed(sql), want);
        }
    }
}
