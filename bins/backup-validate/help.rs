//! What `--help` prints.

pub(crate) const HELP: &str = "\
Prove that backups are what they should be; drill a restore of them.

Usage: backup-validate [OPTIONS] FILE|TIME...
       backup-validate [OPTIONS]                  (paths on standard input, one a line)
       backup-validate [OPTIONS] --latest | --all
       backup-validate [OPTIONS] --watch | --report FORMAT FILE

Paths of backups that pass go to standard output, and a line that begins with ok, warn,
bad or unproven for each to standard error. Dumps, archives of pg_dump and Redis's RDB
files are read to the last byte and held against their manifests.

Which backups:
  FILE                      a path; a bare name is looked for in DIR too; or a place in
                            an object store, s3://BUCKET/KEY
  TIME                      all in DIR of this time, as in 20261121_064645
      --latest              the newest of each series and server in DIR
      --all                 all in DIR
  -o, --dir DIR             where backups are, default 'backups'; also s3://BUCKET/KEY
                            [BACKUP_DIR]
      --name PREFIX         with --latest and --all: only those whose names begin so

How closely:
      --quick               read no data: names, sizes, first bytes and manifests
      --against             besides, ask a live server whether it could be restored
                            there, by the guardrails of pgdump-restore
      --drill               besides, restore it into a throwaway server and prove it
      --drill-in PLACE      the same in a container without network: docker:IMAGE

Drills:
      --force GUARDRAIL     guard: restore dumps that reach beyond their database, too;
                            they may run programs here
      --until MOMENT        recover a snapshot from the archive of --wal up to then, or
                            to the end of it: latest; the same as with volrestore
      --query SQL           ask this of what was restored; repeatable
      --expect ANSWER       what the query before it must answer: fields parted by |,
                            rows by newlines
      --queries FILE        a query a line, each with '-- expect ANSWER' behind it
  -d, --database DB         where queries are asked, and where to --against looks
  -j, --jobs N              sessions that load, default one for each core

The folder as a whole (exit 1, and a line for each finding):
      --watch               the usual: --max-age 26h --shrink 30% --tables-lost
      --max-age SPAN        the newest proven backup of a series is older
      --min-size SIZE       it is smaller: 64K, 1.5M, 50G
      --shrink PERCENT      its rows or bytes, or the rows of a table, are fewer than
                            before by more than that
      --tables-lost         tables of one before it are gone
      --quota SIZE          all files in DIR take more
      --wal DIR             the archive of wal-archive in DIR lacks segments, or those
                            that a hot snapshot needs; with --report, its coverage is
                            shown; with FILE or --drill, a hot snapshot is held against
                            it or recovered from it
      --accept-gap SEGMENT  the gap that begins with this segment is known; repeatable

Whom to tell:
      --report FORMAT FILE  write a report: html (one page), junit (for CI) or json,
                            to FILE or, as '-', to standard output; repeatable
      --notify URL          POST how it went as JSON; slack:URL and healthchecks:URL in
                            the words of these; none: nobody; repeatable [NOTIFY_URL]
      --metrics FILE        write numbers for Prometheus to FILE

      --via CMD             with --against: run client programs behind CMD [PG_VIA]
      --json                one JSON object a line instead of paths
  -q, --quiet               say only what is wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0  all passed; warnings pass
  1  none passed, there was nothing to look at, or --watch and its like found something
  2  the command line is wrong
  3  some passed, some did not
  4  refused: a guardrail holds, or a program is missing; the hint says what would help
  5  temporary: server unreachable, disk full, interrupted
";
