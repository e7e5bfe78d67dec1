//! Archives that were written to do harm: lengths, counts and places that are not true.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Seek, Write};

use kit::archive::{Archive, Input, detect};
use kit::exit::Result;

use crate::build::{Made, Shape, rows, tar, tar_head};
use crate::memory::was_small;

const LARGEST: i64 = i32::MAX as i64;

fn read(bytes: &[u8]) -> [Result<()>; 2] {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let mut stream = bytes;
    [Input::File(&file), Input::Stream(&mut stream)]
        .map(|input| Archive::open(input, "sample")?.sql(&mut |_| Ok(())))
}

#[track_caller]
fn refused(bytes: &[u8], words: &str) {
    for error in read(bytes).map(Result::unwrap_err) {
        assert!(error.to_string().contains(words), "'{words}' is not in: {error}");
    }
}

fn table(data: Vec<u8>) -> Made {
    let copy = "COPY t FROM stdin;\n";
    Made { id: 7, tag: "t", desc: "TABLE DATA", copy, data: vec![(0, data)], ..Made::default() }
}

#[test]
fn lengths_that_are_not_true() {
    let shape = Shape::version(14);
    let begin = shape.header();
    let after = |bytes: Vec<u8>| [begin.clone(), bytes].concat();
    refused(&after(shape.int(LARGEST)), "cut short");
    refused(&after(shape.int(-1)), "no length");
    refused(&after(shape.int(1 << 31)), "no length");
    let id = [shape.int(1), shape.int(1), shape.int(0)].concat();
    refused(&after([id.clone(), shape.int(LARGEST)].concat()), "too long");
    let up_to_tag = [id, shape.text(Some("1")), shape.text(Some("1"))].concat();
    let up_to_tag = [shape.int(1), shape.int(1), up_to_tag[10..].to_vec()].concat();
    let up_to_tag = [up_to_tag[..5].to_vec(), shape.int(1), up_to_tag[5..].to_vec()].concat();
    for length in [LARGEST, 100] {
        refused(&after([up_to_tag.clone(), shape.int(length), b"abc".to_vec()].concat()), "damaged");
    }
    // a chunk of data
    let whole = shape.archive(&[table(rows(3))]);
    let chunk = whole.len() - shape.chunks(&rows(3)).len();
    for (length, words) in [(LARGEST, "cut short"), (-1, "no length"), (-LARGEST, "no length")] {
        let mut bytes = whole.clone();
        bytes.splice(chunk..chunk + 5, shape.int(length));
        refused(&bytes, words);
    }
    was_small();
}

#[test]
fn a_list_of_dependencies_without_end() {
    let shape = Shape::version(14);
    let entry = shape.entry(&table(rows(1)), 0);
    let end = entry.len() - 9 - 5;
    let begin = [shape.header(), shape.int(1), entry[..end].to_vec()].concat();
    let endless = begin.into_iter().chain(shape.text(Some("1")).repeat(500_000));
    refused(&endless.collect::<Vec<u8>>(), "cut short");
    was_small();
}

#[test]
fn places_that_are_not_there() {
    let shape = Shape::version(14);
    let whole = shape.archive(&[table(rows(3))]);
    let place = shape.header().len() + 5 + shape.entry(&table(rows(3)), 0).len() - 8;
    for wrong in [0, 1, whole.len() as u64, whole.len() as u64 + 1, i64::MAX as u64, u64::MAX] {
        let mut bytes = whole.clone();
        bytes[place..place + 8].copy_from_slice(&wrong.to_le_bytes());
        let [file, stream] = read(&bytes);
        assert!(file.is_err(), "{wrong}");
        // in a pipe nobody looks there
        stream.unwrap();
    }
    was_small();
}

#[test]
fn entries_that_contradict_themselves() {
    let shape = Shape::version(14);
    let twice = shape.archive(&[table(rows(3)), table(rows(3))]);
    refused(&twice, "there twice");
    let mut none = shape.archive(&[table(rows(3))]);
    let state = shape.header().len() + 5 + shape.entry(&table(rows(3)), 0).len() - 9;
    none[state] = 3;
    refused(&none, "has data, and has none");
    none[state] = 9;
    refused(&none, "state 9");
    refused(&shape.archive(&[table(b"1\t2\n".to_vec())]), "have no end");
    refused(&[shape.archive(&[table(rows(3))]), b"x".to_vec()].concat(), "no type of a block");
    let nul = Made { id: 1, tag: "a\0b", desc: "TABLE", ..Made::default() };
    refused(&shape.archive(&[nul]), "NUL");
    let object = |oid, tag| {
        let objects = Made { id: 2, desc: "BLOBS", data: vec![(oid, Vec::new())], ..Made::default() };
        shape.archive(&[Made { id: 1, tag, desc: "BLOB", ..Made::default() }, objects])
    };
    read(&object(5, "5")).into_iter().for_each(Result::unwrap);
    refused(&object(5, "6"), "nothing makes");
    was_small();
}

