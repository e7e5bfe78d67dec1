//! What `volsnap --help` prints.

/// The text, which a golden file keeps.
pub(crate) const HELP: &str = "\
usage: volsnap [OPTION]... [LABEL=]VOLUME...
       volsnap [OPTION]... --service NAME...
       volsnap --list

Take a snapshot of volumes that belong together: stop what is named, archive all
of them, start again, prove. Prints the path of the set's record.

A VOLUME is a directory, dir:PATH, or a named volume, docker:NAME or podman:NAME.
LABEL is the name that its archive bears, by default the last part of the path or
the volume's name.

      --service NAME        all named volumes of this service of Docker Compose, which is
                            stopped meanwhile; repeatable

Services (stopped together, started again whatever happens, also after a kill):
      --services LIST       services of Docker Compose, parted by blanks, to stop if
                            they run, and to start again at the end
      --compose FILE        the compose file, default that of this directory
      --patroni URLS        start the service that led first, and those on the data of
                            others when one leads [PATRONI_URLS]
      --stop CMD            run CMD before the volumes are read
      --start CMD           run CMD when they are read, also after failure and signals
      --copy-first WHEN     copy the volumes and start again before they are compressed:
                            auto (where something is to start and there is room, the
                            default), always, never

Without stopping (by psql's own settings, PGHOST and so on):
      --hot                 read the data directory while its server runs, as a base
                            backup, which a recovery needs the log for
      --with-wal            include that log, so that it starts by itself
      --from-basebackup     read pg_basebackup's stream instead, of a server anywhere;
                            VOLUME is where it belongs
      --within SPAN         how long that log may take into the archive, default 1h
      --limit SIZE          read no more than SIZE bytes a second, such as 50M

What is made:
  -o, --dir DIR             backups go to DIR, snapshots to DIR/snapshots; default
                            backups [BACKUP_DIR]
      --compress CODEC      none, gzip[:1-9] or zstd[:1-19], default gzip
                            [BACKUP_COMPRESS]
      --tag TAG             why this snapshot is made, such as pre-upgrade
      --leader LABEL        the volume whose server leads; default: found in the data
      --helper IMAGE        what reads named volumes in a container where only root may
                            enter them, default debian:bookworm-slim
                            [BACKUP_HELPER_IMAGE]
      --allow-outside       also when a tablespace or the WAL is in none of the volumes
      --allow-shrink        it may be much smaller than those before: removes older ones
                            all the same, and is no alarm
      --lock-timeout SECS   wait for another run to end, default 0

What to keep (rules add up; default: --keep-last 10; sets stay whole):
      --keep-last N         the newest N
      --keep-within SPAN    all within SPAN of the newest: 36h, 7d, 4w
      --keep-hourly N, --keep-daily N, --keep-weekly N, --keep-monthly N,
      --keep-yearly N       the newest of each of the last N that have one
      --keep-tag TAG        all with this tag; repeatable
      --no-rotate           remove nothing
      --dry-run             do nothing; say what would be made, kept, removed and why

      --notify URL          POST how it went as JSON; slack:URL and healthchecks:URL in
                            the words of these; none: nobody; repeatable [NOTIFY_URL]
      --metrics FILE        write numbers for Prometheus to FILE
      --list                list the snapshots, newest first
      --json                one JSON object a line, for snapshots made and --list
  -q, --quiet               say only what went wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0  done
  1  failed for good: a volume is not there, a file is unusable, a service does not
     start
  2  the command line is wrong
  3  done in part: the snapshot is made, and removing older ones is held back, because
     it is much smaller than they are
  4  refused: somebody runs on the data, the image of --helper is not there; the hint
     says what would lift it
  5  temporary: lock held, disk full, interrupted, something wrote meanwhile, the log
     is not archived
";
