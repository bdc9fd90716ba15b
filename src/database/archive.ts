/**
 * The log that is kept beside the data, so that a checkpoint can be brought forward along it: `log/` next to `pgdata`, filled by
 * the server's archiver. It is part of the data, so it is in every checkpoint, and goes where the data goes: after a return the
 * log of the abandoned future is in the branch, and nowhere else.
 *
 * Invariants: what is in `log/` has no gap, and its files never change; what cannot be kept shortens it from its older end, and
 * that is noted. Keeping it never fills the disk: before that it gives way.
 */
import { SteadError } from '../base/index.ts'
import type { LogStanding } from '../provider/index.ts'
import type { Session } from './drivers/connection.ts'

/** How much of the log is kept, whichever is less. */
export interface LogLimits {
  readonly ageMsMax: number
  readonly bytesMax: number
}

/** Where the log is laid out for whoever carries it elsewhere. */
export const laidOut: string = 'log.carried'
/** Size of a file of the log, as `initdb` makes it. */
const segmentBytes = 16 * 1024 * 1024
/** Fewer files than this lead nowhere. */
const segmentsMin = 4

/**
 * What the archiver runs for each file of the log, in `pgdata`: `$1` its path, `$2` its name. Files come in the order of their
 * names, so the oldest are the first by name. Where it fails the server keeps the file and tries again; when too many wait, or
 * the disk is nearly full, the log begins anew instead, because a database that can write is worth more.
 */
export const archiveText: string = `set -u
log=../log
file=$1
name=$2
mkdir -p "$log" || exit 1
older() { ls "$log" | grep -E '^[0-9A-F]{24}'; }
# What is laid out to be carried elsewhere holds the room as well.
drop() { rm -f "$log/$1" "../${laidOut}/$1"; }
# A log with a gap leads nowhere: what is before the gap goes.
anew() {
  for one in $(older); do drop "$one"; done
  echo "$(date +%s) $1" >"$log/cut.new" && mv "$log/cut.new" "$log/cut"
}
put() {
  cp "$file" "$log/.new" && sync "$log/.new" && mv "$log/.new" "$log/$name" && sync "$log"
}
short() {
  set -- $(df -Pk "$log" | tail -n 1)
  reserve=$(($2 / 20))
  [ "$reserve" -lt 2000000 ] || reserve=2000000
  [ "$4" -lt "$reserve" ]
}
if [ -e "$log/$name" ]; then
  cmp -s "$file" "$log/$name" && exit 0
  anew 'a file of that name with something else was there'
fi
case $name in *.history)
  put
  exit
esac
set -- $(df -Pk "$log" | tail -n 1)
most=$(($2 / 65536))
[ "$most" -lt "$STEAD_LOG_FILES" ] || most=$STEAD_LOG_FILES
[ "$most" -ge ${segmentsMin} ] || most=${segmentsMin}
find "$log" -maxdepth 1 -type f -name '0*' ! -name '*.history' -mmin +"$STEAD_LOG_MINUTES" -delete
[ ! -e "$log/cut" ] || find "$log/cut" -mmin +"$STEAD_LOG_MINUTES" -delete
count=$(older | grep -c .)
for one in $(older); do
  if [ "$count" -ge "$most" ]; then drop "$one"
  elif short; then
    drop "$one"
    echo "$(date +%s) the disk is nearly full" >"$log/cut.new" && mv "$log/cut.new" "$log/cut"
  else break; fi
  count=$((count - 1))
done
if short; then
  anew 'the disk is nearly full'
  exit 0
fi
put && exit 0
rm -f "$log/.new"
waiting=$(ls pg_wal/archive_status | grep -c 'ready$')
[ "$waiting" -gt 32 ] || exit 1
anew 'a file could not be written, and too many waited'
exit 0
`

/**
 * What brings a file of the log to a server that goes along it: from the kept log of the later state, or from what its server had
 * not kept yet. What was kept there is kept here too, so that the log of the copy has no gap either.
 */
const fetchText = `name=$1
to=$2
later=$3
if [ -e "$later/log/$name" ]; then
  cp "$later/log/$name" "$to" || exit 1
  case $name in *.history) exit 0 ;; esac
  [ ! -e "../log/$name" ] || exit 0
  mkdir -p ../log && cp "$to" ../log/.new && sync ../log/.new && mv ../log/.new "../log/$name"
  exit 0
fi
for dir in pgdata/pg_wal log/open; do
  [ ! -e "$later/$dir/$name" ] || exec cp "$later/$dir/$name" "$to"
done
exit 1
`