#[test]
fn what_is_no_archive() {
    for bytes in [b"".as_slice(), b"PGDM", b"PGDMP", b"--\n-- PostgreSQL database dump\n", &[0; 4096]] {
        for error in read(bytes).map(Result::unwrap_err) {
            assert_eq!(error.code(), kit::exit::Code::No, "{error}");
        }
    }
    assert_eq!(detect(b"PGDM"), None);
    refused(b"PGDMP\x01\x11\x00\x04\x08\x01", "not known yet");
    refused(b"PGDMP\x02\x00\x00\x04\x08\x01", "no version");
    was_small();
}

/// Zeros without end, as a decoder would give them of a small file.
#[test]
fn much_data_in_a_small_archive() {
    for compression in [1, 3] {
        let shape = Shape { compression, ..Shape::version(16) };
        let mut raw = std::io::repeat(b'0').take(200 << 20).chain(b"\n\\.\n\n\n".as_slice());
        let packed = match compression {
            1 => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                std::io::copy(&mut raw, &mut encoder).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(raw, 1).unwrap(),
        };
        let empty = shape.archive(&[table(b"\\.\n".to_vec())]);
        let begin = empty.len() - shape.chunks(&shape.packed(b"\\.\n")).len();
        let bytes = [empty[..begin].to_vec(), shape.chunks(&packed)].concat();
        read(&bytes).into_iter().for_each(Result::unwrap);
    }
    was_small();
}

#[test]
fn names_that_lead_out_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("archive");
    fs::create_dir(&folder).unwrap();
    fs::write(dir.path().join("secret"), rows(1)).unwrap();
    for name in ["../secret", "/etc/passwd", "..", ".", "a/b", "\n"] {
        let toc = Shape::version(14).toc(&[(table(rows(1)), name)]);
        fs::write(folder.join("toc.dat"), toc).unwrap();
        let archive = Archive::open(Input::Directory(&folder), "sample").unwrap();
        let error = archive.sql(&mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("no name of a file"), "{error}");
    }
    was_small();
}

#[test]
fn a_tar_that_is_not_true() {
    let toc = Shape::version(14).toc(&[(table(rows(1)), "7.dat")]);
    let whole = tar(&[("toc.dat", toc.clone()), ("7.dat", rows(1))]);
    read(&whole).into_iter().for_each(Result::unwrap);
    let largest = [[0x80, 0, 0, 0].as_slice(), &i64::MAX.to_be_bytes()].concat();
    let all = [[0x80, 0, 0, 0].as_slice(), &u64::MAX.to_be_bytes()].concat();
    let sizes: [(&[u8], &str); 5] = [
        (b"77777777777 ", "cut short"),
        (&largest, "cut short"),
        (&all, "no number"),
        (b"-0000000001 ", "no number"),
        (b"            ", "no number"),
    ];
    for (size, words) in sizes {
        let begin = tar(&[("toc.dat", toc.clone())]);
        let begin = &begin[..begin.len() - 1024];
        refused(&[begin, &tar_head("7.dat", size), &rows(1)].concat(), words);
        refused(
            &[tar_head("toc.dat", size), toc.clone()].concat(),
            if words == "cut short" { "" } else { words },
        );
    }
    refused(&tar(&[("toc.dat", toc.clone()), ("8.dat", rows(1))]), "is missing");
    refused(&tar(&[("toc.dat", [toc.clone(), vec![0]].concat()), ("7.dat", rows(1))]), "follow its end");
    refused(&[whole.clone(), whole.clone()].concat(), "follow its end");
    let mut changed = whole.clone();
    changed[0] ^= 0x20;
    refused(&changed, "");
    changed[0] ^= 0x20;
    changed[100] ^= 1;
    refused(&changed, "checksum");
    was_small();
}

/// A frame of zstd tells how much memory it takes; 32 MiB are held, more are not.
#[test]
fn windows_of_any_size() {
    let shape = Shape { compression: 3, ..Shape::version(16) };
    for window in [25, 26, 27, 31] {
        let raw = std::io::repeat(b'0').take(80 << 20).chain(b"\n\\.\n\n\n".as_slice());
        let mut packed = zstd::encode_all(raw, 1).unwrap();
        // RFC 8878 3.1.1.1: magic, descriptor without single segment, window
        assert_eq!(packed[4] & 0x20, 0);
        packed[5] = (window - 10) << 3;
        let empty = shape.archive(&[table(b"\\.\n".to_vec())]);
        let begin = empty.len() - shape.chunks(&shape.packed(b"\\.\n")).len();
        let bytes = [empty[..begin].to_vec(), shape.chunks(&packed)].concat();
        for outcome in read(&bytes) {
            match outcome {
                Ok(()) => assert_eq!(window, 25),
                Err(error) => assert!(window > 25 && error.code() == kit::exit::Code::Refused, "{error}"),
            }
        }
    }
    was_small();
}
