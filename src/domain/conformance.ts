/**
 * The suite that every domain driver passes, also drivers made elsewhere: it registers node:test cases for a driver. What a
 * driver says it cannot do is checked to be refused.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { isSteadError, systemCodeOf } from '../base/index.ts'
import { crashTests } from './crash.conformance.ts'
import type { DomainCopy } from './driver.ts'
import { type DomainConformance, code, get, names, put, withPlace } from './place.conformance.ts'

const startTimeoutMs = 60_000

/** Registers the suite for one driver. */
export function domainConformance(given: DomainConformance): void {
  suite(`domain driver ${given.driver.name}`, { skip: given.skip }, () => {
    operations(given)
    opening(given)
    writers(given)
    replication(given)
    fullDomain(given)
    crashTests(given, 'swap')
  })
}

function operations(given: DomainConformance): void {
  test('a new domain is empty, of generation 1, and says what it is', () =>
    withPlace(given, async ({ options, open }) => {
      const domain = await open()
      assert.deepEqual([domain.id, domain.home, domain.generation], [options.id, options.home, 1])
      assert.deepEqual(await domain.list(), [])
      assert.ok((await stat(domain.path)).isDirectory())
      const { totalBytes, freeBytes } = await domain.usage()
      assert.ok(freeBytes > 0 && freeBytes <= totalBytes)
      if (domain.capabilities.sizeLimit) assert.ok(totalBytes <= given.sizeBytes)
      await domain.grow(given.sizeBytes / 2)
      assert.equal((await domain.usage()).totalBytes, totalBytes, 'it never shrinks')
      await put(domain.path, 'data', 'kept')
      await domain.grow(given.sizeBytes + 32 * 1024 ** 2)
      const grown = (await domain.usage()).totalBytes
      assert.equal(grown > totalBytes, domain.capabilities.sizeLimit, 'it grows while it is used')
      assert.equal(await get(domain.path, 'data'), 'kept')
    }))

  test('a checkpoint keeps files, links, modes and times as they were', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await mkdir(join(domain.path, 'deep/er'), { recursive: true })
      await put(domain.path, 'deep/er/data', 'one')
      await chmod(join(domain.path, 'deep/er/data'), 0o640)
      await symlink('er/data', join(domain.path, 'deep/link'))
      const before = await stat(join(domain.path, 'deep/er/data'))
      const copy = await domain.checkpoint('first')
      await put(domain.path, 'deep/er/data', 'two')
      assert.equal(await get(copy.path, 'deep/link'), 'one')
      const kept = await stat(join(copy.path, 'deep/er/data'))
      assert.deepEqual([kept.mode, kept.uid], [before.mode, before.uid])
      assert.ok(Math.abs(kept.mtimeMs - before.mtimeMs) < 2, 'the time of the last change')
    }))

  test('a clone is writable, and apart from what it was made from', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await put(domain.path, 'data', 'one')
      const checkpoint = await domain.checkpoint('first')
      await put(domain.path, 'data', 'two')
      const old = await domain.clone('of-checkpoint', 'first')
      const live = await domain.clone('of-live', null)
      assert.deepEqual([await get(old.path, 'data'), await get(live.path, 'data')], ['one', 'two'])
      await put(old.path, 'data', 'three')
      assert.deepEqual([await get(checkpoint.path, 'data'), await get(domain.path, 'data')], ['one', 'two'])
    }))

  test('a swap keeps what was live as a branch and moves generation and path', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await put(domain.path, 'data', 'one')
      await domain.checkpoint('first')
      await put(domain.path, 'data', 'two')
      const clone = await domain.clone('back', 'first')
      const before = domain.path
      await domain.swap('back', 'abandoned', 1)
      assert.deepEqual([domain.generation, domain.path, await get(domain.path, 'data')], [2, clone.path, 'one'])
      const [, branch] = await domain.list()
      assert.deepEqual([branch?.name, branch?.kind, branch?.generation], ['abandoned', 'branch', 1])
      assert.equal(branch?.path, before)
      assert.equal(await get(before, 'data'), 'two')
      const again = await domain.clone('forward', 'abandoned')
      assert.equal(await get(again.path, 'data'), 'two')
    }))

  test('a swap is refused for another generation, for what is no clone, and under a name that is taken', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await domain.checkpoint('first')
      await domain.clone('clone', 'first')
      await assert.rejects(domain.swap('clone', 'old', 2), code('domain.generation-changed'))
      await assert.rejects(domain.swap('first', 'old', 1), code('domain.not-a-clone'))
      await assert.rejects(domain.swap('nothing', 'old', 1), code('domain.unknown-copy'))
      await assert.rejects(domain.swap('clone', 'first', 1), code('domain.exists'))
      await assert.rejects(domain.swap('clone', '../old', 1), code('domain.bad-name'))
      assert.equal(domain.generation, 1)
      const both = await Promise.allSettled([domain.swap('clone', 'a', 1), domain.swap('clone', 'b', 1)])
      assert.deepEqual(
        both.map((result) => result.status),
        ['fulfilled', 'rejected'],
      )
    }))

  test('names are unique, well formed, and unknown ones are said to be', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await domain.checkpoint('first')
      await assert.rejects(domain.checkpoint('first'), code('domain.exists'))
      await assert.rejects(domain.clone('first', null), code('domain.exists'))
      await assert.rejects(domain.clone('clone', 'nothing'), code('domain.unknown-copy'))
      await assert.rejects(domain.delete('nothing'), code('domain.unknown-copy'))
      for (const name of ['', '.', '..', 'a/b', 'a b', '-rf', 'ü', 'x'.repeat(64)]) {
        await assert.rejects(domain.checkpoint(name), code('domain.bad-name'))
      }
      assert.deepEqual(names(await domain.list()), ['checkpoint first'])
    }))

  test('copies are listed oldest first, and are gone when deleted', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await put(domain.path, 'data', 'one')
      await domain.checkpoint('z')
      const gone = await domain.checkpoint('m')
      await domain.clone('a', 'z')
      assert.deepEqual(names(await domain.list()), ['checkpoint z', 'checkpoint m', 'clone a'])
      await domain.delete('m')
      assert.deepEqual(names(await domain.list()), ['checkpoint z', 'clone a'])
      await assert.rejects(stat(gone.path), (error) => systemCodeOf(error) === 'ENOENT')
      await domain.checkpoint('m')
      assert.deepEqual(names(await domain.list()), ['checkpoint z', 'clone a', 'checkpoint m'])
    }))
}

