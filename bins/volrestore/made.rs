//! A snapshot restored into volumes that are not there yet, where only root may enter those of the engine: each
//! is made, filled through a container, and read again through one.

use kit::child::clean_up;
use kit::exit::Result;
use kit::out::Speech;
use kit::stamp::Stamp;
use kit::volume::helper::Helper;
use kit::volume::verify::Proven;

use crate::choose::Chosen;
use crate::journal::Journal;
use crate::plan::Target;
use crate::site::Sites;
use crate::through;

/// How each of the volumes is reached; none where root does that, or where one of them is there.
///
/// # Errors
/// Refused where the image is not there.
pub(crate) fn helpers(targets: &[Target], sites: Sites<'_>) -> Result<Vec<Helper>> {
    for target in targets {
        if target.live.is_some() || target.is_here()? {
            return Ok(Vec::new());
        }
    }
    targets.iter().map(|target| Helper::new(&target.place, sites.image, sites.dir)).collect()
}

/// Makes and fills all of them, or none.
pub(crate) fn make(
    chosen: &Chosen,
    targets: &[Target],
    helpers: &[Helper],
    proven: &[Proven],
    sites: Sites<'_>,
    speech: &Speech,
) -> Result<()> {
    let made = targets.iter().map(|target| target.place.to_string()).collect();
    let journal = Journal { made, ..Journal::beside(Stamp::now(), chosen) };
    journal.begin(sites.dir)?;
    let volumes = targets.iter().zip(helpers).zip(chosen.set.volumes.iter().zip(proven));
    let filled = || -> Result<()> {
        for ((target, helper), (archive, proven)) in volumes.clone() {
            target.place.make(&journal.stamp)?;
            through::fill(helper, archive, proven, &target.place.to_string(), speech)?;
        }
        Ok(())
    };
    match filled() {
        Ok(()) => journal.end(sites.dir),
        Err(error) => {
            clean_up(|| {
                if let Err(left) = journal.abandon(sites.dir) {
                    speech.error(&left);
                }
            });
            Err(error)
        }
    }
}
