/** The example `foreign`: a program from npm that nobody here wrote, unmodified, used as a person would. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { eventually, examplesDir, freePort, Workbench } from './command-line.ts'

interface Note {
  readonly title: string
  readonly body: string
}

/** Asks the GraphQL interface through the way in. */
function graphql(
  port: number,
  query: string,
  variables: object = {},
): Promise<{ data?: Record<string, unknown>; errors?: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = { host: 'graphql.localhost', 'content-type': 'application/json' }
    const question = request({ host: '127.0.0.1', port, path: '/graphql', method: 'POST', agent: false, headers })
    question.on('error', reject)
    question.on('response', (answer) => {
      text(answer).then((body) => {
        if (answer.statusCode === 200) resolve(JSON.parse(body) as { data?: Record<string, unknown> })
        else reject(new Error(`${answer.statusCode}: ${body.slice(0, 300)}`))
      }, reject)
    })
    question.end(JSON.stringify({ query, variables }))
  })
}

const write = `mutation ($title: String!, $body: String!) {
  createNote(input: { note: { title: $title, body: $body } }) { note { id title body } }
}`
const read = '{ allNotes(orderBy: ID_ASC) { nodes { title body } } }'

async function notes(port: number): Promise<readonly Note[]> {
  const { data, errors } = await graphql(port, read)
  assert.equal(errors, undefined)
  assert.ok(data !== undefined)
  return (data['allNotes'] as { nodes: Note[] }).nodes
}

suite('the example foreign', () => {
  test('is used, restarted, stopped and started, and has kept everything', async (t) => {
    await using bench = new Workbench()
    bench.useExample('foreign')
    const lock = readFileSync(join(examplesDir, 'foreign/api/package-lock.json'), 'utf8')
    assert.ok(lock.includes('"integrity"') && !lock.includes('"resolved"'), 'every package is named by its content')
    const port = await freePort()
    const up = bench.up('--port', String(port))
    const started = await up.until(/foreign runs, after/, 180_000).then(
      () => null,
      (error: unknown) => String(error),
    )
    if (started?.includes('registry') === true) return t.skip('needs the npm registry')
    assert.equal(started, null)

    const notesWritten = [
      { title: 'Kettle', body: 'descale it' },
      { title: 'Ümläut', body: `it's "fine"; drop table notes; --` },
    ]
    for (const note of notesWritten) {
      const { data, errors } = await graphql(port, write, note)
      assert.equal(errors, undefined)
      assert.ok(data !== undefined)
      const { id: _id, ...kept } = (data['createNote'] as { note: Note & { id: string } }).note
      assert.deepEqual(kept, note)
    }
    assert.deepEqual(await notes(port), notesWritten)

    assert.equal((await bench.stead('restart', 'api')).code, 0)
    assert.deepEqual(await notes(port), notesWritten)
    const { code, stdout } = await bench.stead('exec', 'api', '--', 'node_modules/.bin/postgraphile', '--version')
    assert.deepEqual([code, stdout.trim()], [0, '4.14.1'], 'it is the one of npm')

    assert.equal((await up.stop()).code, 0)
    const again = bench.up('--port', String(port))
    await again.until(/foreign runs, after/)
    await eventually(
      'everything is there',
      () => notes(port),
      (found) => found.length === 2,
    )
    assert.deepEqual(await notes(port), notesWritten)
  })
})