function opening(given: DomainConformance): void {
  test('a domain is the same when it is opened again', () =>
    withPlace(given, async ({ options, open }) => {
      const domain = await open()
      await put(domain.path, 'data', 'one')
      await domain.checkpoint('first')
      await domain.clone('clone', 'first')
      await domain.swap('clone', 'old', 1)
      const { path } = domain
      const copies = await domain.list()
      await domain.close()
      await domain.close()
      await assert.rejects(domain.checkpoint('second'), code('domain.closed'))
      const again = await open()
      assert.deepEqual([again.generation, again.path, await again.list()], [2, path, copies])
      assert.equal(await get(again.path, 'data'), 'one')
      await again.close()
      const moved = await given.driver.open({ ...options, home: 'node-2' })
      assert.equal(moved.home, 'node-2')
      await moved.close()
    }))

  test('a domain is opened once, and not as another one', () =>
    withPlace(given, async ({ options, open }) => {
      const domain = await open()
      await assert.rejects(given.driver.open(options), code('domain.in-use'))
      await assert.rejects(given.driver.destroy(options.root), code('domain.in-use'))
      await domain.close()
      await assert.rejects(given.driver.open({ ...options, id: 'other' }), code('domain.other-domain'))
      await open()
    }))

  test('a domain that is left is open to another, and whoever works on its data goes on', () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await put(domain.path, 'data', 'one')
      await domain.leave()
      await put(domain.path, 'data', 'two')
      await assert.rejects(domain.checkpoint('first'), code('domain.closed'))
      const again = await open()
      assert.deepEqual([again.path, await get(again.path, 'data')], [domain.path, 'two'])
    }))

  test('a domain that is destroyed leaves nothing, and can be made anew', () =>
    withPlace(given, async ({ options, open }) => {
      const domain = await open()
      await put(domain.path, 'data', 'one')
      await domain.checkpoint('first')
      await domain.close()
      await given.driver.destroy(options.root)
      await assert.rejects(stat(options.root), (error) => systemCodeOf(error) === 'ENOENT')
      await given.driver.destroy(options.root)
      const anew = await open()
      assert.deepEqual([anew.generation, await anew.list()], [1, []])
    }))
}

