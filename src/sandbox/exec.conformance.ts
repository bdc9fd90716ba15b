/** Conformance cases about running another program inside a sandbox that runs. */
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { until, within } from './bench.conformance.ts'
import type { Bench, ConformanceCase } from './bench.conformance.ts'
import type { Exit, Sandbox, TerminalSize } from './driver.ts'

interface Ran {
  readonly out: string
  readonly err: string
  readonly exit: Exit
}

/** Runs a script inside to its end, with the terminal's line ends as those of a text. */
async function run(sandbox: Sandbox, script: string, input = '', terminal: TerminalSize | null = null): Promise<Ran> {
  const executed = await sandbox.exec({ argv: ['sh', '-c', script], env: { ADDED: 'more' }, terminal })
  const printed = Promise.all([text(executed.output), executed.errors === null ? '' : text(executed.errors)])
  if (terminal === null) executed.input.end(input)
  else executed.input.write(input)
  const exit = await within(executed.exited, 'the end')
  const [out, err] = await within(printed, 'the output')
  return { out: out.replaceAll('\r\n', '\n'), err, exit }
}

/** Skips what the driver refuses, after proof that it does. */
async function held(
  bench: Bench,
  script: string,
  check: (sandbox: Sandbox, recordDir: string) => Promise<void>,
): Promise<void> {
  const spec = bench.spec(script)
  const sandbox = await bench.start(spec)
  if (bench.driver.capabilities.exec === 'refused') {
    await assert.rejects(sandbox.exec({ argv: ['true'], env: {}, terminal: null }), { code: 'sandbox.refused' })
  } else await check(sandbox, spec.recordDir)
  await sandbox.kill()
}

export const execCases: readonly ConformanceCase[] = [
  [
    'another program runs inside: same files, processes, user and environment, no more rights, its exit told',
    (bench) =>
      held(bench, 'echo kept $$ >/tmp/mine; exec sleep 60', async (sandbox) => {
        await until('the file', async () => (await run(sandbox, 'cat /tmp/mine')).out.startsWith('kept '))
        const { out, err, exit } = await run(sandbox, 'cat; echo $ADDED; echo again >/dev/stderr; exit 5', 'typed\n')
        assert.deepEqual([out, err, exit.code], ['typed\nmore\n', 'again\n', 5])
        const status = (await run(sandbox, 'cat /proc/self/status')).out
        const own = (await run(sandbox, 'read -r _ pid </tmp/mine; cat /proc/$pid/status')).out
        for (const field of ['Uid', 'Gid', 'CapPrm', 'CapEff', 'NoNewPrivs', 'Seccomp']) {
          const value = (of: string): string | undefined => new RegExp(`^${field}:\\s+(.*)$`, 'm').exec(of)?.[1]
          assert.equal(value(status), value(own), field)
        }
        if (bench.driver.capabilities.syscallFilter !== 'refused')
          assert.notEqual((await run(sandbox, 'unshare -U true')).exit.code, 0, 'the filter holds')
        const fds = (await run(sandbox, 'for fd in /proc/self/fd/*; do readlink $fd; done')).out.split('\n')
        assert.deepEqual(
          fds.filter((target) => target !== '' && !/^pipe:|^\/dev\/null$|\/fd$/.test(target)),
          [],
        )
        assert.equal((await run(sandbox, 'kill -9 $$')).exit.signal, 'SIGKILL')
        assert.equal((await run(sandbox, 'exec no-such-program')).exit.code, 127)
      }),
  ],
  [
    'what is set for the program is read by nothing that is not inside yet',
    (bench) =>
      held(bench, 'exec sleep 60', async (sandbox) => {
        const env = { LD_PRELOAD: '/no-such-library.so', QUOTED: `it's "$HOME" \n and more` }
        const executed = await sandbox.exec({ argv: ['env', '-0'], env, terminal: null })
        executed.input.end()
        const [out, err] = await within(
          Promise.all([text(executed.output), executed.errors === null ? '' : text(executed.errors)]),
          'the output',
        )
        assert.ok(out.split('\0').includes(`QUOTED=${env.QUOTED}`), out)
        // The program itself says it, once; what brings it there has never heard of it.
        assert.equal(err.match(/no-such-library/g)?.length, 1, err)
      }),
  ],
  [
    'with a terminal: it has a name and a size, is the program’s own, and what is typed reaches only the program',
    (bench) =>
      held(bench, 'exec sleep 60', async (sandbox) => {
        const size = { columns: 101, rows: 31 }
        const { out, exit } = await run(sandbox, 'test -t 0 && test -t 2 && tty && stty size; exit 3', '', size)
        assert.match(out, /^\/dev\/pts\/\d+\n31 101\n$/)
        assert.equal(exit.code, 3)
        const script = 'trap "echo asked; exit 4" INT; echo ready; while :; do sleep 0.05; done'
        const executed = await sandbox.exec({ argv: ['sh', '-c', script], env: {}, terminal: size })
        let printed = ''
        executed.output.on('data', (chunk) => (printed += String(chunk)))
        await until('the trap', async () => printed.includes('ready'))
        executed.input.write('\u0003')
        assert.equal((await within(executed.exited, 'the end')).code, 4)
        // Its last words may come a moment after its end.
        await until('its last words', async () => printed.includes('asked'))
      }),
  ],
  [
    'nothing is left of it: when it ends, when it is killed, when its supervisor was',
    (bench) =>
      held(bench, 'exec sleep 60', async (sandbox, recordDir) => {
        const left = async (): Promise<string[]> => {
          const { out } = await run(sandbox, 'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; echo; done')
          return out.split('\n').filter((line) => /sleep (?:7|8)\d/.test(line))
        }
        await run(sandbox, 'sleep 71 >/dev/null 2>&1 & exit 0')
        assert.deepEqual(await left(), [])
        const script = 'trap "" HUP TERM; sleep 72 & echo ready; sleep 73'
        const executed = await sandbox.exec({ argv: ['sh', '-c', script], env: {}, terminal: null })
        executed.output.once('data', () => void executed.kill())
        await within(executed.exited, 'the end')
        assert.deepEqual(await left(), [])
        await sandbox.exec({ argv: ['sleep', '81'], env: {}, terminal: null })
        await until('it runs', async () => (await left()).length === 1)
        await bench.driver.adopt(recordDir)
        await until('it is ended', async () => (await left()).length === 0)
      }),
  ],
]
