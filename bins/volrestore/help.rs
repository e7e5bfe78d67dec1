//! What `volrestore --help` prints.

/// The text, which a golden file keeps.
pub(crate) const HELP: &str = "\
usage: volrestore [OPTION]... STAMP|RECORD [LABEL=VOLUME]...
       volrestore [OPTION]... --latest|--pick [LABEL=VOLUME]...
       volrestore --into DIR STAMP|RECORD|--latest|--pick
       volrestore --until MOMENT --wal DIR [--into DIR] [STAMP|RECORD]
       volrestore --undo
       volrestore --list

Put a snapshot of volumes back: prove every archive, fill in beside what is there,
stop, change names, start. What was there stays beside. Prints the labels of the
volumes restored.

STAMP is the time in the names of a snapshot, such as 20261127_143022. LABEL=VOLUME
restores the volume of that label elsewhere than where it was taken from.

Which snapshot:
      --latest              the newest that is proven
      --pick                ask, showing the last ten
  -o, --dir DIR             snapshots are in DIR/snapshots; default backups
                            [BACKUP_DIR]

Up to which moment (the log behind the snapshot is replayed; without a snapshot
named, of the newest from before that moment):
      --until MOMENT        all that was committed until then: '2025-11-27 14:30:00' is
                            UTC, '2025-11-27 15:30:00+01' the same
      --until-lsn LSN       the record at this place in the log
      --until-xid XID       this transaction, itself included
      --until-name NAME     a restore point of pg_create_restore_point
      --until-immediate     no further than the snapshot needs
      --until-latest        the end of the log
      --wal DIR             the archive of the log, as wal-archive keeps it: DIR, a
                            volume, docker:NAME or podman:NAME, or s3://BUCKET/KEY
      --timeline N          along this timeline, where several lead there
      --then WHAT           promote (default): open it; with --into also pause: stay
                            there, to be read; shutdown: end there
      --within SPAN         how long the replay may take, default 6h

What is done:
      --helper IMAGE        what reaches volumes in a container where only root may
                            enter them, default debian:bookworm-slim
                            [BACKUP_HELPER_IMAGE]
      --into DIR            restore to DIR/LABEL, which must be new; touch nothing else
      --keep-before N       how many earlier states stay beside, default 1; 0: none, and
                            without room beside, what is there is removed first
      --forget VOLUME       empty this volume, too: what a cluster's manager knows, such
                            as etcd's; repeatable
      --undo                go back to what was before the latest restore
      --allow-links         also when links lead out of a volume that are no
                            tablespaces of PostgreSQL
      --dry-run             prove everything, say what would be done, and do nothing
  -y, --yes                 do not ask for DESTROY

Services (stopped when all is filled in, started again whatever happens):
      --services LIST       services of Docker Compose, parted by blanks, to stop if
                            they run, and to start again at the end
      --compose FILE        the compose file, default that of this directory
      --up                  make and start all of LIST, also those that did not run
      --patroni URLS        start the service that led first, and those on the data of
                            others when it leads [PATRONI_URLS]
      --stop CMD            run CMD before names change
      --start CMD           run CMD at the end, also after failure and signals

      --notify URL          POST how it went as JSON; slack:URL and healthchecks:URL in
                            the words of these; none: nobody; repeatable [NOTIFY_URL]
      --metrics FILE        write numbers for Prometheus to FILE
      --list                list the snapshots, newest first
      --json                one JSON object a line for --list
      --lock-timeout SECS   wait for another run to end, default 0
  -q, --quiet               say only what went wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0  done
  1  failed for good: an archive is damaged or missing, nothing is there to undo
  2  the command line is wrong
  4  refused: a guardrail holds; the hint says what would lift it; nothing was changed
  5  temporary: lock held, disk full, interrupted
";
