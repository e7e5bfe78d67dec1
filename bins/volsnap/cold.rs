//! A snapshot of volumes on which nobody runs. What was stopped for it is down while they are read, not while they
//! are compressed: where there is room they are only copied meanwhile.

use kit::codec::Kind;
use kit::exit::{Error, Result};
use kit::out;
use kit::place::{self, Part};
use kit::volume::set::Archive;
use kit::volume::used;

use crate::cli::{Args, Aside};
use crate::inspect::{Files, Seen, Source, look, warn_of_state};
use crate::spool;
use crate::take::Taking;

/// Whether volumes are put aside and archived later: where something waits for it, and there is room.
///
/// # Errors
/// No room where it is asked for by all means.
pub(crate) fn puts_aside(args: &Args, sources: &[Source], taking: &Taking<'_>) -> Result<bool> {
    let starts = args.services.start.is_some() || !args.services.services.is_empty();
    match args.aside {
        // what is not compressed is read as fast as it is copied
        Aside::Auto if !starts || taking.codec.kind == Kind::None => return Ok(false),
        Aside::Never => return Ok(false),
        _ => {}
    }
    let bytes = match sources.iter().map(size).sum::<Result<u64>>() {
        Err(e) if args.aside == Aside::Auto => {
            let what = "what is stopped starts when all is compressed";
            taking
                .speech
                .say(&format!("cannot tell whether there is room to copy the volumes first: {e}: {what}"));
            return Ok(false);
        }
        other => other?,
    };
    let needed = spool::needed(taking.dir, bytes)?;
    let free = place::free(taking.dir).map_err(|e| Error::io("read", taking.dir.display(), &e))?;
    if needed <= free {
        return Ok(true);
    }
    let what = format!(
        "no room in '{}' to copy the volumes first: {} are needed, {} are free",
        taking.dir.display(),
        out::bytes(needed),
        out::bytes(free)
    );
    if args.aside == Aside::Always {
        return Err(Error::temporary(what).hint("Make room, or leave out --copy-first."));
    }
    taking.speech.say(&format!("{what}: what is stopped starts when all is compressed"));
    Ok(false)
}

/// Bytes that the files of a volume take.
fn size(source: &Source) -> Result<u64> {
    match &source.files {
        Files::Here(root) => used(root, true).map_err(|e| Error::io("read", root.display(), &e)),
        Files::Behind(helper) => helper.size(),
    }
}

/// Reads all volumes, none of which anybody runs on, from before the first byte to after the last;
/// then calls `all_read`. With `aside` they are compressed after that.
pub(crate) fn read(
    taking: &Taking<'_>,
    sources: &[Source],
    aside: bool,
    all_read: impl FnOnce(),
) -> Result<(Vec<Part>, Vec<Archive>)> {
    let seen: Vec<Seen> = sources.iter().map(look).collect::<Result<_>>()?;
    for (source, seen) in sources.iter().zip(&seen) {
        warn_of_state(source, seen, taking.speech);
    }
    let unchanged = || {
        for (source, before) in sources.iter().zip(&seen) {
            if look(source).map_err(|e| e.within("it was started meanwhile"))? != *before {
                return Err(Error::temporary(format!(
                    "cannot read {}: a server ran on it meanwhile",
                    source.volume.place
                )));
            }
        }
        Ok(())
    };
    let mut copies = Vec::new();
    for source in sources.iter().filter(|_| aside) {
        let Some(copy) = taking.set_aside(source)? else {
            // what is known to fit can grow until it is stopped, and others write to the disk as well
            let what = "the disk is full: what is not copied yet is compressed before anything starts";
            taking.speech.say(what);
            break;
        };
        copies.push(copy);
    }
    let mut all_read = Some(all_read);
    let mut direct = Vec::new();
    for (i, (source, seen)) in sources.iter().zip(&seen).enumerate().skip(copies.len()) {
        let last = i + 1 == sources.len();
        let read = || match all_read.take_if(|_| last) {
            Some(all_read) => unchanged().map(|()| all_read()),
            None => Ok(()),
        };
        direct.push(taking.take(source, seen, None, read)?);
    }
    if let Some(all_read) = all_read.take() {
        unchanged().map(|()| all_read())?;
    }
    let mut made = Vec::new();
    for (copy, (source, seen)) in copies.into_iter().zip(sources.iter().zip(&seen)) {
        made.push(taking.archive(source, seen, copy)?);
    }
    Ok(made.into_iter().chain(direct).unzip())
}