/**
 * Appends to one file and then to another, for ever, so that at any moment they are equally long or the first is one block
 * longer. `sync` makes each block durable before the next is written, as a database does.
 */
const lockstep = `
  const fs = require('node:fs')
  const [directory, sync] = process.argv.slice(1)
  const files = ['a', 'b'].map((name) => fs.openSync(directory + '/' + name, 'a'))
  for (let n = 0; ; n++) {
    for (const file of files) { fs.writeSync(file, 'x'.repeat(1000)); if (sync) fs.fsyncSync(file) }
    if (n === 20) console.log('on')
  }`

function writer(path: string, sync: 'sync' | ''): ChildProcess {
  return spawn(process.execPath, ['-e', lockstep, path, sync], { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function lengthsIn(path: string): Promise<readonly [number, number]> {
  return [(await stat(join(path, 'a'))).size, (await stat(join(path, 'b'))).size]
}

function writers(given: DomainConformance): void {
  const stop = given.driver.capabilities.quiesce === 'stop'

  test('a checkpoint under a writer is of one moment', { skip: stop && 'the driver needs writers stopped' }, () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      const child = writer(domain.path, 'sync')
      try {
        await firstOutput(child)
        for (let round = 0; round < 20; round += 1) {
          const [durable] = await lengthsIn(domain.path)
          const [a, b] = await lengthsIn((await domain.checkpoint(`round-${round}`)).path)
          assert.ok(a - b === 0 || a - b === 1000, `a is ${a} bytes long and b ${b}`)
          assert.ok(b >= durable - 1000, `${durable} bytes were written before, and ${b} are in the checkpoint`)
        }
      } finally {
        await killed(child)
      }
    }),
  )

  test(
    'a checkpoint under a paused writer has all it wrote, durable or not',
    { skip: stop && 'needs it stopped' },
    () =>
      withPlace(given, async ({ open }) => {
        const domain = await open()
        const child = writer(domain.path, '')
        try {
          await firstOutput(child)
          for (let round = 0; round < 10; round += 1) {
            child.kill('SIGSTOP')
            const before = await lengthsWhenStill(domain.path)
            assert.deepEqual(await lengthsIn((await domain.checkpoint(`round-${round}`)).path), before)
            child.kill('SIGCONT')
            await setTimeout(5)
          }
        } finally {
          await killed(child)
        }
      }),
  )

  test('a checkpoint under a writer is refused', { skip: !stop && 'the driver lets writers go on' }, () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      for (let file = 0; file < 200; file += 1) await put(domain.path, `file-${file}`, 'x'.repeat(10_000))
      const child = writer(domain.path, '')
      try {
        await firstOutput(child)
        await assert.rejects(domain.checkpoint('moving'), code('domain.not-still'))
        assert.deepEqual(await domain.list(), [])
      } finally {
        await killed(child)
      }
      await domain.checkpoint('still')
    }),
  )
}

