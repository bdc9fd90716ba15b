/** A person looks inside: programs run in a part, and ports that lead to one, through the real command line. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { DapClient, listIn } from '../src/debug/dap-client.conformance.ts'
import { appFile, replaceApp, web } from './small-app.ts'

const files = {
  'app.ts': appFile(
    `const db = postgres('db', { migrations: './migrations' })
     const key = secret('key')
     ${web('use: { db, key }')}`,
  ),
  'migrations/0001_visits.sql': `create table visits (who text); insert into visits values ('ada');`,
  'web/server.js': `
    require('node:fs').writeFileSync('/tmp/mine', 'kept')
    require('node:http').createServer((question, answer) => question.pipe(answer)).listen(process.env.PORT)
    process.on('SIGTERM', () => process.exit(0))
    let ticks = 0
    setInterval(function tick() {
      const count = ++ticks
      const url = process.env.DB_DATABASE_URL
      return [count, url]
    }, 50)`,
}
/** Of the last line in `tick`. */
const tickLine = 9

/** Runs a command with input, to its end. */
async function withInput(
  bench: Workbench,
  args: readonly string[],
  input: string | Buffer,
): Promise<[number, string, string]> {
  const { child } = bench.start(...args)
  return ended(child, input)
}

function ended(child: ChildProcess, input: string | Buffer): Promise<[number, string, string]> {
  const [out, err]: Buffer[][] = [[], []]
  child.stdout?.on('data', (chunk: Buffer) => out?.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err?.push(chunk))
  child.stdin?.end(input)
  const text = (chunks: Buffer[] | undefined): string => Buffer.concat(chunks ?? []).toString('latin1')
  return new Promise((resolve) => child.on('close', (code) => resolve([code ?? -1, text(out), text(err)])))
}

const psql = '/usr/bin/psql'

