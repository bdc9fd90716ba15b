/** Parts from images: what stands in the graph, that it is read back, and what is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { app, job, parseGraph, service, toGraph } from './index.ts'
import type { ServiceOptions, WithProgram } from './index.ts'

test('an image stands in the graph as it was said, and is read back', async () => {
  const cache = service('cache', { image: 'oci:reg.example.org/team/redis:7', user: 'redis', tcp: 6379 })
  const own = { image: 'oci:./web.tar', run: ['/serve'], writable: true } as const
  const web = service('web', { ...own, http: 80, ready: '/ok', use: { cache } })
  const once = job('once', { image: 'oci:once:1', users: 'image' })
  const graph = toGraph(
    app('x', () => ({ parts: { cache, web, once } })),
    { name: 'local', production: false },
  )
  const parts = new Map(graph.parts.map((part) => [part.name, part]))
  const imageOf = (name: string): unknown => {
    const part = parts.get(name)
    return part?.kind === 'resource' ? null : [part?.run, part?.image]
  }
  assert.deepEqual(imageOf('cache'), [[], { from: 'oci:reg.example.org/team/redis:7', user: 'redis', health: true }])
  assert.deepEqual(imageOf('web'), [['/serve'], { from: 'oci:./web.tar', writable: true }])
  assert.deepEqual(imageOf('once'), [[], { from: 'oci:once:1', users: 'image' }])
  assert.deepEqual(await parseGraph(JSON.parse(JSON.stringify(graph))), graph)
})

test('what makes no sense is refused by its option', () => {
  const refused: readonly (readonly [object, RegExp])[] = [
    [{}, /run/],
    [{ image: 'redis:7' }, /image/],
    [{ image: 'oci:' }, /image/],
    [{ image: 'oci:x', from: './web' }, /from/],
    [{ image: 'oci:x', user: 'a b' }, /user/],
    [{ image: 'oci:x', users: 'all' }, /users/],
    [{ run: ['x'], users: 'image' }, /users/],
    [{ run: ['x'], user: 'redis' }, /user/],
    [{ run: ['x'], writable: true }, /writable/],
    [{ image: 'oci:x', run: [] }, /run/],
  ]
  for (const [options, words] of refused) {
    // Some of it does not compile; a file in JavaScript can say it all the same.
    assert.throws(() => service('web', options as ServiceOptions & WithProgram), {
      code: 'model.bad-option',
      message: words,
    })
  }
})
