/** Conformance cases about what surrounds the program: files, mounts, limits, ending and freezing the whole tree. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { systemClock } from '../base/index.ts'
import {
  assertBeats,
  assertStandsStill,
  beating,
  filesBelow,
  megabyte,
  mountOf,
  noLimits,
  pause,
  until,
  within,
} from './bench.conformance.ts'
import type { ConformanceCase } from './bench.conformance.ts'
import { specLimits } from './spec.ts'

/** What holds a program, and ends all of it. */
export const limitCases: readonly ConformanceCase[] = [
  [
    'files are handed over with their mode, and to nobody else',
    async (bench) => {
      const spec = bench.spec('')
      const directory = bench.hostPaths ? `${spec.recordDir}/files` : '/run/secrets'
      const large = 'x'.repeat(specLimits.inlineFileBytesMax)
      const script = `stat -c %a ${directory}/key; cat ${directory}/key; wc -c <${directory}/large; exec 2>/dev/null; echo more >>${directory}/key`
      const { lines } = await bench.run({
        ...spec,
        argv: ['sh', '-c', script],
        files: [
          { path: `${directory}/key`, content: 'sec\u00fcret\n', mode: 0o400 },
          { path: `${directory}/large`, content: large, mode: 0o444 },
        ],
      })
      assert.deepEqual(lines.slice(0, 3), ['400', 'sec\u00fcret', String(large.length)])
      const kept = filesBelow(spec.recordDir).filter((path) => !path.includes('/output/'))
      assert.ok(
        !kept.some((path) => readFileSync(path, 'utf8').includes('sec\u00fcret')),
        'not on the disk after the end',
      )
    },
  ],
  [
    'a mount that is read-only cannot be written, one that is not can',
    async (bench) => {
      const place = bench.shared()
      writeFileSync(`${place.host}/given`, 'from outside\n', { mode: 0o666 })
      const { lines, exit } = await bench.run(
        bench.spec(`cat ${place.inside}/given; echo inside >${place.inside}/made`, { mounts: mountOf(place) }),
      )
      assert.deepEqual([lines, exit.code], [['from outside'], 0])
      assert.equal(readFileSync(`${place.host}/made`, 'utf8'), 'inside\n')
      if (bench.hostPaths) return
      const closed = await bench.run(
        bench.spec('echo x >/data/given || echo refused; echo x >/data/new || echo refused', {
          mounts: [{ source: place.host, target: '/data', access: 'read-only' }],
        }),
      )
      assert.equal(closed.lines.filter((line) => line === 'refused').length, 2)
      assert.equal(readFileSync(`${place.host}/given`, 'utf8'), 'from outside\n')
    },
  ],
  [
    'a limit of memory ends the program and is named',
    async (bench) => {
      const hog = 'x=$(head -c 200000000 /dev/zero | tr "\\0" x); echo survived'
      const spec = bench.spec(hog, { limits: { ...noLimits, memoryBytes: 48 * megabyte } })
      if (bench.driver.capabilities.memoryLimit === 'refused')
        return void (await bench.refused(spec, 'sandbox.refused'))
      const { exit, lines } = await bench.run(spec)
      assert.deepEqual([exit.cause, exit.signal], ['memory', 'SIGKILL'], exit.sentence)
      assert.match(exit.sentence, /memory limit of 48 MB/)
      assert.deepEqual(lines, [])
    },
  ],
  [
    'a limit of processes is held and named',
    async (bench) => {
      const spec = bench.spec('for i in $(seq 1 40); do sleep 60 & done; echo survived', {
        limits: { ...noLimits, pidsMax: 12 },
      })
      if (bench.driver.capabilities.pidsLimit === 'refused') return void (await bench.refused(spec, 'sandbox.refused'))
      const { exit, lines } = await bench.run(spec)
      assert.ok(!lines.includes('survived'), 'the shell gives up at its first refused fork')
      assert.match(exit.sentence, /refused a new process \d+ times \(limit 12\)/)
    },
  ],
  [
    'a limit of CPU is held',
    async (bench) => {
      const spec = bench.spec('while :; do :; done', { limits: { ...noLimits, cpuCores: 0.1 } })
      if (bench.driver.capabilities.cpuLimit === 'refused') return void (await bench.refused(spec, 'sandbox.refused'))
      const sandbox = await bench.start(spec)
      const startMs = systemClock.monotonicMs()
      const first = (await sandbox.usage()).cpuSeconds ?? 0
      await pause(1500)
      const used = ((await sandbox.usage()).cpuSeconds ?? 0) - first
      // One period of the quota may be counted on either side.
      const elapsed = (systemClock.monotonicMs() - startMs) / 1000
      assert.ok(used <= 0.1 * elapsed + 0.1, `${used} s in ${elapsed} s`)
      await sandbox.kill()
    },
  ],
  [
    'a limit of /tmp is held',
    async (bench) => {
      const spec = bench.spec(
        'head -c 3000000 /dev/zero >/tmp/full; stat -c %s /tmp/full; exec 2>&1; echo x >/dev/null',
        {
          limits: { ...noLimits, tmpBytes: megabyte },
        },
      )
      if (bench.driver.capabilities.tmpLimit === 'refused') return void (await bench.refused(spec, 'sandbox.refused'))
      const { lines } = await bench.run(spec)
      assert.ok(lines.includes(String(megabyte)), lines.join('; '))
    },
  ],
  [
    'killing ends daemons that left their parents, and resolves when all are gone',
    async (bench) => {
      const place = bench.shared()
      const script = `(setsid sh -c '${beating(place.inside)}' &) ; exec sleep 60`
      const sandbox = await bench.start(bench.spec(script, { mounts: mountOf(place) }))
      await assertBeats(place.host)
      await within(sandbox.kill(), 'the kill')
      await assertStandsStill(place.host)
      const exit = await sandbox.exited
      assert.deepEqual([exit.cause, exit.signal], ['signal', 'SIGKILL'])
      await sandbox.kill()
    },
  ],
  [
    'daemons end with the program',
    async (bench) => {
      const place = bench.shared()
      const script = `(setsid sh -c '${beating(place.inside)}' >/dev/null 2>&1 &) ; while ! [ -s ${place.inside}/beat ]; do sleep 0.02; done; exit 4`
      const { exit } = await bench.run(bench.spec(script, { mounts: mountOf(place) }))
      assert.equal(exit.code, 4)
      await assertStandsStill(place.host)
    },
  ],
  [
    'freezing stops everything, thawing lets it go on, a frozen program can be killed',
    async (bench) => {
      const place = bench.shared()
      const script = `(setsid sh -c '${beating(place.inside)}' &) ; exec sleep 60`
      const sandbox = await bench.start(bench.spec(script, { mounts: mountOf(place) }))
      await assertBeats(place.host)
      if (bench.driver.capabilities.freeze === 'refused') {
        await assert.rejects(sandbox.freeze(), { code: 'sandbox.refused' })
        return await sandbox.kill()
      }
      await sandbox.freeze()
      await assertStandsStill(place.host)
      await sandbox.thaw()
      await assertBeats(place.host)
      await sandbox.freeze()
      await within(sandbox.kill(), 'the kill')
      await assertStandsStill(place.host)
      await assert.rejects(sandbox.freeze(), { code: 'sandbox.ended' })
    },
  ],
  [
    'usage tells memory, time and processes',
    async (bench) => {
      const sandbox = await bench.start(bench.spec('sleep 60 & sleep 60 & while :; do :; done'))
      await until('all its processes and some time used', async () => {
        const { cpuSeconds, pids } = await sandbox.usage()
        return (cpuSeconds ?? 1) > 0.05 && (pids ?? 5) >= 3
      })
      assert.ok(((await sandbox.usage()).memoryBytes ?? megabyte) > 10_000)
      await sandbox.kill()
    },
  ],
]
