/** The README tells what is so: its example runs, its table is that of the drivers, its list of errors is complete. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { needsGuests } from '../../test/machine-parts.ts'
import { describeCapabilities } from './capabilities.ts'
import { variants } from './fixtures/drivers.ts'

const readme = readFileSync(`${import.meta.dirname}/README.md`, 'utf8')
const skip = needsAll(
  needsRoot(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/s6-log', 'apt-get install s6'),
)

test('the table is what the drivers say', { skip }, () => {
  const drivers = ['bubblewrap', 'process'].map((name) => variants[name]?.() ?? assert.fail(name))
  const shown = /<!-- capabilities -->\n([\s\S]*?)\n<!-- \/capabilities -->/.exec(readme)?.[1]
  assert.equal(shown?.trim(), describeCapabilities(drivers))
})

test('the table of guests is what the drivers say', { skip: needsAll(skip, needsGuests()) }, () => {
  const drivers = ['vm', 'uml'].map((name) => variants[name]?.() ?? assert.fail(name))
  const shown = /<!-- guests -->\n([\s\S]*?)\n<!-- \/guests -->/.exec(readme)?.[1]
  // What is weaker depends on the machine.
  const plain = drivers.map(({ name, capabilities }) => ({ name, capabilities: { ...capabilities, weaker: [] } }))
  assert.equal(shown?.trim(), describeCapabilities(plain))
})

test('every error code is listed, and no other', () => {
  const sources = globSync(`${import.meta.dirname}/**/*.ts`).filter((path) => !path.endsWith('.test.ts'))
  const thrown = sources.flatMap((path) => readFileSync(path, 'utf8').match(/(?<=code: ')sandbox\.[a-z-]+/g) ?? [])
  const listed = readme.match(/(?<=\| `)sandbox\.[a-z-]+/g) ?? []
  assert.deepEqual(listed.toSorted(), [...new Set(thrown)].toSorted())
})

test('the example runs', { skip }, () => {
  const directory = mkdtempSync(`${tmpdir()}/stead-readme-`)
  try {
    const example = (/```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '')
      .replace("'stead/base'", `'${import.meta.dirname}/../base/index.ts'`)
      .replace("'stead/sandbox'", `'${import.meta.dirname}/index.ts'`)
      .replaceAll('/tmp/hello-1', `${directory}/hello-1`)
      .replace("'hello-1'", `'readme-${process.pid}'`)
    writeFileSync(`${directory}/example.ts`, example)
    writeFileSync(`${directory}/package.json`, '{ "type": "module" }')
    const { stdout, stderr } = spawnSync(process.execPath, [`${directory}/example.ts`], {
      encoding: 'utf8',
      timeout: 60_000,
    })
    assert.match(stdout, /^ended with code 3$/m, stderr)
    assert.match(stdout, /Z hello from app$/m)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
