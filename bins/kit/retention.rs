//! Which backups to keep: a pure plan with reasons.
//!
//! Only proven backups of one series are counted, each kin by itself, and only they are ever
//! removed. The newest of each kin always stays. A backup dated in the future (a clock that jumped, a hostile name) is kept
//! and counted by nobody, so that it can never crowd out the real ones.

use crate::cli::{number, span, text, usage};
use crate::exit::Result;
use crate::manifest::Kin;
use crate::stamp::{Period, Stamp};

/// A clock may run this far ahead of another machine's before a backup counts as future-dated.
const SKEW: i64 = 300;

/// The options that are rules, without their dashes.
pub const RULES: [&str; 8] = [
    "keep-last",
    "keep-within",
    "keep-hourly",
    "keep-daily",
    "keep-weekly",
    "keep-monthly",
    "keep-yearly",
    "keep-tag",
];

/// What to keep; rules add up. An empty policy keeps the newest backup alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest so many.
    pub last: u32,
    /// All within so many seconds of the newest.
    pub within: Option<i64>,
    /// The newest of each of the latest so many periods that hold a backup.
    pub periods: Vec<(Period, u32)>,
    /// All with one of these tags.
    pub tags: Vec<String>,
}

impl Policy {
    /// Takes the value of `option`, one of [`RULES`], from `parser`.
    ///
    /// # Errors
    /// Of usage: no rule of that name, a value that is no number or no span.
    pub fn option(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<()> {
        let periods = [
            ("keep-hourly", Period::Hour),
            ("keep-daily", Period::Day),
            ("keep-weekly", Period::Week),
            ("keep-monthly", Period::Month),
            ("keep-yearly", Period::Year),
        ];
        let spelled = format!("--{option}");
        match option {
            "keep-last" => self.last = number(parser, &spelled)?,
            "keep-within" => self.within = Some(span(&text(parser, &spelled)?)?),
            "keep-tag" => self.tags.push(text(parser, &spelled)?),
            _ => match periods.iter().find(|(name, _)| *name == option) {
                Some((_, period)) => self.periods.push((*period, number(parser, &spelled)?)),
                None => return Err(usage(format!("invalid option '{spelled}'"))),
            },
        }
        Ok(())
    }

    /// The rules as they were given; where none says how many, the newest `default` of them. A tag to
    /// keep is one rule more, not the only one.
    #[must_use]
    pub fn or_last(self, default: u32, ruled: bool) -> Self {
        if ruled { self } else { Policy { last: default, ..self } }
    }

    /// The rules as options in their long form, as a manifest keeps them; never none, which would be the rules of a
    /// run that removes nothing.
    pub fn to_options(&self) -> Vec<String> {
        let none = *self == Policy::default();
        let last = (self.last > 0 || none).then(|| format!("--keep-last {}", self.last));
        let within = self.within.map(|seconds| format!("--keep-within {seconds}s"));
        let periods = self.periods.iter().map(|(period, n)| format!("--keep-{} {n}", name(*period)));
        let tags = self.tags.iter().map(|tag| format!("--keep-tag {tag}"));
        last.into_iter().chain(within).chain(periods).chain(tags).collect()
    }

    /// Reads what [`to_options`](Self::to_options) writes; what is no rule is passed over.
    pub fn from_options(options: &[String]) -> Self {
        let mut policy = Policy::default();
        for (option, value) in options.iter().filter_map(|o| o.strip_prefix("--keep-")?.split_once(' ')) {
            match option {
                "last" => policy.last = value.parse().unwrap_or(0),
                "within" => policy.within = crate::cli::span(value).ok(),
                "tag" => policy.tags.push(value.to_owned()),
                _ => {
                    let period = PERIODS.into_iter().find(|p| name(*p) == option);
                    policy.periods.extend(period.zip(value.parse().ok()));
                }
            }
        }
        policy
    }
}

/// A backup as retention sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name, which also breaks ties of time.
    pub name: String,
    /// When it was made.
    pub time: Stamp,
    /// Its reason.
    pub tag: Option<String>,
    /// What it is a backup of.
    pub kin: Option<Kin>,
    /// Why it is not counted; `None` when it is proven.
    pub fault: Option<String>,
}

