//! Manifests for dumps that have none, and reading a part by seeking.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::Server;
use crate::stage::{dump, inspect, quoted, sh, tables};

#[test]
fn a_manifest_that_was_lost_is_made_again() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    for codec in ["gzip", "zstd", "none"] {
        let made = server.rotate(&["-d", "university", "--compress", codec]).exits(0);
        let path = home.join(made.line());
        let beside = home.join(format!("{}.json", made.line()));
        let before: serde_json::Value = serde_json::from_str(&fs::read_to_string(&beside).unwrap()).unwrap();
        fs::remove_file(&beside).unwrap();
        let ran = inspect(&home, &["index", made.line()]).exits(0);
        assert_eq!(fs::canonicalize(home.join(ran.line())).unwrap(), fs::canonicalize(&beside).unwrap());
        let after: serde_json::Value = serde_json::from_str(&fs::read_to_string(&beside).unwrap()).unwrap();
        for field in ["file", "frames", "raw_bytes", "tables", "rows"] {
            assert_eq!(after[field], before[field], "{field} of {codec}");
        }
        // the database is known to who dumps it, not by the dump
        let toc = |value: &serde_json::Value| -> Vec<(String, u64, Option<String>)> {
            let item = |i: &serde_json::Value| {
                (
                    i["name"].as_str().unwrap().into(),
                    i["offset"].as_u64().unwrap(),
                    i["row_hash"].as_str().map(str::to_owned),
                )
            };
            value["toc"].as_array().unwrap().iter().map(item).collect()
        };
        assert_eq!(toc(&after), toc(&before), "{codec}");
        inspect(&home, &["index", made.line()]).exits(4).says("there already");
        // it counts again
        assert!(server.rotate(&["--list"]).exits(0).out.contains("proven"));
        server.restore(&[path.to_str().unwrap(), "--yes", "-d", "again"]).exits(0);
        server.sql("postgres", "DROP DATABASE again");
    }
}

#[test]
fn a_part_is_the_same_with_and_without_an_index() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    let made = server.rotate(&["-d", "university", "--compress", "gzip"]).exits(0);
    let indexed = made.line();
    sh(&home, "gzip -k u.sql").exits(0);
    for table in tables(&home, &["u.sql"]).keys() {
        let pattern = quoted(table);
        let take = |file: &str| inspect(&home, &["extract", "-t", &pattern, file]).exits(0).out;
        let want = take("u.sql");
        assert_eq!(take("u.sql.gz"), want, "{pattern}");
        assert_eq!(take(indexed), want, "{pattern}");
    }
    // a piece that is damaged is noticed where it is needed
    let path = home.join(indexed);
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&path, damaged).unwrap();
    inspect(&home, &["extract", "--schema", "*", indexed]).exits(1).says("damaged");
    inspect(&home, &["cat", indexed]).exits(1).says("damaged");
}

#[test]
fn a_foreign_file_of_one_piece_gets_a_manifest_too() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    sh(&home, "gzip -k u.sql").exits(0);
    let before = tables(&home, &["u.sql.gz"]);
    let ran = inspect(&home, &["index", "u.sql.gz"]).exits(0);
    assert!(ran.out.ends_with("u.sql.gz.json\n"), "{}", ran.out);
    assert_eq!(tables(&home, &["u.sql.gz"]), before);
    let extracted = inspect(&home, &["extract", "-t", "*", "u.sql.gz"]).exits(0).out;
    assert_eq!(extracted, inspect(&home, &["extract", "-t", "*", "u.sql"]).exits(0).out);
    // a dump that is not whole gets none
    let text = fs::read(home.join("u.sql")).unwrap();
    fs::write(home.join("cut.sql"), &text[..text.len() / 2]).unwrap();
    inspect(&home, &["index", "cut.sql"]).exits(1).says("not whole");
    assert!(!home.join("cut.sql.json").exists());
}

#[test]
fn a_foreign_file_is_written_anew_in_pieces() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    sh(&home, "gzip -k u.sql").exits(0);
    let want = tables(&home, &["u.sql"]);
    for new in ["new_20250101_000000.sql.gz", "new_20250102_000000.sql.zst", "new_20250103_000000.sql"] {
        inspect(&home, &["index", "--reframe", new, "u.sql.gz"]).exits(0);
        assert_eq!(tables(&home, &[new]), want, "{new}");
        assert!(
            inspect(&home, &["cat", new]).exits(0).out.into_bytes() == fs::read(home.join("u.sql")).unwrap()
        );
        let manifest: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(home.join(format!("{new}.json"))).unwrap()).unwrap();
        let pieces = manifest["frames"].as_array().unwrap().len();
        assert!(pieces > 3 || new.ends_with(".sql"), "{pieces}");
        inspect(&home, &["index", "--reframe", new, "u.sql.gz"]).exits(4);
    }
    // it is a backup like ours
    let ran = server.rotate(&["--list", "-o", "."]).exits(0);
    assert_eq!(ran.out.matches("proven").count(), 3, "{}", ran.out);
    // what is not whole is not written
    let text = fs::read(home.join("u.sql")).unwrap();
    fs::write(home.join("cut.sql"), &text[..text.len() / 2]).unwrap();
    inspect(&home, &["index", "--reframe", "copy.sql.gz", "cut.sql"]).exits(1);
    assert!(!home.join("copy.sql.gz").exists() && !home.join("copy.sql.gz.part").exists());
}

#[test]
fn a_zstd_file_with_a_seek_table_of_its_own() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    let text = fs::read(home.join("u.sql")).unwrap();
    let (mut file, mut table) = (Vec::new(), Vec::new());
    for piece in text.chunks(700_000) {
        let frame = zstd::encode_all(piece, 1).unwrap();
        table.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        table.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        file.extend_from_slice(&frame);
    }
    let frames = table.len() as u32 / 8;
    file.extend_from_slice(&0x184D_2A5E_u32.to_le_bytes());
    file.extend_from_slice(&(table.len() as u32 + 9).to_le_bytes());
    file.extend_from_slice(&table);
    file.extend_from_slice(&frames.to_le_bytes());
    file.push(0);
    file.extend_from_slice(&0x8F92_EAB1_u32.to_le_bytes());
    fs::write(home.join("seekable.zst"), &file).unwrap();
    assert_eq!(tables(&home, &["seekable.zst"]), tables(&home, &["u.sql"]));
    let take = |file: &str| inspect(&home, &["extract", "-t", "*", file]).exits(0).out;
    assert!(take("seekable.zst") == take("u.sql"));
    assert!(inspect(&home, &["cat", "seekable.zst"]).exits(0).out.into_bytes() == text);
    // a table that lies about what a frame gives is found out
    let lie = file.len() - 9 - table.len() + 4;
    file[lie] ^= 1;
    fs::write(home.join("seekable.zst"), &file).unwrap();
    inspect(&home, &["cat", "seekable.zst"]).exits(1).says("damaged");
}
