//! The coverage of an archive as a few lines of text, for a terminal.

use std::collections::BTreeSet;

use kit::wal::name::Segment;

use crate::survey::Survey;

const COLUMNS: u64 = 60;

/// A line for each timeline, over the same stretch of the log: `#` all there, `-` a part, `!` damaged,
/// `B` a base backup begins.
pub(crate) fn lines(survey: &Survey) -> Vec<String> {
    let bytes = survey.chain.segment_bytes;
    let number = |s: &Segment| s.number(bytes);
    let (Some(first), Some(last)) =
        (survey.present.iter().map(number).min(), survey.present.iter().map(number).max())
    else {
        return Vec::new();
    };
    let line = |timeline: u32| {
        let of = |segments: &BTreeSet<Segment>| -> BTreeSet<u64> {
            segments.iter().filter(|s| s.timeline == timeline).map(number).collect()
        };
        let bases = survey.bases.iter().filter(|b| b.timeline == timeline).map(|b| number(&b.first(bytes)));
        let bar = bar(first, last, &of(&survey.present), &of(&survey.chain.segments), &bases.collect());
        format!("{timeline:08X} |{bar}|")
    };
    survey.chain.timelines().into_iter().map(line).collect()
}

fn bar(
    first: u64,
    last: u64,
    present: &BTreeSet<u64>,
    whole: &BTreeSet<u64>,
    bases: &BTreeSet<u64>,
) -> String {
    let span = last - first + 1;
    let columns = span.min(COLUMNS);
    let column = |i: u64| {
        let from = first + i * span / columns;
        let until = first + (i + 1) * span / columns;
        let count = |set: &BTreeSet<u64>| set.range(from..until).count() as u64;
        match (count(present), count(whole)) {
            (there, whole) if whole < there => '!',
            _ if count(bases) > 0 => 'B',
            (0, _) => ' ',
            (there, _) if there < until - from => '-',
            _ => '#',
        }
    };
    (0..columns).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_damage_and_bases_are_seen_at_any_length() {
        let set = |range: std::ops::Range<u64>| range.collect::<BTreeSet<u64>>();
        let present: BTreeSet<u64> = set(0..3).union(&set(4..10)).copied().collect();
        let whole: BTreeSet<u64> = present.iter().copied().filter(|n| *n != 5).collect();
        assert_eq!(bar(0, 9, &present, &whole, &set(1..2)), "#B# #!####");
        let long = bar(0, 599, &set(0..305), &set(0..305), &set(0..0));
        assert_eq!(long, format!("{}-{}", "#".repeat(30), " ".repeat(29)));
    }
}