/// What happens to one backup, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(String),
    /// It goes.
    Remove(String),
}

impl Verdict {
    /// What happens, in a word, and why.
    pub fn into_words(self) -> (&'static str, String) {
        match self {
            Verdict::Keep(why) => ("keep", why),
            Verdict::Remove(why) => ("remove", why),
        }
    }
}

/// Whether a time lies further ahead of `now` than clocks differ.
pub fn is_future(time: Stamp, now: Stamp) -> bool {
    time > now.plus(SKEW)
}

/// The verdict on each candidate, in their order.
pub fn plan(policy: &Policy, now: Stamp, candidates: &[Candidate]) -> Vec<Verdict> {
    let future = |c: &Candidate| is_future(c.time, now);
    let mut order: Vec<usize> = (0..candidates.len())
        .filter(|i| candidates[*i].fault.is_none() && !future(&candidates[*i]))
        .collect();
    order.sort_by(|a, b| {
        (candidates[*b].time, &candidates[*b].name).cmp(&(candidates[*a].time, &candidates[*a].name))
    });
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); candidates.len()];
    while let Some(newest) = order.first() {
        let kin = candidates[*newest].kin.clone();
        let (of_kin, others): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|i| candidates[*i].kin == kin);
        judge(policy, candidates, &of_kin, &mut reasons);
        order = others;
    }

    let verdict = |(candidate, reasons): (&Candidate, Vec<String>)| match &candidate.fault {
        Some(fault) => Verdict::Keep(format!("not counted: {fault}")),
        None if future(candidate) => Verdict::Keep("not counted: dated in the future".into()),
        None if reasons.is_empty() => Verdict::Remove("no rule keeps it".into()),
        None => Verdict::Keep(reasons.join(", ")),
    };
    candidates.iter().zip(reasons).map(verdict).collect()
}

/// Collects the reasons to keep backups of one kin, whose places are in `order`, newest first.
fn judge(policy: &Policy, candidates: &[Candidate], order: &[usize], reasons: &mut [Vec<String>]) {
    if let Some(newest) = order.first() {
        reasons[*newest].push("newest".into());
        for i in order.iter().take(policy.last as usize) {
            reasons[*i].push(format!("last {}", policy.last));
        }
        let since = policy.within.map(|w| candidates[*newest].time.plus(-w));
        for i in order {
            if since.is_some_and(|s| candidates[*i].time >= s) {
                reasons[*i].push("within".into());
            }
            if let Some(tag) = candidates[*i].tag.as_ref().filter(|t| policy.tags.contains(t)) {
                reasons[*i].push(format!("tag {tag}"));
            }
        }
    }
    for (period, most) in &policy.periods {
        let mut seen = None;
        let mut left = *most;
        for i in order {
            let bucket = candidates[*i].time.bucket(*period);
            if seen == Some(bucket) || left == 0 {
                continue;
            }
            seen = Some(bucket);
            left -= 1;
            reasons[*i].push(name(*period).into());
        }
    }
}

const PERIODS: [Period; 5] = [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];

