/** Conformance cases about records: surviving the supervisor, adoption, refusals. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { assertBeats, assertStandsStill, beating, mountOf, pause, until, within } from './bench.conformance.ts'
import type { ConformanceCase } from './bench.conformance.ts'
import { filterFile as filterTexts } from './filter.ts'

/** What outlives a supervisor, and what is refused. */
export const recordCases: readonly ConformanceCase[] = [
  [
    'a program outlives its supervisor: adopted, with the output of the gap',
    async (bench) => {
      const place = bench.shared()
      const script = `echo before; while ! [ -e ${place.inside}/go ]; do sleep 0.02; done; echo gap; while ! [ -e ${place.inside}/end ]; do sleep 0.02; done; echo after; exit 7`
      const spec = bench.spec(script, { mounts: mountOf(place) })
      const supervisor = await bench.supervise(spec)
      await supervisor.end()
      writeFileSync(`${place.host}/go`, '')
      await until('the output of the gap', async () => (await bench.lines(spec.recordDir)).includes('gap'))
      const adopted = await bench.adopt(spec.recordDir)
      assert.equal(adopted.id, spec.id)
      process.kill(adopted.pid, 0)
      await assert.rejects(bench.driver.remove(spec.recordDir), { code: 'sandbox.still-runs' })
      const followed = bench.lines(spec.recordDir, { follow: true })
      writeFileSync(`${place.host}/end`, '')
      const exit = await within(adopted.exited, 'the end')
      assert.deepEqual([exit.cause, exit.code], ['code', 7])
      assert.deepEqual(await followed, ['before', 'gap', 'after'])
    },
  ],
  [
    'texts of a file are kept out of the output on the disk, without a supervisor and when the file is replaced, or it is refused',
    async (bench) => {
      const place = bench.shared()
      const filterFile = `${place.host}/texts`
      const put = (...texts: readonly string[]): void => {
        writeFileSync(`${filterFile}.new`, filterTexts(texts.map((text) => Buffer.from(text))))
        renameSync(`${filterFile}.new`, filterFile)
      }
      put('hunter2hunter2')
      const script = [
        'printf "a hunter2hun"; sleep 0.3; echo "ter2 b hunter2hunter2"',
        `while ! [ -e ${place.inside}/go ]; do sleep 0.02; done; echo c second-value d`,
        `while ! [ -e ${place.inside}/end ]; do sleep 0.02; done; printf "e second-value"; exit 4`,
      ].join('; ')
      const spec = bench.spec(script, { mounts: mountOf(place), filterFile })
      if (bench.driver.capabilities.outputFilter === 'refused') {
        await assert.rejects(bench.driver.start(spec), { code: 'sandbox.refused' })
        return
      }
      const supervisor = await bench.supervise(spec)
      await supervisor.end()
      await until('the first line', async () => (await bench.lines(spec.recordDir)).length === 1)
      put('hunter2hunter2', 'second-value')
      writeFileSync(`${place.host}/go`, '')
      await until('the second line', async () => (await bench.lines(spec.recordDir)).length === 2)
      const adopted = await bench.adopt(spec.recordDir)
      writeFileSync(`${place.host}/end`, '')
      assert.equal((await within(adopted.exited, 'the end')).code, 4)
      assert.deepEqual(await bench.lines(spec.recordDir, { follow: true }), [
        'a [secret] b [secret]',
        'c [secret] d',
        'e [secret]',
      ])
      const kept = readdirSync(`${spec.recordDir}/output`).map((name) =>
        readFileSync(`${spec.recordDir}/output/${name}`, 'utf8'),
      )
      assert.doesNotMatch(kept.join(''), /hunter2|second-value/)
    },
  ],
  [
    'an adopted program can be signalled, frozen and killed with all its daemons',
    async (bench) => {
      const place = bench.shared()
      const script = `(setsid sh -c '${beating(place.inside)}' &) ; exec sleep 60`
      const spec = bench.spec(script, { mounts: mountOf(place) })
      const supervisor = await bench.supervise(spec)
      await supervisor.end()
      const adopted = await bench.adopt(spec.recordDir)
      await assertBeats(place.host)
      await within(adopted.kill(), 'the kill')
      await assertStandsStill(place.host)
      assert.equal((await adopted.exited).signal, 'SIGKILL')
    },
  ],
  [
    'the exit of a program that ended without a supervisor is kept, and told again and again',
    async (bench) => {
      const place = bench.shared()
      const spec = bench.spec(`while ! [ -e ${place.inside}/end ]; do sleep 0.02; done; echo last; exit 9`, {
        mounts: mountOf(place),
      })
      const supervisor = await bench.supervise(spec)
      await supervisor.end()
      writeFileSync(`${place.host}/end`, '')
      await until('the last words', async () => (await bench.lines(spec.recordDir)).includes('last'))
      for (let round = 0; round < 3; round++) {
        const adopted = await bench.adopt(spec.recordDir)
        assert.equal((await within(adopted.exited, 'the kept exit')).code, 9)
      }
    },
  ],
  [
    'an exit that nobody kept is unknown, and said to be',
    async (bench) => {
      const spec = bench.spec('exec sleep 60')
      const sandbox = await bench.start(spec)
      const record: unknown = JSON.parse(readFileSync(`${spec.recordDir}/record.json`, 'utf8'))
      const keeper = keeperOf(record)
      process.kill(keeper, 'SIGKILL')
      await pause(50)
      process.kill(sandbox.pid, 0)
      await within(sandbox.kill(), 'the kill')
      const exit = await sandbox.exited
      assert.equal(exit.cause, 'unknown')
      assert.match(exit.sentence, /not known/)
    },
  ],
  [
    'records: none is null, a second start is refused, removing leaves nothing',
    async (bench) => {
      const spec = bench.spec('true')
      assert.equal(await bench.driver.adopt(spec.recordDir), null)
      await bench.run(spec)
      await assert.rejects(bench.driver.start(spec), { code: 'sandbox.exists' })
      await bench.driver.remove(spec.recordDir)
      assert.ok(!existsSync(spec.recordDir))
      assert.equal(await bench.driver.adopt(spec.recordDir), null)
      await bench.driver.remove(spec.recordDir)
    },
  ],
  [
    'a start that fails says why and leaves nothing',
    async (bench) => {
      const missing = { source: '/no/such/place', target: '/no/such/place', access: 'read-only' } as const
      const error = await bench.refused(bench.spec('true', { mounts: [missing] }), 'sandbox.start-failed')
      assert.match(error.message, /\/no\/such\/place/)
    },
  ],
  [
    'a spec that makes no sense is refused before anything is done',
    async (bench) => {
      for (const change of [
        { id: '../up' },
        { hostUid: 0 },
        { cwd: 'here' },
        { env: { 'A=B': '' } },
        { outputBytesMax: 1 },
      ]) {
        await bench.refused(bench.spec('true', change), 'sandbox.bad-spec')
      }
    },
  ],
  [
    'what the capabilities refuse is refused',
    async (bench) => {
      const { capabilities } = bench.driver
      if (capabilities.syscallFilter === 'refused') {
        await bench.refused(bench.spec('true', { syscalls: 'strict' }), 'sandbox.refused')
      }
      if (bench.hostPaths) {
        const mounts = [{ source: '/usr', target: '/elsewhere', access: 'read-only' }] as const
        await bench.refused(bench.spec('true', { mounts }), 'sandbox.refused')
        const files = [{ path: '/tmp/anywhere', content: '', mode: 0o400 }]
        await bench.refused(bench.spec('true', { files }), 'sandbox.refused')
      }
    },
  ],
]

function keeperOf(record: unknown): number {
  assert.ok(typeof record === 'object' && record !== null && 'keeper' in record)
  const { keeper } = record
  assert.ok(typeof keeper === 'object' && keeper !== null && 'pid' in keeper && typeof keeper.pid === 'number')
  return keeper.pid
}
