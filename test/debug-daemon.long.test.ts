/** Parts of a daemon in languages that have to be prepared: stack, values and an editor's session, by the commands. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { DapClient, listIn } from '../src/debug/dap-client.conformance.ts'
import { findDebugpy, findOnPath } from '../src/debug/index.ts'
import { until } from '../src/debug/bench.conformance.ts'
import { DaemonBench } from './daemon-bench.ts'
import { javaProgram, probeLine, pythonProgram, rubyProgram } from './debug-programs.ts'
import { useDebugTools } from './debug-tools.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

useDebugTools()

const compiler = findOnPath('javac')
const tools = compiler === null ? '/usr/bin' : dirname(realpathSync(compiler))
const skip = needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'install bubblewrap'))
const languages = [
  { part: 'java', file: 'ticking.java', lacks: compiler === null ? 'needs javac' : false },
  { part: 'ruby', file: 'ticking.rb', lacks: needsFile('/usr/bin/ruby', 'scripts/setup.mjs --debuggers') },
  {
    part: 'python',
    file: 'ticking.py',
    lacks: (await findDebugpy()) === null ? 'needs debugpy: npm run debug-tools' : false,
  },
]
const here = languages.filter(({ lacks }) => lacks === false).map(({ part }) => part)

suite('parts of a daemon in other languages', { skip, timeout: 400_000 }, () => {
  let daemon: DaemonBench
  before(async () => {
    daemon = await DaemonBench.start()
    const runs: Readonly<Record<string, string>> = {
      java: `['${tools}/java', '-Xmx64m', '-cp', '.', 'Ticking']`,
      ruby: `['ruby', 'ticking.rb']`,
      python: `['python3', 'ticking.py']`,
    }
    const declared = here.map(
      (part) =>
        `const ${part} = service('${part}', { run: ${runs[part] ?? '[]'}, from: './${part}', limits: { memory: '700MB' } })`,
    )
    daemon.bench.write({
      'app.ts': [
        `import { app, service } from 'stead'`,
        `export default app('spoken', () => {`,
        ...declared,
        `return { parts: { ${here.join(', ')} } }`,
        `})`,
      ].join('\n'),
      'java/ticking.java': javaProgram(tools, '').sources.ticking,
      'ruby/ticking.rb': rubyProgram('ruby', true).sources.ticking,
      'python/ticking.py': pythonProgram('python3').sources.ticking,
    })
    if (here.includes('java')) execFileSync(`${tools}/javac`, ['-g', join(daemon.bench.appDir, 'java/ticking.java')])
    await daemon.deploy('spoken')
  })
  after(() => daemon[Symbol.asyncDispose]())

  for (const { part, file, lacks } of languages) {
    test(part, { skip: lacks }, async () => {
      const { bench } = daemon
      const stack = await bench.stead('stack', part)
      assert.match(stack.stdout, /tick/, stack.stderr)
      const seen = await bench.stead('snapshot', part, `${file}:${probeLine}`, 'count', 'password', '--hits', '2')
      assert.match(seen.stdout, /count = \d+\n {2}password = \[redacted\]/, seen.stderr)
      const debug = bench.start('debug', part, '--json')
      await debug.until(/"port":\d+/)
      const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
      await client.ask('initialize', { adapterID: part })
      await client.ask('attach', {})
      await client.event('initialized')
      const source = { path: `/home/somebody/${file}` }
      const set = await client.ask('setBreakpoints', { source, breakpoints: [{ line: probeLine }] })
      assert.equal(listIn(set, 'breakpoints')[0]?.['verified'], true, JSON.stringify(set))
      await client.ask('configurationDone')
      const { threadId } = await client.event('stopped')
      const [frame] = listIn(await client.ask('stackTrace', { threadId, levels: 20 }), 'stackFrames')
      const { result } = await client.ask('evaluate', { expression: 'count + 1', frameId: frame?.['id'] })
      assert.match(String(result), /^\d+$/)
      assert.match((await bench.stead('status')).stdout, /debugger in .* it stands at a breakpoint/)
      await client.ask('disconnect')
      await until(() => debug.child.exitCode !== null, 'the command to end')
      assert.equal(debug.child.exitCode, 0, debug.output())
      const { parts } = JSON.parse((await bench.stead('status', '--json')).stdout)
      const now = parts.find((one: { readonly part: string }) => one.part === part)
      assert.deepEqual([now.phase, now.restarts], ['ready', 0])
    })
  }
})
