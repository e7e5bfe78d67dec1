//! The reader, however its input is cut, and whatever it is.

use super::*;

/// Writes down what it is told.
#[derive(Default, PartialEq, Debug)]
struct Told(Vec<(Vec<u8>, Kind, Vec<u8>)>);

impl Sink for Told {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        self.0.push((entry.path.clone(), entry.kind, Vec::new()));
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let (.., data) = self.0.last_mut().unwrap();
        data.resize(offset as usize, 0);
        data.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// An archive with a long name, a link, and a file with holes in six parts.
fn sample() -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    let owned = || {
        let mut header = ::tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header
    };
    let mut header = owned();
    header.set_size(700);
    builder.append_data(&mut header, "n".repeat(300), [7; 700].as_slice()).unwrap();
    header.set_size(0);
    header.set_entry_type(::tar::EntryType::Symlink);
    builder.append_link(&mut header, "link", "t".repeat(200)).unwrap();
    let mut sparse = owned();
    sparse.as_old_mut().linkflag = [b'S'];
    sparse.as_old_mut().name[..4].copy_from_slice(b"hole");
    sparse.set_size(60);
    let gnu = sparse.as_gnu_mut().unwrap();
    gnu.set_real_size(6000);
    gnu.set_is_extended(true);
    let mut extended = ::tar::GnuExtSparseHeader::new();
    for (i, part) in gnu.sparse.iter_mut().chain(&mut extended.sparse[..2]).enumerate() {
        part.set_offset(i as u64 * 1000);
        part.set_length(10);
    }
    sparse.set_cksum();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes.extend_from_slice(sparse.as_bytes());
    bytes.extend_from_slice(extended.as_bytes());
    bytes.extend_from_slice(&[9; 60]);
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

fn told(pieces: &[&[u8]]) -> Result<Told> {
    let (mut reader, mut told) = (Reader::default(), Told::default());
    pieces.iter().try_for_each(|piece| reader.feed(piece, &mut told))?;
    reader.finish().map(|()| told)
}

#[test]
fn it_does_not_matter_where_the_input_is_cut() {
    let bytes = sample();
    let whole = told(&[&bytes]).unwrap();
    let [(name, Kind::File, data), (_, Kind::Symlink, _), (_, Kind::File, hole)] = &whole.0[..] else {
        panic!("{whole:?}")
    };
    assert_eq!((name.len(), data.len(), hole.len()), (300, 700, 5010));
    assert_eq!(hole.iter().filter(|b| **b == 9).count(), 60);
    for cut in 0..bytes.len() {
        let (a, b) = bytes.split_at(cut);
        assert_eq!(told(&[a, b]).unwrap(), whole, "{cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(told(&single).unwrap(), whole);
}

#[test]
fn an_archive_that_is_cut_is_never_whole_and_no_byte_is_a_panic() {
    let bytes = sample();
    for cut in 0..bytes.len() - 1024 {
        assert!(told(&[&bytes[..cut]]).is_err(), "{cut}");
    }
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            let _ = told(&[&changed]);
        }
    }
}
