/** Conformance cases about the program: exits, signals, environment, output. */
import assert from 'node:assert/strict'
import { systemClock } from '../base/index.ts'
import { filesBelow, sizeOf, until, within } from './bench.conformance.ts'
import type { ConformanceCase } from './bench.conformance.ts'

/** What a program gets, and how its end and its output are told. */
export const programCases: readonly ConformanceCase[] = [
  [
    'an exit is explained: code',
    async (bench) => {
      const { exit } = await bench.run(bench.spec('exit 3'))
      assert.deepEqual(exit, { cause: 'code', code: 3, signal: null, sentence: 'ended with code 3' })
      assert.equal((await bench.run(bench.spec('true'))).exit.code, 0)
    },
  ],
  [
    'an exit is explained: signal, from within and from without',
    async (bench) => {
      const { exit } = await bench.run(bench.spec('kill -USR1 $$; sleep 60'))
      assert.deepEqual([exit.cause, exit.signal], ['signal', 'SIGUSR1'])
      const sandbox = await bench.start(bench.spec('exec sleep 60'))
      sandbox.signal('SIGTERM')
      const ended = await within(sandbox.exited, 'the end')
      assert.deepEqual([ended.cause, ended.signal], ['signal', 'SIGTERM'], 'also without a handler')
      sandbox.signal('SIGTERM')
    },
  ],
  [
    'a program that is not there ends with a meaning',
    async (bench) => {
      const { exit, lines } = await bench.run({ ...bench.spec(''), argv: ['no-such-program'] })
      assert.equal(exit.code, 127)
      assert.match(exit.sentence, /not found/)
      assert.match(lines.join(), /no-such-program/)
    },
  ],
  [
    'a signal reaches a handler, and only the program',
    async (bench) => {
      const spec = bench.spec('trap "echo asked; exit 0" TERM; echo ready; while :; do sleep 0.05; done')
      const sandbox = await bench.start(spec)
      await until('the handler', async () => (await bench.lines(spec.recordDir)).includes('ready'))
      sandbox.signal('SIGTERM')
      assert.equal((await within(sandbox.exited, 'the end')).code, 0)
      assert.deepEqual(await bench.lines(spec.recordDir), ['ready', 'asked'])
    },
  ],
  [
    'the environment and the arguments are those of the spec',
    async (bench) => {
      const env = { PATH: '/usr/bin:/bin', PLAIN: 'x', QUOTED: `a 'b' "c" $d \\ \u00fc`, LINES: '1\n2', EMPTY: '' }
      const script = 'env -0 | sort -z | tr "\\0" "|"; echo; for a in "$@"; do printf "<%s>" "$a"; done; echo; pwd'
      const spec = { ...bench.spec(script, { env }), argv: ['sh', '-c', script, 'sh', "it's", '', '$HOME `id`', '-x'] }
      const { lines } = await bench.run(spec)
      const added = /(?:^|\|)(?:PWD|OLDPWD|SHLVL|_|STEAD_[A-Z_]+)=[^|]*/g
      const expected = Object.entries(env).map(([name, value]) => `${name}=${value}`)
      assert.deepEqual(
        lines.slice(0, -2).join('\n').replaceAll(added, '').split('|').filter(Boolean).sort(),
        expected.sort(),
      )
      assert.deepEqual(lines.slice(-2), ["<it's><><$HOME `id`><-x>", '/tmp'])
    },
  ],
  [
    'descriptors other than 0, 1 and 2 are closed, and input is empty',
    async (bench) => {
      const { lines } = await bench.run(bench.spec('[ -d /proc/$$ ] && ls -l /proc/$$/fd; cat'))
      const others = lines.map((line) => / (\d+) -> (.*)$/.exec(line)).filter((link) => Number(link?.[1]) > 2)
      assert.deepEqual(
        others.map((link) => link?.[2]).filter((target) => target !== '/dev/null'),
        [],
        'what the supervisor inherited itself is covered by /dev/null',
      )
    },
  ],
  [
    'output keeps both streams with their time, from a time on, and only the last',
    async (bench) => {
      const beforeMs = systemClock.nowMs()
      const spec = bench.spec('echo out; echo err >&2; sleep 0.3; echo to-path >/dev/stdout; echo; printf rest')
      await bench.run(spec)
      const all = await bench.output(spec.recordDir)
      assert.deepEqual(
        all.map((line) => line.text),
        ['out', 'err', 'to-path', '', 'rest'],
      )
      for (const { timeMs } of all) assert.ok(timeMs >= beforeMs - 1 && timeMs <= systemClock.nowMs() + 1)
      const middleMs = all[2]?.timeMs ?? 0
      assert.ok(middleMs - (all[1]?.timeMs ?? 0) >= 250, 'the time is that of the writing')
      assert.deepEqual(await bench.lines(spec.recordDir, { sinceMs: middleMs }), ['to-path', '', 'rest'])
      assert.deepEqual(await bench.lines(spec.recordDir, { tail: 1 }), ['rest'])
      assert.deepEqual(await bench.lines(spec.recordDir, { tail: 0 }), [])
    },
  ],
  [
    'output is bounded: the oldest is dropped, the newest kept in order',
    async (bench) => {
      const spec = bench.spec('seq -f "line %08g of a long story that goes on and on" 1 80000')
      await bench.run(spec)
      assert.ok(
        filesBelow(`${spec.recordDir}/output`).reduce((sum, path) => sum + sizeOf(path), 0) <= spec.outputBytesMax,
      )
      const lines = await bench.lines(spec.recordDir)
      assert.equal(lines.at(-1), 'line 00080000 of a long story that goes on and on')
      assert.ok(lines.length > 1000, 'a good part is kept')
      const first = Number(lines[0]?.slice(5, 13))
      assert.ok(
        lines.every((line, index) => Number(line.slice(5, 13)) === first + index),
        'without a gap',
      )
      assert.ok(bench.driver.dropOldOutput(spec.recordDir) > 0)
      assert.deepEqual(bench.driver.dropOldOutput(spec.recordDir), 0)
      const left = await bench.lines(spec.recordDir)
      assert.ok(left.length < lines.length, 'the older files are gone')
    },
  ],
  [
    'output can be followed while it is rotated, to its end',
    async (bench) => {
      const spec = bench.spec(
        'for i in $(seq 1 40); do seq -f "$i %04g padding padding padding" 1 1000; sleep 0.02; done',
      )
      const sandbox = await bench.start(spec)
      const followed = await bench.lines(spec.recordDir, { follow: true })
      await within(sandbox.exited, 'the end')
      assert.equal(followed.at(-1), '40 1000 padding padding padding')
      assert.equal(new Set(followed).size, followed.length, 'each line once')
    },
  ],
  [
    'following ends when its signal says so',
    async (bench) => {
      const spec = bench.spec('echo one; exec sleep 60')
      const sandbox = await bench.start(spec)
      const stop = new AbortController()
      for await (const { text } of bench.driver.output(spec.recordDir, { follow: true, signal: stop.signal })) {
        assert.equal(text, 'one')
        stop.abort()
      }
      await sandbox.kill()
    },
  ],
]
