//! What `--help` prints.

pub(crate) const HELP: &str = "\
Check a PostgreSQL dump to its last byte, put it back, and count every row.

Usage: pgdump-restore [OPTIONS] FILE
       pgdump-restore [OPTIONS] -         (from standard input; needs --yes)
       pgdump-restore [OPTIONS] --latest | --pick | --list
       pgdump-restore [OPTIONS] --undo [TIME] | --drop-before [TIME] | --keep-before N

Each database of the dump is restored beside the live one and proven; then the two
change names in one step, and --undo changes them back. Databases that are not in the
dump are left alone. The connection string of each goes to standard output.

What to restore:
  FILE                      a dump: plain, gzip, zstd, or an archive (custom, tar,
                            directory); a bare name is looked for in DIR too;
                            s3://BUCKET/KEY is one in an object store
      --latest              the newest proven backup in DIR
      --pick                choose from the last 10, newest first
      --list                list the backups, newest first, and end
  -o, --dir DIR             where backups are, default 'backups' [BACKUP_DIR]
      --name PREFIX         only backups whose names begin so
      --only DB             of a dump of a whole server, this database alone
      --globals-only        of it, the roles and tablespaces alone
      --schema-only         no rows
      --data-only           rows alone, added to those of tables that are there

Where to:
  -d, --database NAME       a database of this name; it must not be there, unless -D
      --into NAME           the same
  -D, --drop                drop what was there, once its replacement is proven
      --swap                beside the live one, then change names (the default)
      --in-place            drop the live one first, where the disk holds no two
  -1, --single-transaction  into the live one, which is emptied, in one transaction

One table, into the live database:
  -t, --table PATTERN       this table with its indexes and rows; it must not be there;
                            repeatable
      --as NEW              under another name
      --replace             the rows of the dump in place of those that are there
      --upsert              rows with the same key are replaced, others are added

Going back:
      --undo [TIME]         what was before the latest restore, or that of TIME
      --drop-before [TIME]  drop what --undo would go back to
      --keep-before N       keep only the newest N of each database, also with a restore
      --no-safety           no backup of what is replaced in DIR/safety before
      --safety-keep N       how many of those backups stay, default 5

How:
  -j, --jobs N              load rows and build indexes in N sessions, default 1
      --prove HOW           rows: count them (the default); hash: dump what was
                            restored and compare every row and the schema, too
      --create-roles        create missing roles, without login
      --force[=LIST]        lift guardrails, all or some: version, roles, extensions,
                            tablespaces, locale, space, sessions, guard, part
      --services LIST       services of Docker Compose, parted by blanks, to stop if
                            they run, and to start again at the end
      --stop CMD            run CMD before the live database changes
      --start CMD           run CMD at the end, also after failure and signals
      --via CMD             run client programs behind CMD, such as
                            'docker compose exec -T db' [PG_VIA]
      --patroni URLS        ask Patroni's REST API at one of URLS, parted by commas,
                            who is {leader} in CMD [PATRONI_URLS]
      --notify URL          POST how it went as JSON; slack:URL and healthchecks:URL in
                            the words of these; none: nobody; repeatable [NOTIFY_URL]
      --metrics FILE        write numbers for Prometheus to FILE
  -y, -f, --yes             do not ask
      --dry-run             check everything, print the plan, change nothing
      --json                one JSON object a line, for what was restored and --list
  -q, --quiet               say only what went wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0  done, and every table has the rows of the dump
  1  the dump is damaged or incomplete, a statement failed, or the rows differ
  2  the command line is wrong
  4  refused: not confirmed, a guardrail holds, or a store does not let us; the hint
     says what would lift it
  5  temporary: server or store unreachable, disk full, interrupted
";
