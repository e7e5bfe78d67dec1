//! What a run does: open the dump, see what it is, and let the verb tell of it.

use std::path::Path;

use kit::child::catch_signals;
use kit::digest::Depth;
use kit::dump::scan::Scan;
use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Output, Speech};
use kit::settings::Settings;
use kit::source::Dump;
use kit::store::Place;

use crate::cli::{self, Action, Args, HELP, TOOL, Verb};
use crate::contents::Contents;
use crate::{diff, extract, guard, index, list, salvage, settings};

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let args = match cli::parse(std::env::args_os().skip(1))? {
        Action::Help => return out::record(HELP.trim_end()).map(|_| Code::Done),
        Action::Version => {
            return out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done);
        }
        Action::Look(args) => args,
    };
    catch_signals()?;
    let speech = Speech::new(TOOL, args.quiet);
    args.telling.when_asked(TOOL, &speech, |account| look(&args, &speech, account))
}

fn look(args: &Args, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    let mut dump = open(&args.file, speech)?;
    if args.salvage {
        dump.trust();
    }
    match args.verb {
        Verb::Cat if args.salvage => salvage::salvage(&dump, speech),
        Verb::Cat => cat(&dump),
        Verb::Diff => {
            let mut other = open(&args.other, speech)?;
            for dump in [&mut dump, &mut other] {
                hold(dump, speech)?;
            }
            let how = if args.rows { diff::rows::rows } else { diff::diff };
            how(&dump, &other, args, speech)
        }
        Verb::Guard => guard::guard(&dump, args, account),
        Verb::Index => index::index(&dump, args, speech, account),
        Verb::Extract => extract::extract(&dump, args, speech),
        Verb::Settings => settings::settings(&dump, args),
        _ => list::list(&dump, args),
    }
}

fn open(file: &str, speech: &Speech) -> Result<Dump> {
    let dump = match Path::new(file) {
        _ if file == "-" => Dump::stdin()?,
        path if Place::is(path) => Dump::at(&Place::parse(file)?, &Settings::load()?)?,
        path => Dump::open(path)?,
    };
    if let Some(fault) = &dump.fault {
        speech.warn(&format!("warning: {fault}; it is read without its manifest"));
    }
    let differs = dump.manifest.is_some() && dump.believed().is_none();
    if differs {
        speech.warn(&format!("warning: '{}' has another size than its manifest says", dump.name));
    }
    dump.readable("| dump-inspect VERB -")?;
    Ok(dump)
}

/// Believes the manifest of this very file only: two files of one size may be told apart by no more than
/// a letter.
fn hold(dump: &mut Dump, speech: &Speech) -> Result<()> {
    if dump.differs()? {
        speech.warn(&format!(
            "warning: '{}' is not the file that its manifest tells of; it is read without",
            dump.name
        ));
        dump.manifest = None;
    }
    Ok(())
}

/// All of the dump, inflated; damage and a missing end are noticed, and what came before has been written.
fn cat(dump: &Dump) -> Result<Code> {
    let mut out = Output::new();
    // only what is whole is given a manifest
    let mut scan = dump.believed().is_none().then(|| Scan::new(Depth::Skip));
    dump.whole(|bytes| {
        if let Some(scan) = &mut scan {
            scan.feed(bytes, &mut |_| {});
        }
        out.write(bytes)
    })?;
    out.finish()?;
    let facts = scan.map(|scan| scan.finish(&mut |_| {})).filter(|facts| !facts.is_handmade());
    match facts.and_then(|facts| facts.fault(&dump.name)) {
        Some(fault) => Err(Error::no(fault).hint("What was written is what there is of it.")),
        None => Ok(Code::Done),
    }
}

/// How closely a verb looks at rows.
pub(crate) fn depth(args: &Args) -> Depth {
    match args.verb {
        Verb::Tables if !args.no_hash => Depth::Hash,
        Verb::Tables | Verb::Summary | Verb::Databases => Depth::Count,
        _ => Depth::Skip,
    }
}

/// The contents as the verb needs them.
pub(crate) fn contents(dump: &Dump, args: &Args) -> Result<Contents> {
    Contents::of(dump, depth(args), args.quiet)
}
