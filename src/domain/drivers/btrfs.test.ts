/** The btrfs driver: the conformance suite in a disk image, and what only it has: the image, its mount, nested subvolumes. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { isSteadError, systemClock } from '../../base/index.ts'
import { needsAll, needsFile, needsFileSystem, needsRoot } from '../../../test/needs.ts'
import { domainConformance } from '../conformance.ts'
import { type DomainConformance, code, withPlace } from '../place.conformance.ts'
import { btrfsDriver } from './btrfs.ts'

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/sbin/mkfs.btrfs', 'apt-get install btrfs-progs'),
  needsFile('/dev/loop-control', 'loop devices in the kernel'),
  needsFileSystem('btrfs'),
)

const sizeBytes = 300_000_000
const driver = btrfsDriver({ clock: systemClock })
const given: DomainConformance = {
  driver,
  load: { module: new URL('btrfs.ts', import.meta.url).href, name: 'btrfsDriver', options: {} },
  sizeBytes,
  skip,
}

const sh = (command: string, ...args: readonly string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

domainConformance(given)

suite('btrfs image', { skip }, () => {
  test('all its blocks are reserved, and stay so when files are deleted', () =>
    withPlace(given, async ({ options, open }) => {
      const domain = await open()
      const held = (): number => statSync(join(options.root, 'image')).blocks * 512
      assert.ok(held() >= sizeBytes - 4096)
      assert.equal(statSync(join(options.root, 'image')).mode & 0o777, 0o600)
      writeFileSync(join(domain.path, 'data'), Buffer.alloc(50_000_000, 1))
      sh('sync', '-f', domain.path)
      await domain.checkpoint('first')
      rmSync(join(domain.path, 'data'))
      await domain.delete('first')
      await domain.close()
      assert.ok(held() >= sizeBytes - 4096)
    }))

  test('what a copy alone holds is what the others have let go of', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      const data = join(domain.path, 'data')
      writeFileSync(data, Buffer.alloc(20_000_000, 1))
      sh('sync', '-f', domain.path)
      await domain.checkpoint('first')
      assert.equal(await domain.ownBytes('first'), 0)
      rmSync(data)
      sh('sync', '-f', domain.path)
      const own = (await domain.ownBytes('first')) ?? 0
      assert.ok(own >= 20_000_000 && own < 21_000_000, `${own} bytes`)
      await assert.rejects(domain.ownBytes('never'), code('domain.unknown-copy'))
    }))

  test('it is mounted for data alone, with direct I/O', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      const [source = '', options = ''] = sh('findmnt', '-rno', 'SOURCE,OPTIONS', '--target', domain.path)
        .trim()
        .split(' ')
      for (const option of ['noatime', 'nodev', 'nosuid']) assert.ok(options.split(',').includes(option), option)
      assert.ok(!options.includes('discard'))
      const direct = readFileSync(`/sys/block/${source.replace('/dev/', '')}/loop/dio`, 'utf8').trim()
      assert.equal(direct === '1', domain.capabilities.weaker.length === 0)
      await domain.close()
      const left = readdirSync('/sys/block').filter((name) => name === source.replace('/dev/', ''))
      for (const name of left)
        assert.ok(!readdirSync(`/sys/block/${name}`).includes('loop'), 'the device is still attached')
    }))

  test('the mount outlives a killed process, and the next open finds it with whoever works there', () =>
    withPlace(given, async ({ options, open }) => {
      const script = `
        const { btrfsDriver } = await import(${JSON.stringify(given.load.module)})
        const { systemClock } = await import(${JSON.stringify(new URL('../../base/index.ts', import.meta.url).href)})
        const domain = await btrfsDriver({ clock: systemClock }).open(${JSON.stringify(options)})
        console.log(domain.path)
        setInterval(() => {}, 1000)`
      const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      const [path] = (await once(child.stdout, 'data', { signal: AbortSignal.timeout(60_000) })) as [Buffer]
      await assert.rejects(open(), code('domain.in-use'))
      const file = join(String(path).trim(), 'held')
      const worker = spawn('sh', ['-c', `exec 3>${JSON.stringify(file)}; echo ready; exec sleep 600`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      try {
        await once(worker.stdout, 'data', { signal: AbortSignal.timeout(60_000) })
        child.kill('SIGKILL')
        await once(child, 'exit')
        const domain = await open()
        assert.deepEqual(readdirSync(domain.path), ['held'])
        await assert.rejects(domain.close(), code('domain.busy'))
        assert.deepEqual(await domain.list(), [])
        worker.kill('SIGKILL')
        await once(worker, 'exit')
        await domain.close()
      } finally {
        worker.kill('SIGKILL')
        child.kill('SIGKILL')
      }
    }))

  test('a device left attached by a crash is found, not attached twice', () =>
    withPlace(given, async ({ options, open }) => {
      await (await open()).close()
      const device = sh('losetup', '--find', '--show', join(options.root, 'image')).trim()
      const domain = await open()
      assert.equal(sh('findmnt', '-rno', 'SOURCE', '--target', domain.path).trim(), device)
    }))

  test('it grows when it is opened with a larger size', () =>
    withPlace(given, async ({ options, open }) => {
      const domain = await open()
      writeFileSync(join(domain.path, 'data'), 'kept')
      const before = await domain.usage()
      await domain.close()
      const grown = await driver.open({ ...options, sizeBytes: 2 * sizeBytes })
      try {
        assert.ok((await grown.usage()).totalBytes >= before.totalBytes + sizeBytes - 4096)
        assert.equal(readFileSync(join(grown.path, 'data'), 'utf8'), 'kept')
      } finally {
        await grown.close()
      }
    }))

  test('a size that would fill the host disk, or is too small, is refused and leaves nothing', () =>
    withPlace(given, async ({ options }) => {
      await assert.rejects(driver.open({ ...options, sizeBytes: 1e15 }), (error) => {
        assert.ok(isSteadError(error))
        assert.equal(error.code, 'domain.disk-full')
        assert.match(error.message, /\d GB of \d+\.\d\d GB free, 1000000\.00 GB are needed/)
        return true
      })
      await assert.rejects(driver.open({ ...options, sizeBytes: 1e6 }), code('domain.too-small'))
      assert.deepEqual(readdirSync(options.root), ['lock'])
    }))

  test('an image that was not finished is made anew; one that is missing is not', () =>
    withPlace(given, async ({ options, open }) => {
      mkdirSync(options.root, { recursive: true })
      writeFileSync(join(options.root, 'image.new'), 'half')
      const domain = await open()
      await domain.close()
      assert.ok(!readdirSync(options.root).includes('image.new'))
      rmSync(join(options.root, 'image'))
      await assert.rejects(driver.open(options), code('domain.corrupt'))
    }))

  test('something else mounted in its place is not taken for it', () =>
    withPlace(given, async ({ options, open }) => {
      await (await open()).close()
      sh('mount', '-t', 'tmpfs', 'none', join(options.root, 'trees'))
      try {
        await assert.rejects(driver.open(options), code('domain.other-mount'))
      } finally {
        sh('umount', join(options.root, 'trees'))
      }
    }))
})

suite('btrfs subvolumes', { skip }, () => {
  test('a subvolume inside the live data is refused at a checkpoint, and deleted with its tree', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      mkdirSync(join(domain.path, 'a dir'))
      const nested = join(domain.path, 'a dir/nested sub')
      sh('btrfs', 'subvolume', 'create', nested)
      sh('btrfs', 'subvolume', 'create', join(nested, 'inner'))
      await assert.rejects(domain.checkpoint('holed'), (error) => {
        assert.ok(isSteadError(error))
        assert.equal(error.code, 'domain.nested-subvolume')
        assert.ok(error.message.includes(nested), error.message)
        return true
      })
      await assert.rejects(domain.clone('holed', null), code('domain.nested-subvolume'))
      assert.deepEqual(await domain.list(), [])
      sh('btrfs', 'subvolume', 'delete', join(nested, 'inner'))
      sh('btrfs', 'subvolume', 'delete', nested)
      await domain.checkpoint('whole')
      const clone = await domain.clone('clone', 'whole')
      sh('btrfs', 'subvolume', 'create', join(clone.path, 'late'))
      sh('btrfs', 'subvolume', 'create', join(clone.path, 'late/inner'))
      await domain.delete('clone')
      assert.equal(sh('btrfs', 'subvolume', 'list', domain.path).trim().split('\n').length, 2)
    }))

  test('a checkpoint cannot be written, by root either', () =>
    withPlace(given, async ({ open }) => {
      const { path } = await (await open()).checkpoint('first')
      assert.throws(() => writeFileSync(join(path, 'x'), 'x'), /EROFS/)
    }))

  test('on a btrfs disk they lie on it directly', async () => {
    const work = mkdtempSync(join(tmpdir(), 'domain-host-'))
    const disk = join(work, 'disk')
    mkdirSync(disk)
    sh('truncate', '-s', '300M', `${disk}.img`)
    sh('mkfs.btrfs', '-q', `${disk}.img`)
    sh('mount', '-o', 'loop', `${disk}.img`, disk)
    try {
      const root = join(disk, 'apps/shop')
      const options = { id: 'shop', root, home: 'here', sizeBytes: 1e15 }
      const nearlyFull = driver.open(options)
      await assert.rejects(nearlyFull, code('domain.disk-full'))
      const direct = btrfsDriver({ clock: systemClock, reserveBytes: () => 0 })
      const domain = await direct.open(options)
      assert.equal(domain.capabilities.sizeLimit, false)
      writeFileSync(join(domain.path, 'data'), 'one')
      await domain.checkpoint('first')
      sh('btrfs', 'subvolume', 'create', join(domain.path, 'nested'))
      await assert.rejects(domain.checkpoint('second'), code('domain.nested-subvolume'))
      await domain.clone('back', 'first')
      await domain.swap('back', 'old', 1)
      await domain.close()
      const again = await direct.open(options)
      assert.equal(readFileSync(join(again.path, 'data'), 'utf8'), 'one')
      await again.close()
      await direct.destroy(root)
      assert.equal(sh('btrfs', 'subvolume', 'list', disk).trim(), '')
    } finally {
      sh('umount', disk)
      rmSync(work, { recursive: true, force: true })
    }
  })
})
