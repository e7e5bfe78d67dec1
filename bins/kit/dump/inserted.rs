//! The rows of an `INSERT … VALUES`, as pg_dump writes them with `--inserts`. Pure.

use xxhash_rust::xxh3::xxh3_128;

use super::token::{Token, Tokens};

/// The rows that a whole statement makes: how many, and the sum modulo 2^128 of XXH3-128 over each, from one
/// parenthesis to the other. It depends neither on their order nor on how many stand in one statement. `None`
/// where they come from a query.
pub fn rows(statement: &[u8]) -> Option<(u64, u128)> {
    let mut tokens = Tokens::new(statement);
    let (mut rows, mut sum) = (0, 0_u128);
    let (mut depth, mut begun, mut values, mut default) = (0_u32, 0, false, false);
    while let Some(token) = tokens.next() {
        let end = statement.len() - tokens.rest().len();
        match token {
            Token::Mark(b'(') => {
                if depth == 0 {
                    begun = end - 1;
                }
                depth += 1;
            }
            Token::Mark(b')') => {
                depth = depth.checked_sub(1)?;
                // before VALUES they hold the columns
                if depth == 0 && values {
                    rows += 1;
                    sum = sum.wrapping_add(xxh3_128(&statement[begun..end]));
                }
            }
            Token::Word(word) if depth == 0 => match word.as_slice() {
                b"values" if default => return Some((1, xxh3_128(b""))),
                b"values" => values = true,
                // what stands behind the rows changes none of them
                b"on" | b"returning" if values => break,
                other => default = other == b"default",
            },
            _ => {}
        }
    }
    (rows > 0).then_some((rows, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statement: &str) -> Option<(u64, u128)> {
        rows(statement.as_bytes())
    }

    #[test]
    fn rows_are_told_by_what_they_hold_and_nothing_else() {
        let one = of("INSERT INTO public.t VALUES (1, 'a)(;', ((2)));").unwrap();
        let other = of("INSERT INTO public.t VALUES (2, NULL, DEFAULT);").unwrap();
        let named = "INSERT INTO public.t (a, \"B c\", d) OVERRIDING SYSTEM VALUE VALUES\n\
            \t(2, NULL, DEFAULT),\n\t(1, 'a)(;', ((2))) ON CONFLICT (a) DO NOTHING;";
        assert_eq!((one.0, other.0), (1, 1));
        assert_eq!(of(named), Some((2, one.1.wrapping_add(other.1))));
        assert_ne!(of("INSERT INTO public.t VALUES (1, 'a)(:', ((2)));"), Some(one));
        assert_eq!(of("INSERT INTO t DEFAULT VALUES;").unwrap().0, 1);
        let strange = "INSERT INTO \"values\" (\"default\") VALUES (E'\\'(', $a$)$a$, '''(');";
        assert_eq!(of(strange).unwrap().0, 1);
    }

    #[test]
    fn what_is_no_list_of_rows_is_none() {
        for sql in ["INSERT INTO t (a) SELECT (1);", "INSERT INTO t VALUES", "INSERT INTO t VALUES (1", ""] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
