//! Every version of the format, with integers and offsets of every size, in and out of order.
#![allow(clippy::unwrap_used)]

use std::fs;

use kit::archive::{Compression, Input, Place};

use crate::build::{Made, Shape, rows, shop, tar};
use crate::told::{KNOWN_TO_15, by_pg_restore, by_us, same, sql};

fn at(dir: &tempfile::TempDir, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.path().join("archive");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_version_is_told_as_pg_restore_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    for minor in 0..=KNOWN_TO_15 {
        for (int_bytes, offset_bytes) in [(4, 8), (4, 4), (8, 8), (4, 12)] {
            for (compression, offsets) in [(0, true), (1, true), (1, false)] {
                let old = minor < 2 && compression == 0 || minor < 7 && int_bytes != offset_bytes;
                // 1.0 writes -1 as four bytes
                if old || minor == 0 && int_bytes > 4 {
                    continue;
                }
                let shape = Shape { int_bytes, offset_bytes, compression, offsets, ..Shape::version(minor) };
                let path = at(&dir, &shape.archive(&shop(minor)));
                let ours = by_us(&path).unwrap();
                let mut theirs = by_pg_restore(&path).unwrap();
                if minor < 10 {
                    // the archive does not know what made it, and pg_restore names itself
                    let line = memchr::memmem::find(&theirs, b"-- Dumped by").unwrap();
                    let end = memchr::memchr(b'\n', &theirs[line..]).unwrap();
                    theirs.drain(line..=line + end);
                }
                same(&ours, &theirs);
            }
        }
    }
}

#[test]
fn every_compression_gives_the_same_rows() {
    for minor in [15, 16] {
        let mut all = [0, 1, 2, 3].map(|compression| {
            let shape = Shape { compression, ..Shape::version(minor) };
            sql(Input::Stream(&mut shape.archive(&shop(minor)).as_slice())).unwrap()
        });
        let plain = all[0].clone();
        for sql in &mut all {
            same(sql, &plain);
            assert!(memchr::memmem::find(sql, &rows(2_000)).is_some());
        }
    }
    let archive = Shape { compression: 2, ..Shape::version(16) }.archive(&shop(16));
    let mut stream = archive.as_slice();
    let opened = kit::archive::Archive::open(Input::Stream(&mut stream), "sample").unwrap();
    assert_eq!(opened.header().compression, Compression::Lz4);
    assert_eq!(opened.header().created, Some([1, 2, 3, 4, 5, 100]));
    assert_eq!(opened.header().database.as_deref(), Some(b"shop".as_slice()));
    assert!(opened.entries().iter().any(|e| e.had_data && matches!(e.offset, Place::At(_))));
}

#[test]
fn what_16_and_17_brought_is_written_as_they_do() {
    let sql = sql(Input::Stream(&mut Shape::version(16).archive(&shop(16)).as_slice())).unwrap();
    let text = String::from_utf8_lossy(&sql);
    for expected in [
        "SET transaction_timeout = 0;\nSET client_encoding = 'LATIN1';\n",
        "SET search_path = \"from\", pg_catalog;\n\nSET default_tablespace = '';\n\n",
        "-- Name: \"odd  name; Type: TABLE; Schema: from; Owner: o wner\n",
        "SELECT pg_catalog.lo_create('4000000000');\nSELECT pg_catalog.lo_create('17');\n",
        "\n\nALTER LARGE OBJECT 4000000000 OWNER TO \"o\nwner\";\nALTER LARGE OBJECT 17 OWNER TO",
        "GRANT ALL ON LARGE OBJECT 4000000000 TO \"LARGE OBJECT ;\";\nGRANT ALL ON LARGE OBJECT 17 TO",
        "REVOKE ALL ON LARGE OBJECT 18 FROM x;\n\n",
        "BEGIN;\n\nSELECT pg_catalog.lo_open('4000000000', 131072);\n",
    ] {
        assert!(text.contains(expected), "no {expected:?} in:\n{}", &text[..4000]);
    }
    let view = |minor| {
        let made = Made { id: 1, tag: "json", desc: "VIEW", defn: "x", drop: "y", ..Made::default() };
        let bytes = Shape::version(minor).archive(&[made]);
        String::from_utf8(crate::told::sql(Input::Stream(&mut bytes.as_slice())).unwrap()).unwrap()
    };
    assert!(view(14).contains("ALTER TABLE json OWNER"));
    assert!(view(15).contains("ALTER VIEW json OWNER"));
    assert!(view(16).contains("ALTER VIEW \"json\" OWNER"));
}

#[test]
fn a_partitioned_table_gets_its_access_method_afterwards() {
    let table = Made { id: 1, tag: "t", desc: "TABLE", defn: "x", relkind: b'p', ..Made::default() };
    let bytes = Shape::version(16).archive(&[table]);
    let sql = String::from_utf8(sql(Input::Stream(&mut bytes.as_slice())).unwrap()).unwrap();
    assert!(sql.contains("x\n\nALTER TABLE t SET ACCESS METHOD heap;\n\n"), "{sql}");
    assert!(!sql.contains("default_table_access_method"), "{sql}");
}

