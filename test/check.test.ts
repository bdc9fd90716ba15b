/** `stead check`, `uptime`, `versions` and `prices` as people run them: the real command line, files, exit codes, registries. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, suite, test } from 'node:test'

const main = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts')

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const directories: string[] = []
after(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })))

function place(files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'stead-check-'))
  directories.push(directory)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text)
  }
  return directory
}

function stead(cwd: string, args: readonly string[], input = ''): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd, timeout: 60_000, env: { ...process.env, NO_COLOR: '1' }, maxBuffer: 64 * 1024 * 1024 }
    const child = execFile(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', main, ...args],
      options,
      (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr }),
    )
    child.stdin?.end(input)
  })
}

const pod =
  '# a pod\napiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec:\n  securityContext: { runAsUser: 1000 }\n  containers:\n    - name: web\n      image: r.example.com/web:1.4.2\n'
const open = 'services:\n  db:\n    image: postgres:18.1\n    ports: ["5432:5432"]\n'

suite('stead check', () => {
  test('exit codes: nothing that counts, findings, what cannot be read, a wrong command line', async () => {
    const directory = place({ 'pod.yaml': pod, 'open/compose.yaml': open, 'broken/pod.yaml': `${pod}  containers: [` })
    const codes = await Promise.all(
      [
        ['pod.yaml'],
        ['open'],
        ['broken'],
        ['nowhere.yaml'],
        ['empty'],
        ['--format', 'xml'],
        ['pod.yaml', '--fail-on', 'medium'],
        ['--standard', 'strict'],
      ].map((args) => stead(directory, ['check', ...args])),
    )
    assert.deepEqual(
      codes.map(({ code }) => code),
      [0, 4, 1, 1, 1, 2, 4, 2],
      codes.map(({ stdout, stderr }) => stdout + stderr).join('\n'),
    )
    assert.match(codes[2]?.stdout ?? '', /broken\/pod\.yaml:10:\d+ {2}this is not YAML/)
    assert.match(codes[3]?.stderr ?? '', /There is no file or directory nowhere\.yaml/)
  })

  test('--diff shows what --fix does; --fix keeps mode and comments, and twice changes nothing', async () => {
    const directory = place({ 'pod.yaml': pod })
    chmodSync(join(directory, 'pod.yaml'), 0o640)
    symlinkSync('pod.yaml', join(directory, 'link.yaml'))
    const diff = await stead(directory, ['check', 'pod.yaml', '--diff'])
    assert.match(diff.stdout, /^\+ {6}securityContext:\n\+ {8}allowPrivilegeEscalation: false/m)
    assert.equal(readFileSync(join(directory, 'pod.yaml'), 'utf8'), pod)
    const fixed = await stead(directory, ['check', 'link.yaml', '--fix', '--fail-on', 'medium'])
    assert.match(fixed.stderr, /mended link\.yaml/)
    const text = readFileSync(join(directory, 'pod.yaml'), 'utf8')
    assert.ok(text.startsWith('# a pod\n') && text.includes('runAsNonRoot: true'))
    assert.equal(statSync(join(directory, 'pod.yaml')).mode & 0o777, 0o640)
    assert.doesNotMatch(fixed.stdout, /pod-security/)
    const second = await stead(directory, ['check', 'pod.yaml', '--fix'])
    assert.doesNotMatch(second.stderr, /mended/)
    assert.equal(readFileSync(join(directory, 'pod.yaml'), 'utf8'), text)
  })

  test('standard input, JSON, SARIF, rules explained', async () => {
    const directory = place({})
    const [json, sarif, rule, none] = await Promise.all([
      stead(directory, ['check', '-', '--json'], pod),
      stead(directory, ['check', '-', '--format', 'sarif'], pod),
      stead(directory, ['check', '--explain', 'pod-security.privileged']),
      stead(directory, ['check', '--explain', 'no.such-rule']),
    ])
    assert.equal(Object(JSON.parse(json.stdout)).objects, 1)
    assert.equal(Object(JSON.parse(sarif.stdout)).runs[0].tool.driver.name, 'stead check')
    assert.match(rule.stdout, /No container is privileged/)
    assert.equal(none.code, 2)
  })

  test('exceptions and a baseline from files', async () => {
    const exception =
      'suppressions:\n  - { rule: security.public-data-port, object: service db, reason: a demo, owner: me, until: 2099-01-01 }\n'
    const day = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)
    const directory = place({ 'compose.yaml': open, 'stead-check.yaml': exception })
    const far = await stead(directory, ['check'])
    assert.equal(far.code, 1)
    assert.match(far.stderr, /stead-check\.yaml:2:\d+: until may be at most 366 days/)
    writeFileSync(join(directory, 'stead-check.yaml'), exception.replace('2099-01-01', day))
    assert.equal((await stead(directory, ['check'])).code, 0)
    writeFileSync(join(directory, 'stead-check.yaml'), '')
    assert.equal((await stead(directory, ['check', '--write-baseline', 'known.json'])).code, 4)
    const known = await stead(directory, ['check', '--baseline', 'known.json'])
    assert.equal(known.code, 0)
    assert.match(known.stdout, /in the baseline/)
  })

  test('hostile inputs end quickly, in one sentence each', async () => {
    const bomb = [
      'a0: &a0 [x, x, x, x, x, x, x, x, x, x]',
      ...Array.from(
        { length: 40 },
        (_, level) => `a${level + 1}: &a${level + 1} [${Array.from({ length: 10 }, () => `*a${level}`).join(', ')}]`,
      ),
    ].join('\n')
    const directory = place({
      'bomb.yaml': `kind: Pod\n${bomb}`,
      'deep.yaml': `kind: ${'{a: '.repeat(100_000)}`,
      'long.yaml': `kind: Pod\n${'- '.repeat(200_000)}`,
    })
    writeFileSync(join(directory, 'huge.yaml'), '')
    // Sparse: it has a size, and takes no room.
    await import('node:fs/promises').then(({ truncate }) => truncate(join(directory, 'huge.yaml'), 3 * 1024 ** 3))
    const { code, stdout, stderr } = await stead(directory, ['check', '--all'])
    assert.equal(code, 1, stderr)
    for (const name of ['bomb.yaml', 'deep.yaml', 'huge.yaml'])
      assert.match(stdout, new RegExp(`^ {2}${name}:\\d+:\\d+ {2}.+`, 'm'))
  })

  test('a Stead app is read from its app file', async () => {
    const directory = place({
      'app.ts': `import { app, postgres, service } from ${JSON.stringify(join(import.meta.dirname, '..', 'src', 'model', 'index.ts'))}\nexport default app('shop', () => {\n  const db = postgres('db')\n  const web = service('web', { run: ['node', 'web.ts'], http: 3000, use: { db } })\n  return { parts: { web }, public: { 'shop.localhost': web } }\n})\n`,
    })
    const [checked, uptime] = await Promise.all([stead(directory, ['check']), stead(directory, ['uptime', '--json'])])
    assert.equal(checked.code, 0, checked.stdout + checked.stderr)
    assert.doesNotMatch(checked.stdout, /pod-security/)
    const [entry] = Object(JSON.parse(uptime.stdout)).entries
    assert.equal(entry.name, 'web')
    assert.ok(entry.singlePointsOfFailure.some(({ label }: { label: string }) => label === 'db'))
  })
})

suite('stead versions', () => {
  const servers: Server[] = []
  after(() => servers.forEach((server) => server.close()))

  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  }

  test('fetch asks registries, keeps what they said, and what did not answer stays as it was', async () => {
    const asked: string[] = []
    const host = await serve((request, response) => {
      const url = request.url ?? ''
      asked.push(url)
      const send = (body: object, headers: Record<string, string> = {}): void =>
        void response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
      if (url.startsWith('/token')) return send({ token: 't' })
      if (url === '/left')
        return send({
          versions: { '1.0.0': {}, '2.0.0': {} },
          time: { '1.0.0': '2020-01-01T00:00:00Z', '2.0.0': '2026-01-01T00:00:00Z' },
        })
      if (url.startsWith('/v2/shop/web/') && request.headers.authorization !== 'Bearer t')
        return void response
          .writeHead(401, {
            'www-authenticate': `Bearer realm="http://${request.headers.host ?? ''}/token",service="s",scope="repository:shop/web:pull"`,
          })
          .end()
      if (url === '/v2/shop/web/tags/list?n=1000')
        return send({ tags: ['1.4.2'] }, { link: '</v2/shop/web/tags/list?n=1000&last=1.4.2>; rel="next"' })
      if (url.startsWith('/v2/shop/web/tags/list?n=1000&last')) return send({ tags: ['1.5.0', 'latest'] })
      response.writeHead(500).end()
    })
    const lock = {
      lockfileVersion: 3,
      packages: {
        'node_modules/left': { version: '1.0.0', integrity: 'sha512-x' },
        'node_modules/gone': { version: '1.0.0', integrity: 'sha512-x' },
      },
    }
    const directory = place({
      'compose.yaml': `services:\n  web: { image: "${host}/shop/web:1.4.2" }\n`,
      'package-lock.json': JSON.stringify(lock),
    })
    const before = await stead(directory, ['versions', '--json'])
    assert.deepEqual(asked, [], 'nothing is asked without fetch')
    assert.ok((JSON.parse(before.stdout) as { behind: string }[]).every(({ behind }) => behind === 'unknown'))
    const fetched = await stead(directory, ['versions', 'fetch', '--npm-registry', `http://${host}`])
    assert.equal(fetched.code, 4)
    assert.match(fetched.stderr, /no answer npm:gone: the registry answered 500/)
    assert.match(fetched.stdout, /2 of 3 answered/)
    const count = asked.length
    const after = await stead(directory, ['versions'])
    assert.match(after.stdout, /package {2}left +1\.0\.0 +-> 2\.0\.0 +major, 1 releases behind +\d+ days old/)
    assert.match(after.stdout, /image +\S+\/shop\/web +1\.4\.2 +-> 1\.5\.0 +minor, 1 releases behind/)
    await stead(directory, ['check'])
    assert.equal(asked.length, count, 'a check asks nobody')
  })
})

suite('stead prices', () => {
  test('a table, an import of another, a plan, a machine of your own', async () => {
    const plan = {
      format_version: '1.2',
      planned_values: {
        root_module: {
          resources: [
            { address: 'aws_instance.a', mode: 'managed', type: 'aws_instance', values: { instance_type: 'm5.large' } },
          ],
        },
      },
    }
    const directory = place({
      'plan.json': JSON.stringify(plan),
      'mine.txt':
        'source mine 2026-11-01 https://example.com\nregion AWS us-east-1 USD\nmachine hour mine m5.large=1\n',
      'bad.txt': 'machine\n',
    })
    const built = await stead(directory, ['prices', 'plan.json'])
    assert.match(built.stdout, /70\.08 USD fixed/)
    assert.match(built.stdout, /AWS us-east-1; prices of 2026-07-20/)
    assert.equal((await stead(directory, ['prices', 'import', 'bad.txt'])).code, 1)
    assert.equal((await stead(directory, ['prices', 'import', 'mine.txt'])).code, 0)
    assert.match((await stead(directory, ['prices', 'plan.json'])).stdout, /730\.00 USD fixed/)
    assert.match(
      (await stead(directory, ['prices', 'own', '--price', '1200', '--years', '4', '--watts', '100', '--kwh', '0.3']))
        .stdout,
      /46\.90 a month/,
    )
    assert.equal((await stead(directory, ['prices', 'own'])).code, 2)
  })
})
