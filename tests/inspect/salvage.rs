//! `cat --salvage` of files without a manifest, and what is told of those that are cut.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};

use crate::stage::{inspect, sh};

/// A dump of one table with `rows` rows of three columns.
fn text(rows: usize) -> String {
    let rows: String = (0..rows).map(|n| format!("{n}\t{:x}\t{}\n", n * 7_919_771, n % 97)).collect();
    format!(
        "--\n-- PostgreSQL database dump\n--\nCREATE TABLE public.t (a int, b text, c int);\n\
        COPY public.t (a, b, c) FROM stdin;\n{rows}\\.\n--\n-- PostgreSQL database dump complete\n--\n"
    )
}

#[test]
fn what_has_no_checksum_before_the_damage_is_called_unproven() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("d.sql"), text(60_000)).unwrap();
    sh(dir.path(), "gzip -k d.sql; zstd -q d.sql 2>/dev/null || true").exits(0);
    let whole = fs::read(dir.path().join("d.sql.gz")).unwrap();
    let mut odd = 0;
    for at in [3, 5, 7, 8] {
        let mut damaged = whole.clone();
        damaged[whole.len() * at / 10] ^= 4;
        fs::write(dir.path().join("flip.gz"), &damaged).unwrap();
        let ran = inspect(dir.path(), &["cat", "--salvage", "flip.gz"]).exits(3).says("not proven: ");
        // no row that COPY would refuse for its number of columns
        let rows = ran.out.lines().skip_while(|l| !l.starts_with("COPY")).skip(1).take_while(|l| *l != "\\.");
        odd += rows.filter(|row| row.matches('\t').count() != 2).count();
    }
    assert_eq!(odd, 0);
    let ran = inspect(dir.path(), &["cat", "--salvage", "d.sql.gz"]).exits(0).says("nothing is lost");
    assert!(!ran.err.contains("not proven"), "{}", ran.err);
}

#[test]
fn of_a_stream_that_is_cut_all_is_given_that_can_be_inflated() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("d.sql"), text(40_000)).unwrap();
    sh(dir.path(), "gzip -k d.sql").exits(0);
    let whole = fs::read(dir.path().join("d.sql.gz")).unwrap();
    fs::write(dir.path().join("cut.gz"), &whole[..whole.len() / 2]).unwrap();
    let rows = |ran: &str| ran.lines().filter(|l| l.matches('\t').count() == 2).count();
    let inflated = sh(dir.path(), "zcat cut.gz 2>/dev/null || true").exits(0).out;
    let ran = inspect(dir.path(), &["cat", "--salvage", "cut.gz"]).exits(3).says("cut short");
    assert!(rows(&ran.out) > 15_000, "{}", rows(&ran.out));
    assert!(rows(&ran.out) + 1 >= rows(&inflated), "{} {}", rows(&ran.out), rows(&inflated));
    let ran = inspect(dir.path(), &["summary", "cut.gz"]).exits(1).says("cut short");
    assert!(ran.out.contains("tables\t1\n"), "{}", ran.out);
    inspect(dir.path(), &["diff", "cut.gz", "d.sql"]).exits(1).says("cut short");
}

#[test]
fn many_statements_in_one_compressed_piece_take_one_pass() {
    let dir = tempfile::tempdir().unwrap();
    let many: String = (0..20_000)
        .map(|n| format!("CREATE TABLE public.t{n} (a int);\nCOPY public.t{n} (a) FROM stdin;\n1\n\\.\n"))
        .collect();
    let text = format!("-- PostgreSQL database dump\n{many}-- PostgreSQL database dump complete\n");
    fs::write(dir.path().join("d.sql"), text).unwrap();
    sh(dir.path(), "gzip d.sql").exits(0);
    let clock = Instant::now();
    let ran = inspect(dir.path(), &["cat", "--salvage", "d.sql.gz"]).exits(0).says("nothing is lost");
    assert_eq!(ran.out.lines().count(), 80_000);
    assert!(clock.elapsed() < Duration::from_secs(10), "{:?}", clock.elapsed());
}

#[test]
fn what_only_lacks_its_footer_has_lost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = text(3);
    let footer = whole.find("--\n-- PostgreSQL database dump complete").unwrap();
    fs::write(dir.path().join("d.sql"), &whole[..footer]).unwrap();
    let ran = inspect(dir.path(), &["cat", "--salvage", "d.sql"]).exits(3).says("footer");
    assert!(!ran.err.contains("lost"), "{}", ran.err);
    assert!(ran.out.ends_with("\\.\n"), "{}", ran.out);
    fs::write(dir.path().join("d.sql"), "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n").unwrap();
    inspect(dir.path(), &["cat", "--salvage", "d.sql"]).exits(0).says("nothing is lost");
}