#[test]
fn statistics_come_at_their_place() {
    let made = |id, desc, defn| Made { id, tag: "t", desc, defn, ..Made::default() };
    let bytes =
        Shape::version(16).archive(&[made(1, "STATISTICS DATA", "SELECT 1;\n"), made(2, "TABLE", "x")]);
    let sql = String::from_utf8(sql(Input::Stream(&mut bytes.as_slice())).unwrap()).unwrap();
    assert!(sql.contains("-- Statistics for Name: t; Type: STATISTICS DATA;"), "{sql}");
}

#[test]
fn data_out_of_order_are_found_in_a_file_and_missed_in_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    for (minor, offsets) in [(14, true), (14, false), (16, false)] {
        let ordered = Shape { offsets, ..Shape::version(minor) };
        let mixed = Shape { reversed: true, ..ordered }.archive(&shop(minor));
        let path = at(&dir, &mixed);
        let ours = sql(Input::File(&fs::File::open(&path).unwrap())).unwrap();
        same(&ours, &sql(Input::Stream(&mut ordered.archive(&shop(minor)).as_slice())).unwrap());
        if minor <= KNOWN_TO_15 {
            same(&ours, &by_pg_restore(&path).unwrap());
        }
        let error = sql(Input::Stream(&mut mixed.as_slice())).unwrap_err();
        assert!(error.to_string().contains("not in order"), "{error}");
    }
}

/// Since 1.16 large objects come in groups, each with its list.
#[test]
fn groups_of_large_objects_are_found_in_every_layout() {
    let (one, other) = (vec![(17, rows(1)), (18, Vec::new())], vec![(3_000_000_000, rows(2))]);
    let metadata = |id, defn| Made { id, tag: "m", desc: "BLOB METADATA", defn, ..Made::default() };
    let blobs = |id, tag, data| Made { id, tag, desc: "BLOBS", data, ..Made::default() };
    let entries = [
        (metadata(1, "17\n18\n"), ""),
        (metadata(2, "3000000000\n"), ""),
        (blobs(3, "17..18", one), "blobs_3.toc"),
        (blobs(4, "3000000000", other), "blobs_4.toc"),
    ];
    let made: Vec<Made> = entries.iter().map(|(entry, _)| entry.clone()).collect();
    let shape = Shape::version(16);
    let custom = sql(Input::Stream(&mut shape.archive(&made).as_slice())).unwrap();
    let mut files = vec![
        ("toc.dat", shape.toc(&entries)),
        ("blob_17.dat", rows(1)),
        ("blob_18.dat", Vec::new()),
        ("blobs_3.toc", b"17 blob_17.dat\n18 blob_18.dat\n".to_vec()),
        ("blob_3000000000.dat", rows(2)),
        ("blobs_4.toc", b"3000000000 blob_3000000000.dat\n".to_vec()),
        ("restore.sql", b"-- nothing\n".to_vec()),
    ];
    let dir = tempfile::tempdir().unwrap();
    same(&by_us(&at(&dir, &tar(&files))).unwrap(), &custom);
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in &files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    same(&by_us(&folder).unwrap(), &custom);
    // a list that lost a line
    fs::write(folder.join("blobs_3.toc"), b"17 blob_17.dat\n").unwrap();
    let error = by_us(&folder).unwrap_err();
    assert!(error.to_string().contains("large object 18"), "{error}");
    // groups in another order
    files[1..6].rotate_left(3);
    let path = at(&dir, &tar(&files));
    same(&sql(Input::File(&fs::File::open(&path).unwrap())).unwrap(), &custom);
    let error = sql(Input::Stream(&mut fs::File::open(&path).unwrap())).unwrap_err();
    assert!(error.to_string().contains("not in order"), "{error}");
}

#[test]
fn members_of_a_tar_out_of_order_are_found_in_a_file_only() {
    let made = |id, tag, rows| {
        let copy = "COPY t FROM stdin;\n";
        Made { id, tag, desc: "TABLE DATA", copy, data: vec![(0, rows)], ..Made::default() }
    };
    let entries = [(made(1, "a", rows(1)), "1.dat"), (made(2, "b", rows(2)), "2.dat")];
    let toc = Shape::version(14).toc(&entries);
    let dir = tempfile::tempdir().unwrap();
    let ordered = at(&dir, &tar(&[("toc.dat", toc.clone()), ("1.dat", rows(1)), ("2.dat", rows(2))]));
    let expected = by_us(&ordered).unwrap();
    same(&expected, &by_pg_restore(&ordered).unwrap());
    let mixed = at(&dir, &tar(&[("toc.dat", toc), ("2.dat", rows(2)), ("1.dat", rows(1))]));
    same(&sql(Input::File(&fs::File::open(&mixed).unwrap())).unwrap(), &expected);
    let error = sql(Input::Stream(&mut fs::File::open(&mixed).unwrap())).unwrap_err();
    assert!(error.to_string().contains("not in order"), "{error}");
}