suite('looking inside', { skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'install bubblewrap')) }, () => {
  test('programs run inside a part, and ports lead to it', async (t) => {
    await using bench = new Workbench()
    bench.write(files)
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/small runs, after/)

    await t.test('its files, its environment, its streams, its exit code', async () => {
      const script =
        'cat /tmp/mine; cat; echo; echo "$STEAD_PART $(id -u) ${DB_DATABASE_URL%%:*}"; echo careful >&2; exit 9'
      const [code, out, err] = await withInput(bench, ['exec', 'web', '--', 'sh', '-c', script], 'typed')
      assert.deepEqual([code, out, err], [9, 'kepttyped\nweb 1000 postgresql\n', 'careful\n'])
      assert.equal((await bench.stead('exec', 'web', '--', 'sh', '-c', 'kill -9 $$')).code, 137)
      const server = await bench.stead('exec', 'db', '--', 'sh', '-c', 'ls -d /*/ | head -3; id -u')
      assert.match(server.stdout, /1000\n$/)
    })

    await t.test('much goes both ways at once, whole and in order', async () => {
      const much = Buffer.alloc(5_000_000, 'all work and no play ')
      const [code, out] = await withInput(bench, ['exec', 'web', '--', 'cat'], much)
      assert.equal(code, 0)
      assert.ok(Buffer.from(out, 'latin1').equals(much), `${out.length} bytes`)
      const [ok, lines] = await withInput(bench, ['exec', 'web', '--', 'seq', '1', '300000'], '')
      assert.equal(ok, 0)
      assert.ok(lines.endsWith('299999\n300000\n'))
    })

    await t.test('with a terminal', async () => {
      const [code, out] = await withInput(
        bench,
        ['exec', 'web', '-t', '--', 'sh', '-c', 'tty; stty size; read a; exit 4'],
        'x\n',
      )
      assert.match(out, /\/dev\/pts\/\d+\r\n24 80\r\n/)
      assert.equal(code, 4)
    })

    await t.test('when its person goes away nothing is left of it', async () => {
      const running = async (): Promise<string> =>
        (await bench.stead('exec', 'web', '--', 'sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "')).stdout
      const inside = bench.start('exec', 'web', '--', 'sh', '-c', 'trap "" HUP TERM; echo here; sleep 4711; sleep 4711')
      await inside.until(/here/)
      assert.match(await running(), /sleep 4711/)
      inside.child.kill('SIGKILL')
      await eventually('it is gone', running, (text) => !text.includes('4711'))
    })

    await t.test('where it stands, and its values but for secret ones', async () => {
      const stack = await bench.stead('stack', 'web')
      assert.equal(stack.code, 0, stack.stderr)
      assert.match(stack.stdout, /^main (?:waits|is running)/)
      assert.match(stack.stderr, /opened its inspector on 127\.0\.0\.1:\d+ of its own network/)
      const values = await bench.stead('snapshot', 'web', `server.js:${tickLine}`, 'count', 'url', '--hits', '1')
      assert.match(values.stdout, /count = \d+\n {2}url = "postgresql:\/\/[^:]+:\[[a-z]+\]@/, values.stderr)
      const server = await bench.stead('stack', 'db')
      const refused = /was stripped of its symbols|has neither gdb/
      assert.ok(server.code === 0 || refused.test(server.stderr), server.stderr)
    })

    await t.test('a debugger, that says goodbye, and is told of meanwhile', async () => {
      const debug = bench.start('debug', 'web', '--json')
      await debug.until(/"port":\d+/)
      const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
      await client.ask('initialize', { adapterID: 'node' })
      await client.ask('attach', {})
      await client.event('initialized')
      await client.ask('configurationDone')
      const held = async (): Promise<string> => (await bench.stead('status')).stdout
      await eventually('the debugger is told of', held, (text) => /debugger in small\.web/.test(text))
      await client.ask('disconnect')
      await eventually(
        'the command ends',
        async () => debug.child.exitCode,
        (code) => code === 0,
      )
      await eventually('nobody is in it', held, (text) => !/debugger in/.test(text))
    })

    await t.test('a debugger, whose person is killed at a breakpoint', async () => {
      const debug = bench.start('debug', 'web', '--json')
      await debug.until(/"port":\d+/)
      const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
      await client.ask('initialize', { adapterID: 'node' })
      await client.ask('attach', {})
      await client.event('initialized')
      const source = { path: '/home/me/small/web/server.js' }
      const set = await client.ask('setBreakpoints', { source, breakpoints: [{ line: tickLine }] })
      assert.equal(listIn(set, 'breakpoints')[0]?.['verified'], true, JSON.stringify(set))
      await client.ask('configurationDone')
      await client.event('stopped')
      const [top] = listIn(await client.ask('stackTrace', { threadId: 1 }), 'stackFrames')
      const asked = { expression: 'url', frameId: top?.['id'], context: 'repl' }
      assert.match(String((await client.ask('evaluate', asked))['result']), /postgresql:\/\/[^:]+:\[[a-z]+\]@/)
      debug.child.kill('SIGKILL')
      const runs = await bench.stead('snapshot', 'web', `server.js:${tickLine}`, 'count', '--hits', '3')
      assert.equal(runs.code, 0, runs.stderr)
      assert.match((await bench.stead('status', '--json')).stdout, /"restarts":0/)
    })

    await t.test('its packets, as a file that grows', async () => {
      const file = join(bench.appDir, 'seen.pcap')
      const pcap = bench.start('pcap', 'web', '--seconds', '60', '--out', file, '--json')
      const seen = async (): Promise<string> => {
        await ask(port, '/', { host: 'small.localhost', form: { said: 'a-word-on-the-wire' } })
        return existsSync(file) ? readFileSync(file, 'latin1') : ''
      }
      await eventually('a request is in it', seen, (text) => text.includes('a-word-on-the-wire'))
      pcap.child.kill('SIGINT')
      await eventually(
        'it ends soon, with what there is',
        async () => pcap.child.exitCode,
        (code) => code === 0,
      )
      assert.equal(readFileSync(file).readUInt32LE(0), 0xa1b23c4d)
      assert.match(pcap.output(), /web: \d+ packets, \d+ bytes: it was asked to end/)
      const short = await bench.stead('pcap', 'web', '--seconds', '1', '--port', '9', '--out', '-')
      assert.equal(short.stdout.length, 24, 'the head alone')
    })

    await t.test('what it uses', async () => {
      const { stdout, code } = await bench.stead('top', '--once', '--json')
      assert.equal(code, 0)
      const loads = JSON.parse(stdout) as { part: string; cores: number | null; memoryBytes: number | null }[]
      const [own] = loads.filter(({ part }) => part === 'web')
      assert.ok((own?.memoryBytes ?? 0) > 1e6 && own?.cores !== null, stdout)
      assert.match((await bench.stead('top', '--once', '--sort', 'name')).stdout, /web .* ready .* MB/)
    })

    await t.test('why it ended, once it runs again', async () => {
      assert.equal((await bench.stead('why', 'web')).code, 1, 'nothing has ended by itself')
      const { parts } = JSON.parse((await bench.stead('status', '--json')).stdout) as {
        parts: { part: string; pid: number; phase: string }[]
      }
      process.kill(parts.find(({ part }) => part === 'web')?.pid ?? 0, 'SIGKILL')
      const why = await eventually(
        'the end is kept',
        () => bench.stead('why', 'web', '--json'),
        ({ code }) => code === 0,
      )
      assert.match(why.stdout, /"sentence":"[^"]*SIGKILL[^"]*","attempt":1/)
      const status = await eventually(
        'it runs again',
        () => bench.stead('status'),
        ({ code }) => code === 0,
      )
      assert.match(status.stdout, /ended small\.web\S* .* ago: .*SIGKILL/)
    })

    await t.test('what cannot be is said', async () => {
      for (const [args, code, says] of [
        [['exec', 'nothing', '--', 'true'], 1, /small has no part called nothing/],
        [['exec', 'web', 'true'], 2, /needs a program after --/],
        [['exec', 'web', '--', 'no-such-program'], 127, /no-such-program/],
        [['exec', 'key', '--', 'true'], 1, /does not run/],
        [['forward', 'key'], 1, /key is a secret, which nothing can be connected to/],
        [['forward', 'web:99999'], 2, /a port is a number from 1 to 65535, not '99999'/],
        [['forward', 'web:9'], 1, /ECONNREFUSED/],
      ] as const) {
        const result = await bench.stead(...args)
        assert.match(result.stderr, says)
        assert.equal(result.code, code, args.join(' '))
      }
    })

    await t.test('a branch of what follows its files has a name of its own, and ends with it', async () => {
      const branch = await bench.stead('branch', 'try')
      assert.equal(branch.code, 0, branch.stderr)
      assert.match(branch.stdout, /http:\/\/try\.small\.localhost/)
      const inside = await bench.stead('exec', 'web', 'small--try', '--', 'sh', '-c', 'echo $STEAD_APP')
      assert.deepEqual([inside.code, inside.stdout], [0, 'small--try\n'], inside.stderr)
      assert.equal((await bench.stead('branch', 'try', '--rm')).code, 0)
      assert.equal((await bench.stead('status', 'small--try')).code, 1)
    })

    await t.test('a port that leads to a service', async () => {
      const forward = bench.start('forward', 'web')
      await forward.until(/leads to web/)
      const local = Number(/127\.0\.0\.1:(\d+)/.exec(forward.output())?.[1])
      const much = { text: 'x'.repeat(1_000_000) }
      const answer = await ask(local, '/', { form: much })
      assert.deepEqual([answer.status, answer.body.length], [200, 1_000_005])
      const taken = await bench.stead('forward', 'web', String(local))
      assert.match(taken.stderr, /port \d+ is taken/)
      await forward.stop()
    })

    const noPsql = needsFile(psql, 'install postgresql-client')
    await t.test(
      'a port that leads to the database, also after the platform was started anew',
      { skip: noPsql },
      async () => {
        const forward = bench.start('forward', 'db', '--json')
        await forward.until(/"url"/)
        const { url } = JSON.parse(forward.output()) as { url: string }
        const query = (sql: string): Promise<[number, string, string]> =>
          ended(spawn(psql, [url, '-Atc', sql], { env: { PATH: '/usr/bin:/bin' } }), '')
        assert.deepEqual((await query('select who from visits')).slice(0, 2), [0, 'ada\n'])
        assert.deepEqual((await query(`insert into visits values ('bob')`)).slice(0, 1), [0])
        assert.match((await query('create table mine ()'))[2], /permission denied/, 'the schema is the migrations’ own')
        await up.stop()
        const again = bench.up('--port', String(port))
        await again.until(/small runs, after/)
        assert.deepEqual((await query('select count(*) from visits')).slice(0, 2), [0, '2\n'])
        await forward.stop()
      },
    )
  })

  test('on the daemon: by the name of the app, and over the death of control', async () => {
    await using daemon = await DaemonBench.start()
    const { bench } = daemon
    replaceApp(bench, {
      'app.ts': appFile(web()).replace(`app('small'`, `app('red'`),
      'web/server.js': files['web/server.js'],
    })
    await daemon.deploy('red')
    const inside = await bench.stead('exec', 'web', 'red', '--', 'sh', '-c', 'echo $STEAD_APP; exit 5')
    assert.deepEqual([inside.code, inside.stdout], [5, 'red\n'], inside.stderr)
    const typed = bench.start('exec', 'web', 'red', '--', 'cat')
    typed.child.stdin?.write('before\n')
    await typed.until(/before\n/)
    const debug = bench.start('debug', 'web', '--app', 'red', '--json')
    await debug.until(/"port":\d+/)
    const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
    await client.ask('initialize', { adapterID: 'node' })
    await client.ask('attach', {})
    await client.event('initialized')
    const source = { path: '/home/me/small/web/server.js' }
    await client.ask('setBreakpoints', { source, breakpoints: [{ line: tickLine }] })
    await client.ask('configurationDone')
    await client.event('stopped')
    const held = async (): Promise<string> => (await bench.stead('status', 'red')).stdout
    const stands = /debugger in red\.web\S* of owner for .*: it stands at a breakpoint/
    await eventually('it is told that it stands', held, (text) => stands.test(text))
    await daemon.kill('control')
    typed.child.stdin?.end('after\n')
    await typed.until(/before\n[^]*after\n/)
    await eventually(
      'a program goes on over it, to its end',
      async () => typed.child.exitCode,
      (code) => code === 0,
    )
    const [top] = listIn(await client.ask('stackTrace', { threadId: 1 }), 'stackFrames')
    assert.equal(top?.['name'], 'tick', 'and so does a debugger')
    await eventually('it still stands', held, (text) => stands.test(text))
    await client.ask('disconnect')
    await eventually('nobody is in it', held, (text) => !/debugger in/.test(text))
    assert.equal((await bench.stead('stop', 'web', 'red')).code, 0)
    await daemon.kill('control')
    const status = await eventually(
      'control is back',
      () => bench.stead('status', 'red'),
      // Until the node has been heard, what it runs is not known.
      ({ code, stdout }) => code === 0 && !stdout.includes('waiting'),
    )
    assert.match(status.stdout, /web +service +stopped .*stopped by owner/)
    assert.equal((await bench.stead('start', 'web', 'red')).code, 0)
    await eventually(
      'the way in leads there',
      () => daemon.answer('small.localhost'),
      (answer) => answer === 200,
    )
    const prune = await bench.stead('prune', '--unused', '10m', '--json')
    assert.deepEqual([prune.code, JSON.parse(prune.stdout)], [0, { dryRun: false, bytes: 0, removed: [] }])
  })
})