function replication(given: DomainConformance): void {
  const native = given.driver.capabilities.replicate === 'native'

  test('replication is refused', { skip: native && 'the driver replicates' }, () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      const copy = await domain.checkpoint('first')
      const target = { node: 'node-2', receive: () => assert.fail('a refused stream was sent') }
      await assert.rejects(domain.replicate('first', target), code('domain.refused'))
      await assert.rejects(domain.receive({ ...copy, name: 'other' }, streamOf([])), code('domain.refused'))
    }),
  )

  test('a checkpoint is replicated whole, and then its difference to the next', { skip: !native && 'refused' }, () =>
    withPlace(given, ({ open }) =>
      withPlace(given, async (far) => {
        const [here, there] = [await open(), await far.open()]
        await put(here.path, 'large', 'x'.repeat(2_000_000))
        const sent = { bytes: 0 }
        const send = async (copy: DomainCopy, base?: string): Promise<void> => {
          sent.bytes = 0
          const receive = async (stream: AsyncIterable<Uint8Array>): Promise<void> => {
            await there.receive(copy, counted(stream, sent))
          }
          await here.replicate(copy.name, { node: 'node-2', receive, ...(base === undefined ? {} : { base }) })
        }
        const first = await here.checkpoint('first')
        await send(first)
        assert.ok(sent.bytes > 2_000_000)
        await put(here.path, 'small', 'more')
        const second = await here.checkpoint('second')
        await send(second, 'first')
        assert.ok(sent.bytes < 100_000, `the difference took ${sent.bytes} bytes`)
        const received = await there.list()
        assert.deepEqual(
          received.map(({ name, kind, createdAtMs, generation }) => ({ name, kind, createdAtMs, generation })),
          [first, second].map(({ name, kind, createdAtMs, generation }) => ({ name, kind, createdAtMs, generation })),
        )
        const clone = await there.clone('take-over', 'second')
        await there.swap('take-over', 'empty', 1)
        assert.equal(await get(clone.path, 'small'), 'more')
        assert.equal((await get(there.path, 'large')).length, 2_000_000)
      }),
    ),
  )

  test('a replica that does not come whole is not there', { skip: !native && 'refused' }, () =>
    withPlace(given, ({ open }) =>
      withPlace(given, async (far) => {
        const [here, there] = [await open(), await far.open()]
        await put(here.path, 'data', 'x'.repeat(500_000))
        const copy = await here.checkpoint('first')
        const stream: Uint8Array[] = []
        const keep = async (chunks: AsyncIterable<Uint8Array>): Promise<void> => {
          for await (const chunk of chunks) stream.push(chunk)
        }
        await here.replicate('first', { node: 'node-2', receive: keep })
        const whole = Buffer.concat(stream)
        const broken = async function* (): AsyncGenerator<Uint8Array> {
          yield whole.subarray(0, 1000)
          throw new Error('the line broke')
        }
        await assert.rejects(there.receive(copy, broken()), /the line broke/)
        // The last command of the stream is ten bytes long: without it all data is there, but it is not known to be all.
        for (const cut of [0, 10, 200_000, whole.length - 10]) {
          await assert.rejects(there.receive(copy, streamOf([whole.subarray(0, cut)])), isSteadError, `cut at ${cut}`)
        }
        assert.deepEqual(await there.list(), [])
        await there.receive(copy, streamOf([whole]))
        await assert.rejects(there.receive(copy, streamOf([whole])), code('domain.exists'))
        const line = { node: 'node-2', receive: () => Promise.reject(new Error('no way through')) }
        await assert.rejects(here.replicate('first', line), /no way through/)
        await here.delete('first')
      }),
    ),
  )
}

function fullDomain(given: DomainConformance): void {
  const { sizeLimit } = given.driver.capabilities
  test('a full domain says so, and can be emptied', { skip: !sizeLimit && 'no size limit of its own' }, () =>
    withPlace(given, async ({ open }) => {
      const domain = await open()
      await put(domain.path, 'kept', 'kept')
      const block = Buffer.alloc(8_000_000, 7)
      const fill = async (): Promise<void> => {
        for (let n = 0; n * block.length < given.sizeBytes; n += 1) await writeFile(join(domain.path, `f${n}`), block)
      }
      await assert.rejects(fill(), (error) => systemCodeOf(error) === 'ENOSPC')
      const made = await domain.checkpoint('when-full').catch(code('domain.disk-full'))
      assert.equal((await domain.list()).length, made === true ? 0 : 1)
      if (made !== true) await domain.delete('when-full')
      await rm(join(domain.path, 'f0'))
      await domain.checkpoint('after')
      await domain.delete('after')
      assert.deepEqual(await domain.list(), [])
      assert.equal(await get(domain.path, 'kept'), 'kept')
      await domain.close()
      await open()
    }),
  )
}

async function firstOutput(child: ChildProcess): Promise<void> {
  const signal = AbortSignal.timeout(startTimeoutMs)
  if (child.stdout !== null) await once(child.stdout, 'data', { signal })
}

/** A signal takes effect a little after it was sent. */
async function lengthsWhenStill(path: string): Promise<readonly [number, number]> {
  for (let lengths = await lengthsIn(path), tries = 0; tries < 1000; tries += 1) {
    await setTimeout(5)
    const later = await lengthsIn(path)
    if (later.join() === lengths.join()) return later
    lengths = later
  }
  return assert.fail('the paused writer goes on')
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function* streamOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

async function* counted(stream: AsyncIterable<Uint8Array>, count: { bytes: number }): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    count.bytes += chunk.length
    yield chunk
  }
}
