//! What sets, their records and archives are called.

use crate::codec::Kind as Codec;
use crate::stamp::Stamp;
use crate::volume;

/// Endings of archives, longest first.
const ENDINGS: [&str; 3] = [".tar.gz", ".tar.zst", ".tar"];

/// The series of sets of these volumes; no label holds the sign between them.
pub fn series<'a>(labels: impl Iterator<Item = &'a str>) -> String {
    let mut labels: Vec<&str> = labels.collect();
    labels.sort_unstable();
    labels.join("+")
}

/// Where volumes are, each a label and a place, in the order of [`series`]; `None` for none.
pub fn places<'a>(volumes: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut volumes: Vec<(&str, &str)> = volumes.collect();
    volumes.sort_unstable();
    (!volumes.is_empty()).then(|| volumes.iter().map(|(_, place)| *place).collect::<Vec<_>>().join(" "))
}

/// The name of a set's record.
pub fn name(stamp: Stamp) -> String {
    format!("{}.json", stamp.compact())
}

/// The name of the archive of a volume.
pub fn archive_name(stamp: Stamp, label: &str, codec: Codec) -> String {
    format!("{}_{label}.tar{}", stamp.compact(), codec.suffix())
}

/// A record's name without its ending, as people are told it.
pub fn stem(name: &str) -> &str {
    name.strip_suffix(".json").unwrap_or(name)
}

/// The time that a record's name says; `None` for a name that is no record's.
pub fn parse_record(name: &str) -> Option<Stamp> {
    Stamp::parse_compact(name.strip_suffix(".json")?)
}

/// Time and label of an archive's name; `None` for a name that is none of ours.
pub fn parse(name: &str) -> Option<(Stamp, &str)> {
    let stem = ENDINGS.iter().find_map(|e| name.strip_suffix(e))?;
    let (stamp, label) = stem.split_at_checked(15)?;
    let label = label.strip_prefix('_').filter(|l| volume::is_label(l))?;
    Some((Stamp::parse_compact(stamp)?, label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::snapshot::free_stamp;

    #[test]
    fn names_and_times() {
        let stamp = Stamp::parse_compact("20260126_120000").unwrap();
        assert_eq!(archive_name(stamp, "a-b_c", Codec::Zstd), "20260126_120000_a-b_c.tar.zst");
        assert_eq!(parse("20260126_120000_a-b_c.tar.zst"), Some((stamp, "a-b_c")));
        for name in
            ["20260126_120000.tar.gz", "20260126_120000_a.sql", "2026_a.tar.gz", "20260126_120000_.tar.gz"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("20260126_120000_x.tar.gz"), "").unwrap();
        assert_eq!(free_stamp(dir.path(), stamp).unwrap(), stamp.plus(1));
    }
}
