/** The logins of a database are changed over under load, through the real command line, again and again. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

interface Listed {
  readonly name: string
  readonly current: number
  readonly rotation: string | null
}

async function list(bench: Workbench): Promise<readonly Listed[]> {
  const { stdout } = await bench.stead('secret', 'list', '--json')
  return (JSON.parse(stdout) as { secrets: readonly Listed[] }).secrets
}

const isDone = (name: string, version: number) => (secrets: readonly Listed[]) => {
  const found = secrets.find((secret) => secret.name === name)
  return found?.current === version && found.rotation === null
}

suite('rotation under load', { skip }, () => {
  test('the logins of a database are changed over under load, without a failed request', async () => {
    await using bench = new Workbench()
    bench.useExample('shop')
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/shop runs, after/)
    const statuses: number[] = []
    let loading = true
    const load = Array.from({ length: 3 }, async () => {
      while (loading) statuses.push((await ask(port, '/')).status)
    })
    for (const version of [2, 3, 4]) {
      const rotated = await bench.stead('secret', 'rotate', 'db', '--json')
      assert.equal(rotated.code, 0, rotated.stderr)
      await eventually('the change', () => list(bench), isDone('db/web', version), 60_000)
      const served = statuses.length
      await eventually(
        'requests after it',
        () => Promise.resolve(statuses.length),
        (count) => count > served + 10,
      )
    }
    loading = false
    await Promise.all(load)
    assert.deepEqual([...new Set(statuses)], [200], `${statuses.length} requests`)
  })
})
