/** Mistakes of a person and of a machine, through the real command: each is told in a sentence with a hint, and changes nothing. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { needsRoot } from './needs.ts'
import {
  appFile,
  assertRefused,
  changingNothing,
  failedUp,
  leftBehind,
  type Refusal,
  replaceApp,
  runOnce,
  server,
  web,
} from './small-app.ts'

const good = { 'app.ts': appFile(web()), 'web/server.js': server }

/** The only file of the state directory that fits. */
function stateFile(bench: Workbench, pattern: string): string {
  const [path, ...more] = globSync(join(bench.dir, 's', 'apps', '*', pattern))
  assert.ok(path !== undefined && more.length === 0, `one ${pattern}`)
  return path
}

suite('a bad app file is refused before anything is made', () => {
  const cases: readonly (readonly [string, Readonly<Record<string, string>>, Refusal])[] = [
    [
      'does not compile',
      { 'app.ts': `import { app } from 'stead'\nconst a = = 1\n` },
      { says: /app\.ts:2:11 does not compile/, hint: /2 \| const a = = 1/ },
    ],
    [
      'throws',
      { 'app.ts': appFile(`throw new Error('no luck')`) },
      { says: /app\.ts:3:7 threw Error: no luck/, hint: /take it out/ },
    ],
    ['loops for ever', { 'app.ts': appFile('for (;;) {}') }, { says: /did not finish within 5s/, hint: /loop/ }],
    [
      'has two parts of one name',
      { 'app.ts': appFile(`${web()}\nconst other = service('web', { run: ['node'] })`, '{ parts: { web, other } }') },
      { says: /app\.ts.*the same name: service 'web'/, hint: /Rename one/ },
    ],
    [
      'has a cycle',
      {
        'app.ts': `import { app } from 'stead'\nimport { a } from './a.ts'\nexport default app('small', () => ({ parts: { a } }))`,
        'a.ts': `import { service } from 'stead'\nimport { b } from './b.ts'\nexport const a = service('a', { run: ['node'], http: 1, use: { b } })`,
        'b.ts': `import { service } from 'stead'\nimport { a } from './a.ts'\nexport const b = service('b', { run: ['node'], http: 1, use: { a } })`,
      },
      { says: /b\.ts:3:\d+ threw ReferenceError/, hint: /in a circle/ },
    ],
    [
      'names a directory of code that is not there',
      { 'app.ts': appFile(web()) },
      { says: /app\.ts: service 'web' needs the directory .*\/web, which is not there/, hint: /correct the name/ },
    ],
    [
      'names a directory of migrations that is not there',
      { ...good, 'app.ts': appFile(`const db = postgres('db', { migrations: './none' })\n${web('use: { db }')}`) },
      { says: /app\.ts: postgres 'db' needs the directory .*\/none/, hint: /correct the name/ },
    ],
    ['is not there', {}, { says: /no app file in \//, hint: /app\.ts/ }],
  ]
  for (const [index, [name, files, refusal]] of cases.entries()) {
    const options = index === 0 ? ['--detach'] : []
    test(`an app file that ${name}`, async () => {
      await using bench = new Workbench()
      replaceApp(bench, files)
      assertRefused(await failedUp(bench, ...options), refusal)
      assert.ok(!existsSync(join(bench.dir, 's')), 'no state directory was made')
    })
  }
})

test('a wrong command line is refused with what would be right', async () => {
  await using bench = new Workbench()
  const cases: readonly (readonly [readonly string[], RegExp, RegExp])[] = [
    [['upp'], /no command upp/, /up, status/],
    [['up', '--potr', '1'], /stead up has no option --potr/, /Example: stead up/],
    [['status', '--port', '1'], /stead status has no option --port/, /Example: stead status/],
    [['up', '--port', 'abc'], /--port must be a number from 0 to 65535, not 'abc'/, /--port 8080/],
    [['up', '--port', '70000'], /not '70000'/, /--port 8080/],
    [['up', '--port'], /'--port <value>' argument missing/, /Example: stead up/],
    [['logs', '-n', '0'], /--lines \(-n\) must be a number from 1/, /--lines/],
    [['up', 'a', 'b'], /too many arguments/, /Example: stead up/],
  ]
  for (const [argv, says, hint] of cases) assertRefused(await bench.stead(...argv), { code: 2, says, hint })
  const asJson = await bench.stead('up', '--port', 'abc', '--json')
  const told = JSON.parse(asJson.stdout) as { readonly error: string; readonly message: string; readonly hint: string }
  assert.deepEqual([asJson.code, asJson.stderr, told.error], [2, '', 'cli.usage'])
  assert.ok(!existsSync(join(bench.dir, 's')), 'no state directory was made')
})

suite('what is wrong with a part is told with the name of the part', () => {
  test('a port that is taken, with who has it', async () => {
    await using bench = new Workbench()
    bench.write(good)
    await runOnce(bench)
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const address = other.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      const result = await changingNothing(bench, () => failedUp(bench, '--port', String(port)))
      const who = process.platform === 'linux' ? `Port ${port} .*taken by .*\\(${process.pid}\\)` : `Port ${port}`
      assertRefused(result, { says: new RegExp(who), hint: /another port/ })
      const detached = await bench.stead('up', '.', '--detach', '--port', String(port))
      assertRefused(detached, { says: new RegExp(`did not start: ${who}`), hint: /another port[^]*up\.log/ })
    } finally {
      other.close()
    }
  })

  test('a service that answers 500, with what it printed', async () => {
    await using bench = new Workbench()
    const broken = `console.log('I am up')
      require('node:http').createServer((q, a) => a.writeHead(500).end()).listen(process.env.PORT)`
    bench.write({ 'app.ts': appFile(web(`ready: { http: '/health', timeout: '2s' }`)), 'web/server.js': broken })
    const result = await failedUp(bench)
    assertRefused(result, { says: /service 'web' gave up.*GET \/health answered 500/, hint: /Within 2s.*GET \/health/ })
    assert.match(result.stderr, /last lines of web:\n +I am up/)
    assert.deepEqual(leftBehind(bench), [])
  })

  test('dependencies that cannot be installed', async () => {
    await using bench = new Workbench()
    const python = `const web = service('web', { from: './web', run: ['python3', 'x.py'] })`
    const name = 'no-such-package-of-stead-tests'
    replaceApp(bench, {
      'app.ts': appFile(python, '{ parts: { web } }'),
      'web/x.py': '',
      'web/requirements.txt': `${name}==1.0\n`,
    })
    assertRefused(await failedUp(bench), {
      says: /web: pip install/,
      hint: new RegExp(`${name}[^]*requirements\\.txt`),
    })
    const lock = { name: 'web', lockfileVersion: 3, packages: { '': { name: 'web' } } }
    replaceApp(bench, {
      ...good,
      'web/package.json': JSON.stringify({ name: 'web', dependencies: { croner: '11.0.1' } }),
      'web/package-lock.json': JSON.stringify(lock),
    })
    assertRefused(await failedUp(bench), { says: /web: package-lock\.json.*depends on croner/, hint: /npm install/ })
    assert.deepEqual(leftBehind(bench), [])
  })
})

suite('what is wrong with the state directory', () => {
  test('damaged records, a damaged plan, another format: which file, and what to do', async () => {
    await using bench = new Workbench()
    bench.write(good)
    await runOnce(bench)
    const format = stateFile(bench, 'format.json')
    writeFileSync(format, '{"version":99}')
    for (const command of ['up', 'down']) {
      const result = await changingNothing(bench, () => bench.stead(command, '.'))
      assertRefused(result, { says: /another version of Stead \(format 99/, hint: /Run the version that wrote it/ })
    }
    writeFileSync(format, '{"ver')
    const torn = await changingNothing(bench, () => failedUp(bench))
    assertRefused(torn, { says: /format\.json is damaged/, hint: /write \{"version":2\}/ })
    writeFileSync(format, '{"version":2}')

    const plan = stateFile(bench, 'agent/plan.json')
    writeFileSync(plan, '{"epoch":3,"rev')
    assertRefused(await failedUp(bench), { says: /plan\.json cannot be read/, hint: /Delete the file/ })
    assert.deepEqual(leftBehind(bench), [])
    rmSync(plan)
    await runOnce(bench)

    const store = stateFile(bench, 'store.sqlite')
    const middle = statSync(store).size >> 1
    const fd = openSync(store, 'r+')
    writeSync(fd, Buffer.alloc(Math.min(8192, middle), 0x5a), 0, undefined, middle)
    closeSync(fd)
    const damaged = await changingNothing(bench, () => failedUp(bench))
    assertRefused(damaged, { says: /store\.sqlite is damaged/, hint: /Put a copy[^]*down --delete-data/ })
    assert.equal((await bench.stead('down', '--delete-data')).code, 0)
    await runOnce(bench)
  })

  test('one that cannot be written', async () => {
    await using bench = new Workbench({ env: { STEAD_STATE: '/dev/null/state' } })
    bench.write(good)
    assertRefused(await failedUp(bench), { says: /state directory cannot be made/, hint: /STEAD_STATE and STEAD_RUN/ })
  })

  test('a disk that is too full is refused early, with figures', { skip: needsRoot() }, async () => {
    await using bench = new Workbench()
    bench.write(good)
    const disk = join(bench.dir, 's')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=20m,mode=711', 'tmpfs', disk])
    try {
      const result = await changingNothing(bench, () => failedUp(bench))
      assertRefused(result, { says: /has 20MiB free, and an app needs 256MiB/, hint: /Make room/ })
    } finally {
      execFileSync('umount', [disk])
    }
  })

  test('two platforms at once: one runs, the other says so', async () => {
    await using bench = new Workbench()
    bench.write(good)
    await runOnce(bench)
    const port = await freePort()
    const both = [bench.up('--port', String(port)), bench.up('--port', '0')]
    const lost = await eventually(
      'one of them ends',
      async () => both.find(({ child }) => child.exitCode !== null),
      (found) => found !== undefined,
    )
    const won = both.find((running) => running !== lost)
    await won?.until(/small runs, after/)
    assert.match(lost?.output() ?? '', /stead: (?:another stead is working on|small already runs from) \//)
    assert.equal(lost?.child.exitCode, 1)
    if (won === both[0]) assert.equal((await ask(port, '/', { host: 'small.localhost' })).body, 'ok')
    assert.equal((await won?.stop())?.code, 0)
  })
})
