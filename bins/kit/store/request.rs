//! One request and its answer, and trying again.

use std::io::Read;
use std::time::Duration;

use ureq::http::Response;
use ureq::{Body, BodyReader};

use crate::child::pause;
use crate::exit::{Error, Result};
use crate::http::cause;

/// So often a request is sent while the store may only be busy.
const TRIES: u32 = 3;
/// Before the second try; thrice as long before the third.
const PAUSE: Duration = Duration::from_millis(500);
/// How much of the text of an error is read.
const LONGEST_ERROR: u64 = 64 << 10;

/// Why a request was not done.
pub(super) enum Failure {
    /// The store says what it says.
    Answer(Answer),
    /// In words; whether another try may help.
    Other(String, bool),
}

/// Answers that mean something to whoever asked.
pub(super) enum Answer {
    /// There is no such object.
    Absent,
    /// A condition does not hold.
    Held,
    /// It has no such range.
    Beyond,
    /// There is no such bucket, or we may not.
    Never(String),
}

impl Failure {
    pub(super) fn fatal(why: String) -> Self {
        Failure::Other(why, false)
    }
}

/// A good answer.
pub(super) struct Good(Response<Body>);

impl Good {
    pub(super) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// How long the object is that it is a part of, bytes.
    pub(super) fn whole_length(&self) -> Option<u64> {
        self.header("content-range")?.rsplit('/').next()?.parse().ok()
    }

    /// All of it, which may have `limit` bytes.
    pub(super) fn text(mut self, limit: u64) -> std::result::Result<String, Failure> {
        self.0.body_mut().with_config().limit(limit).read_to_string().map_err(|e| failure(&e))
    }

    /// Fills `into` with its body, which is as long. The connection serves the next request only when the
    /// end has been seen.
    pub(super) fn fill(self, into: &mut [u8]) -> std::result::Result<(), Failure> {
        let mut reader = self.into_reader();
        let done = reader.read_exact(into).and_then(|()| reader.read(&mut [0]));
        done.map(drop).map_err(|e| failure(&ureq::Error::Io(e)))
    }

    pub(super) fn into_reader(self) -> BodyReader<'static> {
        self.0.into_body().into_reader()
    }
}

/// What an answer means.
pub(super) fn answered(
    answer: std::result::Result<Response<Body>, ureq::Error>,
) -> std::result::Result<Good, Failure> {
    let mut answer = answer.map_err(|e| failure(&e))?;
    let status = answer.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(Good(answer));
    }
    let mut text = Vec::new();
    // an error without words is told by its number
    let _ = answer.body_mut().as_reader().take(LONGEST_ERROR).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let code = element(&text, "Code").unwrap_or_default();
    let plain = |text: &str| {
        ["&apos;'", "&quot;\"", "&lt;<", "&gt;>", "&amp;&"].iter().fold(text.to_owned(), |text, pair| {
            let (entity, letter) = pair.split_at(pair.len() - 1);
            text.replace(entity, letter)
        })
    };
    let message = element(&text, "Message").map(plain);
    let words = match (code, message.as_deref()) {
        ("", _) => format!("it answers {status}"),
        (code, None | Some("")) => format!("it answers {status}, {code}"),
        (code, Some(message)) => format!("it answers {status}, {code}: {message}"),
    };
    Err(match status {
        404 if code != "NoSuchBucket" => Failure::Answer(Answer::Absent),
        // 409: another who writes the same object is not done
        412 => Failure::Answer(Answer::Held),
        416 => Failure::Answer(Answer::Beyond),
        // 301, 307: it is elsewhere; 400: not in this region, not signed as it wants
        300..=404 => Failure::Answer(Answer::Never(words)),
        _ => Failure::Other(words, matches!(status, 409 | 429 | 500..)),
    })
}

/// Why there is no answer.
pub(super) fn failure(error: &ureq::Error) -> Failure {
    let (why, again) = cause(error);
    Failure::Other(why, again)
}

/// The text of an element of an error, which has no attributes and nothing within.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(inner, _)| inner)
}

/// Does it, again where that may help. `None`: there is no such object.
pub(super) fn tried<T>(
    doing: impl Fn() -> String,
    mut once: impl FnMut() -> std::result::Result<T, Failure>,
) -> Result<Option<T>> {
    let (mut left, mut nap) = (TRIES, PAUSE);
    loop {
        left -= 1;
        let cannot = |why: &str| format!("cannot {}: {why}", doing());
        match once() {
            Ok(done) => return Ok(Some(done)),
            Err(Failure::Answer(Answer::Absent)) => return Ok(None),
            // what has no range that it had was replaced
            Err(Failure::Answer(Answer::Held | Answer::Beyond)) => {
                return Err(Error::temporary(cannot("it is another one by now")));
            }
            Err(Failure::Answer(Answer::Never(why))) => {
                return Err(Error::refused(cannot(&why)).hint(
                    "Are bucket, S3_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY right, and this machine's clock?",
                ));
            }
            Err(Failure::Other(why, true)) if left > 0 => {
                drop(why);
                pause(nap)?;
                nap *= 3;
            }
            Err(Failure::Other(why, _)) => return Err(Error::temporary(cannot(&why))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_error() {
        let text = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>none</Message></Error>";
        assert_eq!((element(text, "Code"), element(text, "Message")), (Some("NoSuchBucket"), Some("none")));
        assert_eq!(element("", "Code"), None);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let tries = |again| {
            let mut n = 0;
            let result = tried(
                || "read 'x'".into(),
                || {
                    n += 1;
                    if n == 3 { Ok(()) } else { Err(Failure::Other("busy".into(), again)) }
                },
            );
            (n, result.is_ok())
        };
        assert_eq!((tries(true), tries(false)), ((3, true), (1, false)));
    }
}
