/** The log beside the data: what the archiver does with each of its files. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { archiveText } from './archive.ts'

suite('each file of the log', () => {
  /** A data directory, and programs that take the place of those of the machine. */
  const made = () => {
    const dir = mkdtempSync(join(tmpdir(), 'stead-log-'))
    const [pgdata, bin, log] = [join(dir, 'pgdata'), join(dir, 'bin'), join(dir, 'log')]
    mkdirSync(join(pgdata, 'pg_wal', 'archive_status'), { recursive: true })
    mkdirSync(bin)
    const program = (name: string, text: string): void => {
      writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`)
      chmodSync(join(bin, name), 0o755)
    }
    const kept = (): readonly string[] => readdirSync(log).filter((name) => /^[0-9A-F]{24}$/.test(name))
    const cut = (): string => (existsSync(join(log, 'cut')) ? readFileSync(join(log, 'cut'), 'utf8') : '')
    /** Archives a file with that text; answers the exit code. */
    const archive = (name: string, text = name): number | null => {
      writeFileSync(join(pgdata, 'pg_wal', name), text)
      const env = { PATH: `${bin}:/usr/bin:/bin`, STEAD_LOG_FILES: '5', STEAD_LOG_MINUTES: '60' }
      const argv = ['-c', archiveText, 'archive', `pg_wal/${name}`, name]
      return spawnSync('/bin/sh', argv, { cwd: pgdata, env }).status
    }
    program('df', 'echo "/dev/disk 100000000 1000 90000000 1% /"')
    return { dir, log, pgdata, program, kept, cut, archive, [Symbol.dispose]: () => rmSync(dir, { recursive: true }) }
  }
  const nameOf = (number: number): string => `00000001${number.toString(16).toUpperCase().padStart(16, '0')}`

  test('is kept once, and the oldest go when there are too many or they are too old', () => {
    using log = made()
    for (let number = 1; number <= 7; number++) assert.equal(log.archive(nameOf(number)), 0)
    assert.equal(log.archive(nameOf(7)), 0, 'a server that did not hear of it asks again')
    assert.deepEqual(log.kept(), [3, 4, 5, 6, 7].map(nameOf))
    assert.equal(log.archive('00000002.history'), 0)
    for (const number of [3, 4]) utimesSync(join(log.log, nameOf(number)), 1, 1)
    assert.equal(log.archive(nameOf(8)), 0)
    assert.deepEqual(log.kept(), [5, 6, 7, 8].map(nameOf))
    assert.ok(existsSync(join(log.log, '00000002.history')), 'which history came after which is always needed')
    assert.equal(log.cut(), '', 'nothing was lost that was promised')
  })

  test('makes room on a disk that is nearly full, and gives up the whole log before it fills it', () => {
    using log = made()
    for (let number = 1; number <= 4; number++) log.archive(nameOf(number))
    // There is room again once the two oldest are gone.
    log.program(
      'df',
      `[ -e "$2/${nameOf(2)}" ] && free=1000 || free=90000000; echo "/dev/disk 100000000 1000 $free 1% /"`,
    )
    assert.equal(log.archive(nameOf(5)), 0)
    assert.deepEqual(log.kept(), [3, 4, 5].map(nameOf))
    assert.match(log.cut(), /nearly full/)
    log.program('df', 'echo "/dev/disk 100000000 1000 1000 1% /"')
    assert.equal(log.archive(nameOf(6)), 0, 'the server goes on')
    assert.deepEqual(log.kept(), [], 'a log with a gap leads nowhere')
  })

  test('stays with the server while it cannot be written; when too many wait the log begins anew', () => {
    using log = made()
    log.archive(nameOf(1))
    log.program('cp', 'exit 1')
    assert.equal(log.archive(nameOf(2)), 1)
    assert.deepEqual(log.kept(), [nameOf(1)])
    for (let number = 0; number < 33; number++)
      writeFileSync(join(log.pgdata, 'pg_wal', 'archive_status', `${nameOf(number)}.ready`), '')
    assert.equal(log.archive(nameOf(2)), 0)
    assert.deepEqual(log.kept(), [])
    assert.match(log.cut(), /too many waited/)
  })
})