/** Lays out the log: what is kept as links, and copies of the files that are still written to, whose names are the arguments. */
export const layOutText: string = `set -eu
cd "$STEAD_DATA"
mkdir -p ${laidOut}/open
for one in ${laidOut}/0*; do
  [ -e "log/\${one#${laidOut}/}" ] || rm -f "$one"
done
for one in log/0*; do
  name=\${one#log/}
  [ -e "${laidOut}/$name" ] || ln "$one" "${laidOut}/$name" || [ ! -e "$one" ]
done
rm -f ${laidOut}/open/0*
for name in "$@"; do
  if [ -e "log/$name" ]; then ln -f "log/$name" "${laidOut}/$name"
  else cp "pgdata/pg_wal/$name" "${laidOut}/open/$name"; fi
done
`

/** Which files of the log are not kept yet, and up to where it was written. */
export async function readOpen(
  session: Session,
): Promise<{ readonly open: readonly string[]; readonly position: string }> {
  const [row] = await session.query<{ open: readonly string[]; position: string }>(`
    select pg_current_wal_flush_lsn()::text as position,
      (select coalesce(array_agg(name order by name), '{}') from pg_ls_waldir()
        where name ~ '^[0-9A-F]{24}$' and name <= pg_walfile_name(pg_current_wal_insert_lsn())
          and name > coalesce((select max(kept) from pg_ls_dir('../log', true, false) kept where kept ~ '^[0-9A-F]{24}$'), '')
      ) as open`)
  if (row === undefined) throw new SteadError({ code: 'database.refused', message: 'the log says nothing of itself' })
  return row
}

/** The settings of a server that keeps its log. The text comes by its environment, so that it moves with the data. */
export const archiveSettings: Readonly<Record<string, string>> = {
  archive_mode: 'on',
  archive_command: 'exec /bin/sh -c "$STEAD_ARCHIVE" archive "%p" "%f"',
}

/** What the archiver needs in its environment. */
export function archiveEnv({ ageMsMax, bytesMax }: LogLimits): Readonly<Record<string, string>> {
  return {
    STEAD_ARCHIVE: archiveText,
    STEAD_LOG_FILES: `${Math.max(segmentsMin, Math.floor(bytesMax / segmentBytes))}`,
    STEAD_LOG_MINUTES: `${Math.max(1, Math.ceil(ageMsMax / 60_000))}`,
  }
}

/** The setting of a server that goes along the log of the later state in `from`. */
export function fetchSetting(from: string): string {
  return `exec /bin/sh -c ${quoteShell(fetchText)} fetch "%f" "%p" ${quoteShell(from.replaceAll('%', '%%'))}`
}

/** How the log of a running server stands. */
export async function readLog(session: Session): Promise<LogStanding> {
  const [row] = await session.query<Found>(`
    with kept as (
      select name, (pg_stat_file('../log/' || name, true)).* from pg_ls_dir('../log', true, false) name where name ~ '^[0-9A-F]{24}')
    select (select coalesce(sum(size), 0) from kept)::text as bytes,
      (select extract(epoch from min(modification)) * 1000 from kept)::bigint::text as since,
      (select count(*) from pg_ls_archive_statusdir() where name like '%.ready')::text as waiting,
      coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) as failing,
      (extract(epoch from last_failed_time) * 1000)::bigint::text as failed,
      coalesce(pg_read_file('../log/cut', 0, 300, true), '') as cut
    from pg_stat_archiver`)
  if (row === undefined) throw new SteadError({ code: 'database.refused', message: 'the archiver says nothing' })
  return standingOf(row)
}

type Found = {
  readonly bytes: string
  readonly since: string | null
  readonly waiting: string
  readonly failing: boolean
  readonly failed: string | null
  readonly cut: string
}

/** What was found, in words. */
function standingOf(found: Found): LogStanding {
  const [, cutS, why] = /^(\d+) (.*)$/m.exec(found.cut) ?? []
  const sinceMs = found.since === null ? null : Number(found.since)
  const at = (ms: number): string => new Date(ms).toISOString()
  const trouble = found.failing
    ? `since ${at(Number(found.failed))} the log cannot be kept, and ${found.waiting} files of it wait: see the output of the server`
    : cutS === undefined
      ? null
      : `the log before ${at(Number(cutS) * 1000)} was given up: ${why ?? ''}`
  return { sinceMs, bytes: Number(found.bytes), waiting: Number(found.waiting), trouble }
}

function quoteShell(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
