//! Objects in a store that speaks S3: rusty-s3 signs the requests, ureq sends them.
//!
//! Where it is comes from the environment, in the words of AWS's own programs: `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, and `S3_ENDPOINT_URL` (or
//! `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`) for a store that is not Amazon's. A request is tried three
//! times while the store may only be busy. No message holds a URL: a signed one is a key.

mod content;
mod place;
mod remote;
mod request;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusty_s3::actions::{DeleteObject, GetObject, HeadObject, ListObjectsV2, PutObject};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::{Agent, SendBody};

use crate::buffer::Buffer;
use crate::child::interrupted;
use crate::exit::{Error, Result};
use crate::http;
use crate::settings::Settings;
use crate::stamp::Stamp;

pub use content::Content;
pub use place::Place;
pub use remote::Remote;
use request::{Answer, Failure, answered, failure};

/// How long a signed request is good for; each try is signed anew.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// How long the store may think before it answers …
const PATIENCE: Duration = Duration::from_secs(60);
/// … and how long all of a body may take.
const BODY: Duration = Duration::from_secs(300);
/// How much one request reads: many small ones hide the way there, and a broken one costs little.
const RANGE: u64 = 4 << 20;
/// So many of them at the same time.
const READERS: usize = 4;
/// Where an object keeps its writer's digest.
const DIGEST: &str = "x-amz-meta-digest";
/// The longest answer that is read whole: a page of a listing, or an error.
const LONGEST_TEXT: u64 = 8 << 20;

/// A bucket that can be asked.
pub struct Store {
    agent: Agent,
    bucket: Bucket,
    credentials: Credentials,
}

/// What the store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its whole key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// Its entity tag, as it stands in a header: another content has another. Empty where a listing does
    /// not tell it.
    pub etag: String,
    /// What its writer noted as digest, see [`Content`]; a listing does not tell it.
    pub digest: Option<String>,
}

/// An object, as much of it as was asked for, and when it was written.
pub(super) struct Begun {
    pub(super) object: Object,
    pub(super) head: Vec<u8>,
    pub(super) modified: Option<Stamp>,
}

/// What must hold for an object to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only<'a> {
    /// There is none of that key.
    IfNew,
    /// The one that is there has this entity tag.
    If(&'a str),
}

/// What came of writing an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Done,
    /// It is not: the condition did not hold.
    Held,
}

