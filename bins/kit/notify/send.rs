//! One request to its end, within a bounded time.

use std::time::{Duration, Instant};

use ureq::Agent;

use super::target::{Request, Target};
use crate::exit::{Error, Result};
use crate::http::{self, CONNECT, cause};

/// Before the second try; thrice as long before the third: who restarts is back by then.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends `request` within `time`, trying up to `tries` times while the other side may only be busy.
pub(super) fn send(target: &Target, request: &Request, time: Duration, tries: u32) -> Result<()> {
    let end = Instant::now() + time;
    let (mut left, mut pause) = (tries, PAUSE);
    loop {
        left -= 1;
        let Err((why, again)) = once(request, end.saturating_duration_since(Instant::now())) else {
            return Ok(());
        };
        if !again || left == 0 || Instant::now() + pause >= end {
            let place = target.place();
            return Err(Error::temporary(format!("cannot notify '{place}': {why}")));
        }
        std::thread::sleep(pause);
        pause *= 3;
    }
}

/// One try; the error's text, and whether another try may help. No text holds a part of the URL.
fn once(request: &Request, time: Duration) -> std::result::Result<(), (String, bool)> {
    let agent: Agent = http::config()
        .map_err(|why| (why, false))?
        .timeout_global(Some(time))
        .timeout_connect(Some(CONNECT.min(time)))
        .build()
        .into();
    let answer = match &request.body {
        None => agent.get(&request.url).call(),
        Some((kind, text)) => agent.post(&request.url).content_type(*kind).send(text.as_str()),
    };
    match answer.map(|a| a.status().as_u16()) {
        Ok(200..=299) => Ok(()),
        Ok(status) => Err((format!("it answers {status}"), status >= 500 || status == 429)),
        Err(e) => Err(cause(&e)),
    }
}
