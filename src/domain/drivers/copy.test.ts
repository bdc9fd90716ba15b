/** The copy driver: the conformance suite with both ways to copy, and what only it has to look after. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chownSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { isSteadError, systemClock } from '../../base/index.ts'
import { needsAll, needsFile, needsRoot } from '../../../test/needs.ts'
import { domainConformance } from '../conformance.ts'
import { type DomainConformance, code, names, withPlace } from '../place.conformance.ts'
import type { Domain } from '../driver.ts'
import { copyDriver } from './copy.ts'

const module = new URL('copy.ts', import.meta.url).href
const given = (copyWith: 'cp' | 'node'): DomainConformance => ({
  driver: copyDriver({ clock: systemClock, copyWith }),
  load: { module, name: 'copyDriver', options: { copyWith } },
  sizeBytes: 1,
  skip: copyWith === 'cp' && process.platform !== 'linux' && `needs GNU cp, this is ${process.platform}`,
})

domainConformance(given('cp'))
domainConformance(given('node'))

suite('plain copies', () => {
  test('owners, hard links and holes are kept by cp', { skip: needsRoot() }, () =>
    withPlace(given('cp'), async ({ open }) => {
      const domain = await open()
      const file = join(domain.path, 'file')
      writeFileSync(file, 'data')
      chownSync(file, 12_345, 54_321)
      linkSync(file, join(domain.path, 'other'))
      execFileSync('truncate', ['-s', '100M', join(domain.path, 'hole')])
      const { path } = await domain.checkpoint('first')
      const kept = statSync(join(path, 'file'))
      assert.deepEqual([kept.uid, kept.gid, kept.nlink], [12_345, 54_321, 2])
      assert.equal(statSync(join(path, 'hole')).blocks, 0)
    }),
  )

  test('what is no data is left out by node', { skip: process.platform === 'win32' && 'needs mkfifo' }, () =>
    withPlace(given('node'), async ({ open }) => {
      const domain = await open()
      writeFileSync(join(domain.path, 'file'), 'data')
      execFileSync('mkfifo', [join(domain.path, 'fifo')])
      const { path } = await domain.checkpoint('first')
      assert.equal(readFileSync(join(path, 'file'), 'utf8'), 'data')
    }),
  )

  test(
    'all works without being root',
    { skip: needsAll(needsRoot(), needsFile('/usr/bin/setpriv', 'util-linux')) },
    () => {
      const work = mkdtempSync(join(tmpdir(), 'domain-user-'))
      try {
        chownSync(work, 65_534, 65_534)
        const base = new URL('../../base/index.ts', import.meta.url).href
        const script = `
        import { copyDriver } from ${JSON.stringify(module)}
        import { systemClock } from ${JSON.stringify(base)}
        const driver = copyDriver({ clock: systemClock })
        const domain = await driver.open({ id: 'a', root: ${JSON.stringify(join(work, 'd'))}, home: 'here', sizeBytes: 1 })
        await domain.checkpoint('first')
        await domain.clone('clone', 'first')
        await domain.swap('clone', 'old', 1)
        await domain.delete('first')
        console.log(process.getuid(), (await domain.list()).map((copy) => copy.name).join())
        await domain.close()`
        const user = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath]
        const args = [...user, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script]
        assert.equal(execFileSync('setpriv', args, { encoding: 'utf8', cwd: '/' }), '65534 old\n')
      } finally {
        rmSync(work, { recursive: true, force: true })
      }
    },
  )
})

suite('a small disk', { skip: needsAll(needsRoot(), needsFile('/dev/loop-control', 'loop devices')) }, () => {
  test('a copy that has no room is refused with figures, and copies can be deleted on a disk that is full', async () => {
    const work = mkdtempSync(join(tmpdir(), 'domain-small-'))
    const disk = join(work, 'disk')
    mkdirSync(disk)
    execFileSync('truncate', ['-s', '64M', `${disk}.img`])
    execFileSync('mkfs.ext4', ['-q', '-m', '0', `${disk}.img`])
    execFileSync('mount', ['-o', 'loop', `${disk}.img`, disk])
    const opened: Domain[] = []
    try {
      const options = { id: 'small', root: join(disk, 'd'), home: 'here', sizeBytes: 1 }
      await assert.rejects(copyDriver({ clock: systemClock }).open(options), code('domain.disk-full'))
      const driver = copyDriver({ clock: systemClock, reserveBytes: () => 5e6 })
      const domain = await driver.open(options)
      opened.push(domain)
      writeFileSync(join(domain.path, 'data'), Buffer.alloc(15_000_000, 1))
      await domain.checkpoint('first')
      await domain.checkpoint('second')
      await assert.rejects(domain.checkpoint('third'), (error) => {
        assert.ok(isSteadError(error))
        assert.equal(error.code, 'domain.disk-full')
        assert.match(
          error.message,
          /has 0\.01 GB of 0\.06 GB free, 0\.0[12] GB are needed, and 0\.0[01] GB must stay free/,
        )
        return true
      })
      // To the last block, also what a plain file system keeps for its own small files.
      for (const size of ['1M', '4k', '1k']) {
        execFileSync('sh', ['-c', `dd if=/dev/zero of=${disk}/fill-${size} bs=${size} 2>/dev/null || true`])
      }
      assert.throws(() => writeFileSync(join(disk, 'more'), Buffer.alloc(4096)), /ENOSPC/)
      await domain.delete('first')
      assert.deepEqual(names(await domain.list()), ['checkpoint second'])
      await domain.close()
      const again = await driver.open(options)
      opened.push(again)
      assert.deepEqual(names(await again.list()), ['checkpoint second'])
    } finally {
      for (const domain of opened) await domain.close()
      execFileSync('umount', [disk])
      rmSync(work, { recursive: true, force: true })
    }
  })
})
