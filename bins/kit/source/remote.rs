//! A dump in an object store. Nothing of it is kept here but its manifest, in an unnamed file.

use std::io;
use std::sync::Arc;
use std::thread;

use super::Dump;
use crate::exit::{Code, Error, Result};
use crate::manifest::{Text, path_of};
use crate::medium::Medium;
use crate::settings::Settings;
use crate::store::{Place, Remote, Store};

impl Dump {
    /// Opens an object as it is now: no other version of it is read later.
    ///
    /// # Errors
    /// [`Code::No`] when there is none; those of [`Store::open`] and [`Store::look`]. A manifest that cannot be read is none, but not one that the
    /// store may give in a moment.
    pub fn at(place: &Place, settings: &Settings) -> Result<Self> {
        let store = Arc::new(Store::open(place, settings)?);
        let key = place.key();
        if key.is_empty() {
            return Err(Error::usage(format!("'{place}' names no object")));
        }
        let (object, text) = thread::scope(|scope| {
            let text = scope.spawn(|| text(&store, key));
            let object = Remote::open(&store, key);
            (object, text.join().unwrap_or_else(|_| Err(Error::no("a thread that reads from a store died"))))
        });
        let Some(object) = object? else {
            // this tells a missing bucket from a missing object
            store.look(key)?;
            return Err(Error::no(format!("there is no '{place}'")));
        };
        match text {
            Err(error) if error.code() == Code::Temporary => Err(error),
            text => Ok(Self::of(Arc::new(object), place.to_string()).with(text)),
        }
    }
}

/// The manifest beside an object. It is read more than once, and may have a million lines.
fn text(store: &Arc<Store>, key: &str) -> Result<Option<Text>> {
    let record = path_of(key.as_ref()).display().to_string();
    let Some(remote) = Remote::open(store, &record)? else { return Ok(None) };
    let shown = store.shown(&record);
    let mut file = tempfile::tempfile().map_err(|e| Error::io("create", "a temporary file", &e))?;
    io::copy(&mut remote.all(), &mut file).map_err(|e| Error::io("keep", &shown, &e))?;
    Ok(Some(Text::new(file, shown)))
}