fn name(period: Period) -> &'static str {
    match period {
        Period::Hour => "hourly",
        Period::Day => "daily",
        Period::Week => "weekly",
        Period::Month => "monthly",
        Period::Year => "yearly",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stamp: &str) -> Candidate {
        let (stamp, tag) = stamp.split_once('#').map_or((stamp, None), |(s, t)| (s, Some(t.to_owned())));
        Candidate {
            name: stamp.into(),
            time: Stamp::parse_compact(stamp).unwrap(),
            tag,
            kin: None,
            fault: None,
        }
    }

    fn kept(policy: &Policy, now: &str, stamps: &[&str]) -> Vec<String> {
        let candidates: Vec<Candidate> = stamps.iter().map(|s| at(s)).collect();
        let verdicts = plan(policy, Stamp::parse_compact(now).unwrap(), &candidates);
        candidates
            .iter()
            .zip(verdicts)
            .filter(|(_, v)| matches!(v, Verdict::Keep(_)))
            .map(|(c, _)| c.name.clone())
            .collect()
    }

    const NOW: &str = "20251130_120000";

    #[test]
    fn rules_as_a_table() {
        let days: Vec<String> = (1..=30).rev().map(|d| format!("202511{d:02}_020000")).collect();
        let days: Vec<&str> = days.iter().map(String::as_str).collect();
        let policy = |last, within, periods: &[(Period, u32)]| Policy {
            last,
            within,
            periods: periods.to_vec(),
            tags: vec![],
        };
        for (policy, want) in [
            (policy(3, None, &[]), vec!["20251130_020000", "20251129_020000", "20251128_020000"]),
            (policy(0, None, &[]), vec!["20251130_020000"]),
            (policy(0, Some(2 * 86_400), &[]), vec!["20251130_020000", "20251129_020000", "20251128_020000"]),
            (
                policy(0, None, &[(Period::Week, 3)]),
                vec!["20251130_020000", "20251123_020000", "20251116_020000"],
            ),
            (policy(0, None, &[(Period::Month, 2)]), vec!["20251130_020000"]),
            (
                policy(0, None, &[(Period::Day, 2), (Period::Week, 2)]),
                vec!["20251130_020000", "20251129_020000", "20251123_020000"],
            ),
            (policy(100, None, &[]), days.clone()),
        ] {
            assert_eq!(kept(&policy, NOW, &days), want, "{policy:?}");
        }
    }

    #[test]
    fn rules_are_read_back_as_they_are_written() {
        let periods = PERIODS.into_iter().zip(1..).collect();
        let tags = vec!["before a release".into(), "x".into()];
        let policy = Policy { last: 3, within: Some(90_000), periods, tags };
        assert_eq!(Policy::from_options(&policy.to_options()), policy);
        assert_eq!(Policy::from_options(&["--keep-last x".into(), "nonsense".into()]), Policy::default());
        assert_eq!(Policy::default().to_options(), ["--keep-last 0"]);
    }

    #[test]
    fn of_two_in_one_period_the_newer_stays() {
        let policy = Policy { periods: vec![(Period::Day, 9)], ..Policy::default() };
        assert_eq!(
            kept(&policy, NOW, &["20251128_230000", "20251128_010000", "20251127_000000"]),
            ["20251128_230000", "20251127_000000",]
        );
    }

    #[test]
    fn a_tag_keeps_what_no_count_would() {
        let policy = Policy { last: 1, tags: vec!["release".into()], ..Policy::default() };
        let stamps = ["20251129_000000", "20251128_000000#release", "20251127_000000#other"];
        assert_eq!(kept(&policy, NOW, &stamps), ["20251129_000000", "20251128_000000"]);
    }

    #[test]
    fn the_future_crowds_out_nothing() {
        let policy = Policy { last: 1, ..Policy::default() };
        let stamps = ["20990101_000000", "20251129_000000", "20251128_000000"];
        assert_eq!(kept(&policy, NOW, &stamps), ["20990101_000000", "20251129_000000"]);
        // a clock that fell back to 1970 removes nothing at all
        assert_eq!(kept(&policy, "19700101_000000", &stamps), stamps);
    }

    #[test]
    fn the_unproven_are_neither_counted_nor_removed() {
        let mut candidates = vec![at("20251129_000000"), at("20251128_000000"), at("20251127_000000")];
        candidates[0].fault = Some("no manifest".into());
        let verdicts =
            plan(&Policy { last: 1, ..Policy::default() }, Stamp::parse_compact(NOW).unwrap(), &candidates);
        assert_eq!(verdicts[0], Verdict::Keep("not counted: no manifest".into()));
        assert_eq!(verdicts[1], Verdict::Keep("newest, last 1".into()));
        assert_eq!(verdicts[2], Verdict::Remove("no rule keeps it".into()));
    }
}