impl Store {
    /// The bucket of `place`; nothing is asked yet.
    ///
    /// # Errors
    /// [`crate::exit::Code::Usage`] when the settings name no store, or no keys.
    pub fn open(place: &Place, settings: &Settings) -> Result<Self> {
        let get = |names: &[&str]| names.iter().find_map(|name| settings.get(name)).map(str::to_owned);
        let needed = |name: &str| {
            get(&[name]).ok_or_else(|| {
                Error::usage(format!("'{place}' needs {name}"))
                    .hint("It is taken from the environment or from .env.")
            })
        };
        let (id, secret) = (needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?);
        let credentials = match get(&["AWS_SESSION_TOKEN"]) {
            Some(token) => Credentials::new_with_token(id, secret, token),
            None => Credentials::new(id, secret),
        };
        let region = get(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or("us-east-1".into());
        let endpoint = get(&["S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        // certificates for *.s3.REGION.amazonaws.com hold for no further dot
        let by_path = endpoint.is_some() || place.bucket().contains('.');
        let style = if by_path { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let wrong = |why: String| Error::usage(format!("S3_ENDPOINT_URL: {why}"));
        let endpoint = endpoint.parse().map_err(|e| wrong(format!("it is no URL: {e}")))?;
        let bucket = Bucket::new(endpoint, style, place.bucket().to_owned(), region)
            .map_err(|e| wrong(e.to_string()))?;
        let agent = http::config()
            .map_err(Error::usage)?
            .timeout_recv_response(Some(PATIENCE))
            .timeout_send_body(Some(BODY))
            .timeout_recv_body(Some(BODY))
            .max_idle_connections_per_host(READERS)
            .build()
            .into();
        Ok(Store { agent, bucket, credentials })
    }

    /// The object of a key; `None` when the store says that there is none.
    ///
    /// # Errors
    /// [`crate::exit::Code::Temporary`] when the store does not answer; [`crate::exit::Code::Refused`]
    /// when it does not let us.
    pub fn look(&self, key: &str) -> Result<Option<Object>> {
        let doing = || format!("look for '{}'", self.shown(key));
        let found = request::tried(doing, || {
            let action = HeadObject::new(&self.bucket, Some(&self.credentials), key);
            let answer = answered(self.agent.head(action.sign(SIGNED_FOR).as_str()).call())?;
            Ok(Object {
                key: key.to_owned(),
                bytes: answer.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0),
                etag: answer.header("etag").unwrap_or_default().to_owned(),
                digest: answer.header(DIGEST).map(str::to_owned),
            })
        })?;
        // an answer to HEAD has no body that would tell a missing object from a missing bucket
        if found.is_none() {
            self.page("", None, 1)?;
        }
        Ok(found)
    }

    /// The object of a key, its first `bytes` or all of them, and when it was written; `None` when the store
    /// says that there is none.
    pub(super) fn begin(&self, key: &str, bytes: u64) -> Result<Option<Begun>> {
        let found = request::tried(
            || format!("read '{}'", self.shown(key)),
            || {
                let action = GetObject::new(&self.bucket, Some(&self.credentials), key);
                let request = self.agent.get(action.sign(SIGNED_FOR).as_str());
                let answer = match answered(request.header("range", format!("bytes=0-{}", bytes - 1)).call())
                {
                    // of an empty one there is no such range
                    Err(Failure::Answer(Answer::Beyond)) => return Ok(None),
                    other => other?,
                };
                let length = match answer.status() {
                    206 => answer.whole_length(),
                    _ => answer.header("content-length").and_then(|n| n.parse().ok()),
                };
                let length = length.ok_or_else(|| Failure::fatal("it tells no length".into()))?;
                let object = Object {
                    key: key.to_owned(),
                    bytes: length,
                    etag: answer.header("etag").unwrap_or_default().to_owned(),
                    digest: answer.header(DIGEST).map(str::to_owned),
                };
                let modified = answer.header("last-modified").and_then(Stamp::parse_http);
                let mut head = vec![0; length.min(bytes) as usize];
                answer.fill(&mut head)?;
                Ok(Some(Begun { object, head, modified }))
            },
        )?;
        match found {
            Some(None) => {
                Ok(self.look(key)?.map(|object| Begun { object, head: Vec::new(), modified: None }))
            }
            found => Ok(found.flatten()),
        }
    }

    /// All objects whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`Store::look`].
    pub fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            interrupted()?;
            let page = self.page(prefix, token.as_deref(), 1000)?;
            all.extend(page.contents.into_iter().map(|found| Object {
                key: found.key,
                bytes: found.size.unwrap_or(0),
                etag: found.etag.unwrap_or_default(),
                digest: None,
            }));
            match page.next_continuation_token {
                Some(next) => token = Some(next),
                None => return Ok(all),
            }
        }
    }

    fn page(
        &self,
        prefix: &str,
        token: Option<&str>,
        most: usize,
    ) -> Result<rusty_s3::actions::ListObjectsV2Response> {
        let doing = || format!("list '{}'", self.shown(prefix));
        let page = request::tried(doing, || {
            let mut action = ListObjectsV2::new(&self.bucket, Some(&self.credentials));
            action.with_prefix(prefix);
            action.with_max_keys(most);
            if let Some(token) = token {
                action.with_continuation_token(token);
            }
            let answer = answered(self.agent.get(action.sign(SIGNED_FOR).as_str()).call())?;
            let text = answer.text(LONGEST_TEXT)?;
            ListObjectsV2::parse_response(&text)
                .map_err(|e| Failure::fatal(format!("its answer is no listing: {e}")))
        })?;
        page.ok_or_else(|| Error::no(format!("there is no bucket '{}'", self.bucket.name())))
    }

    /// Reads the first `bytes` of an object into a file, by several requests at the same time. It must be
    /// the one that was looked at: one that was replaced meanwhile is not mixed with it.
    ///
    /// # Errors
    /// [`crate::exit::Code::Temporary`] when it is gone or another; those of [`Store::look`]; a signal; what
    /// writing the file meets.
    pub fn fetch(&self, object: &Object, bytes: u64, file: &File) -> Result<()> {
        let (next, failed) = (AtomicU64::new(0), Mutex::new(None));
        let fail = |error| {
            failed.lock().map_or((), |mut first: std::sync::MutexGuard<'_, _>| {
                first.get_or_insert(error);
                // the others have no more to do
                next.store(bytes, Ordering::Relaxed);
            })
        };
        let read = || {
            let mut buffer = Buffer::zeros(RANGE.min(bytes) as usize);
            loop {
                let from = next.fetch_add(RANGE, Ordering::Relaxed);
                if from >= bytes {
                    return;
                }
                let piece = &mut buffer[..RANGE.min(bytes - from) as usize];
                let written = |e| Error::io("write", "a copy in TMPDIR", &e);
                let done = interrupted()
                    .and_then(|()| self.range(object, from, piece))
                    .and_then(|()| file.write_all_at(piece, from).map_err(written));
                if let Err(error) = done {
                    return fail(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..READERS.min(bytes.div_ceil(RANGE) as usize) {
                scope.spawn(read);
            }
        });
        failed.into_inner().ok().flatten().map_or(Ok(()), Err)
    }

    /// Reads a stretch of an object.
    ///
    /// # Errors
    /// Those of [`Store::fetch`].
    pub fn range(&self, object: &Object, from: u64, into: &mut [u8]) -> Result<()> {
        let Some(last) = (from + into.len() as u64).checked_sub(1).filter(|_| !into.is_empty()) else {
            return Ok(());
        };
        let shown = self.shown(&object.key);
        let read = request::tried(
            || format!("read '{shown}'"),
            || {
                let action = GetObject::new(&self.bucket, Some(&self.credentials), &object.key);
                let request = self.agent.get(action.sign(SIGNED_FOR).as_str());
                let mut request = request.header("range", format!("bytes={from}-{last}"));
                if !object.etag.is_empty() {
                    request = request.header("if-match", &object.etag);
                }
                let answer = answered(request.call())?;
                if answer.status() != 206 {
                    return Err(Failure::fatal("it gives no part of an object".into()));
                }
                // not every store looks at the condition
                let is_another = answer.header("etag").is_some_and(|tag| tag != object.etag)
                    && !object.etag.is_empty()
                    || answer.whole_length().is_some_and(|length| length != object.bytes);
                if is_another {
                    return Err(Failure::Answer(Answer::Held));
                }
                answer.fill(into)
            },
        )?;
        read.ok_or_else(|| Error::temporary(format!("'{shown}' is gone")))
    }

    /// Reads an object whole, which may have `limit` bytes; `None`: there is none.
    ///
    /// # Errors
    /// Those of [`Store::look`].
    pub fn whole(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        request::tried(
            || format!("read '{}'", self.shown(key)),
            || {
                let action = GetObject::new(&self.bucket, Some(&self.credentials), key);
                let answer = answered(self.agent.get(action.sign(SIGNED_FOR).as_str()).call())?;
                let mut text = Vec::new();
                let read = answer.into_reader().take(limit).read_to_end(&mut text);
                read.map(|_| text).map_err(|e| failure(&ureq::Error::Io(e)))
            },
        )
    }

    /// Writes an object whole; the store holds its CRC-32C against what it got. Durable when it is done.
    ///
    /// # Errors
    /// Those of [`Store::look`]; the file cannot be read.
    pub fn put(&self, key: &str, content: &Content<'_>, only: Only<'_>) -> Result<Put> {
        let sum = content.sum().map_err(|e| Error::io("read", "what is to be stored", &e))?;
        let done = request::tried(
            || format!("write '{}'", self.shown(key)),
            || {
                let mut action = PutObject::new(&self.bucket, Some(&self.credentials), key);
                let mut headers = vec![("x-amz-checksum-crc32c", sum.as_str())];
                headers.extend(content.digest.as_deref().map(|digest| (DIGEST, digest)));
                // what begins with x-amz must be signed
                headers.iter().for_each(|(name, value)| action.headers_mut().insert(*name, *value));
                let mut request = self.agent.put(action.sign(SIGNED_FOR).as_str());
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let request = match only {
                    Only::IfNew => request.header("if-none-match", "*"),
                    Only::If(etag) => request.header("if-match", etag),
                };
                let request = request.header("content-length", content.bytes.to_string());
                let mut body = content.reader();
                match answered(request.send(SendBody::from_reader(&mut body))) {
                    Err(Failure::Answer(Answer::Held)) => Ok(Put::Held),
                    other => other.map(|_| Put::Done),
                }
            },
        )?;
        done.ok_or_else(|| Error::no(format!("there is no bucket '{}'", self.bucket.name())))
    }

    /// Removes an object; its absence is fine.
    ///
    /// # Errors
    /// Those of [`Store::look`].
    pub fn remove(&self, key: &str) -> Result<()> {
        let doing = || format!("remove '{}'", self.shown(key));
        request::tried(doing, || {
            let action = DeleteObject::new(&self.bucket, Some(&self.credentials), key);
            answered(self.agent.delete(action.sign(SIGNED_FOR).as_str()).call()).map(drop)
        })
        .map(drop)
    }

    /// The object's name, as people give it.
    pub fn shown(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket.name())
    }
}
