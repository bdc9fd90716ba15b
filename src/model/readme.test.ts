/** The example in README.md is an app file that evaluates. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { evaluateAppFile } from '../evaluate/index.ts'

test('the example in README.md runs', async () => {
  const readme = await readFile(join(import.meta.dirname, 'README.md'), 'utf8')
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? assert.fail('no example')
  const root = await mkdtemp(join(tmpdir(), 'stead-readme-'))
  try {
    await writeFile(join(root, 'app.ts'), example)
    for (const directory of ['migrations', 'api', 'web', 'jobs']) await mkdir(join(root, directory))
    const graph = await evaluateAppFile(root, { environment: { name: 'local', production: false }, timeoutMs: 60_000 })
    const names = ['api', 'db', 'session-key', 'tidy', 'web']
    assert.deepEqual(
      graph.parts.map((part) => part.name),
      names,
    )
    assert.ok(graph.routes.every((route) => route.host === 'shop.localhost'))
  } finally {
    await rm(root, { recursive: true, force: true })
  }
})

test('README.md lists every error code of the room, and no other', async () => {
  const files = [
    'app',
    'backup',
    'check',
    'invariants',
    'parse',
    'program',
    'ready',
    'resource',
    'routes',
    'service',
    'state',
  ].map((name) => `${name}.ts`)
  const texts = await Promise.all(files.map((file) => readFile(join(import.meta.dirname, file), 'utf8')))
  const used = new Set(
    texts
      .join('\n')
      .match(/'model\.[a-z-]+'/g)
      ?.map((code) => code.slice(1, -1)),
  )
  const readme = await readFile(join(import.meta.dirname, 'README.md'), 'utf8')
  const listed = new Set([...readme.matchAll(/^\| `(model\.[a-z-]+)`/gm)].map((match) => match[1] ?? ''))
  assert.deepEqual(used, listed)
})
