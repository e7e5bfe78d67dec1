//! Work on all cores that comes out in the order it went in.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::exit::{Error, Result};

/// How many workers pay off and still keep the memory of all pieces in flight below 64 MiB.
pub(super) fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(6)
}

/// How many items may wait before the workers, so that `next` seldom has to: whoever writes into
/// our pipe, a server perhaps, waits with it. A piece is about 1 MiB.
const WAITING: usize = 12;

/// Steps this thread back behind those that the whole run waits for: the server that is being
/// dumped, its client, and the thread that reads from it. On Linux niceness is a thread's own.
pub(super) fn step_back() {
    // where it is not allowed, all run alike
    let _ = rustix::process::nice(5);
}

/// Takes items from `next` on this thread, works on them on `workers` threads, and hands the
/// results to `sink`, in the order of the items, on a thread of its own.
///
/// Items go round the workers in turn and results are collected in the same turn, so order needs
/// no numbers. The first failure, wherever it is, ends
/// everything.
///
/// # Errors
/// That of `sink`, else of a worker, else of `next`.
pub(super) fn ordered<I, O, W>(
    workers: usize,
    mut next: impl FnMut() -> Result<Option<I>>,
    new_worker: impl Fn() -> W,
    mut sink: impl FnMut(O) -> Result<()> + Send,
) -> Result<()>
where
    I: Send,
    O: Send,
    W: FnMut(I) -> Result<O> + Send,
{
    thread::scope(|scope| {
        let mut ways_in: Vec<SyncSender<I>> = Vec::new();
        let mut ways_out: Vec<Receiver<Result<O>>> = Vec::new();
        for _ in 0..workers.max(1) {
            let (way_in, items) = sync_channel::<I>((WAITING / workers.max(1)).max(1));
            let (results, way_out) = sync_channel::<Result<O>>(1);
            let mut work = new_worker();
            scope.spawn(move || {
                step_back();
                for item in items {
                    // the collector has left: nobody wants the rest
                    if results.send(work(item)).is_err() {
                        break;
                    }
                }
            });
            ways_in.push(way_in);
            ways_out.push(way_out);
        }
        let collector = scope.spawn(move || {
            for way_out in ways_out.iter().cycle() {
                // the worker whose turn it is has no more: neither has any other
                let Ok(result) = way_out.recv() else { break };
                sink(result?)?;
            }
            Ok(())
        });
        let mut fed = Ok(());
        for way_in in ways_in.iter().cycle() {
            match next() {
                Ok(Some(item)) => {
                    if way_in.send(item).is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    fed = Err(error);
                    break;
                }
            }
        }
        drop(ways_in);
        let collected = collector.join().unwrap_or_else(|_| Err(Error::no("a worker thread panicked")));
        collected.and(fed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(to: u32) -> impl FnMut() -> Result<Option<u32>> {
        let mut n = 0..to;
        move || Ok(n.next())
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for workers in 1..5 {
            let mut seen = Vec::new();
            let new_worker = || {
                |n: u32| {
                    thread::sleep(std::time::Duration::from_micros(u64::from(n * 7 % 13)));
                    Ok(n * 2)
                }
            };
            ordered(workers, numbers(100), new_worker, |n| {
                seen.push(n);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_failure_ends_it() {
        let fails_at = |m: u32| move |n: u32| if n == m { Err(Error::no("stop")) } else { Ok(n) };
        assert!(ordered(2, numbers(1000), || fails_at(5), |_| Ok(())).is_err());
        assert!(ordered(2, numbers(1000), || Ok, |n| fails_at(5)(n).map(drop)).is_err());
        let mut source = numbers(1000);
        assert!(
            ordered(
                2,
                move || source().and_then(|n| fails_at(5)(n.unwrap_or(0)).map(Some)),
                || Ok,
                |_| Ok(())
            )
            .is_err()
        );
    }
}
