/**
 * examples/notes on the real daemon: a service that keeps its state itself is checkpointed under writes, released, gone back
 * with, branched and drilled as a database is, and nothing that was acknowledged is missing from both what is live and what was
 * kept.
 */
import assert from 'node:assert/strict'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { stateConformance } from '../src/provider/state/conformance.ts'
import { ask, examplesDir } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsFile } from './needs.ts'

const skip = needsFile('/usr/bin/python3', 'apt-get install python3')

interface Load extends AsyncDisposable {
  stop(): Promise<{ readonly kept: readonly string[]; readonly refused: readonly number[] }>
}

/** Keeps notes one after another, until told to stop; answers those that were acknowledged. */
function writeNotes(port: number): Load {
  const kept: string[] = []
  const refused: number[] = []
  let going = true
  const lane = async (name: string): Promise<void> => {
    for (let number = 0; going; number += 1) {
      const note = `${name}-${number}`
      const { status } = await ask(port, `/${note}`, { host: 'notes.localhost', method: 'POST' }).catch(() => ({
        status: 0,
      }))
      if (status === 201) kept.push(note)
      else refused.push(status)
    }
  }
  const running = [lane('a'), lane('b')]
  const stop = async (): Promise<{ kept: readonly string[]; refused: readonly number[] }> => {
    going = false
    await Promise.all(running)
    return { kept, refused }
  }
  return { stop, [Symbol.asyncDispose]: async () => void (await stop()) }
}

async function read(port: number, host = 'notes.localhost'): Promise<ReadonlySet<string>> {
  const { status, body } = await ask(port, '/', { host })
  assert.equal(status, 200, body)
  return new Set(JSON.parse(body) as string[])
}

const word = (text: string): readonly [string, ...string[]] => ['python3', 'notes.py', text]

stateConformance(
  'examples/notes',
  {
    cwd: join(examplesDir, 'notes', 'notes'),
    run: word('serve'),
    state: { quiesce: word('hold'), checkpoint: word('flush'), restore: word('reopen'), verify: word('check') },
    async write(port, item) {
      assert.equal((await ask(port, `/${item}`, { method: 'POST' })).status, 201)
    },
    async items(port) {
      return (JSON.parse((await ask(port, '/')).body) as string[]).map(Number)
    },
  },
  { skip },
)

suite('a service that keeps its state itself', { skip, timeout: 300_000 }, () => {
  test('checkpoint, release, going back and branch, under writes: nothing acknowledged is missing from both', async () => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    const stead = async (...words: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await bench.stead(...words, '--app', 'notes')
      assert.equal(code, 0, stderr)
      return stdout
    }
    bench.useExample('notes')
    // What is not to be decided here is how fast the machine is.
    const file = readFileSync(join(bench.appDir, 'app.ts'), 'utf8')
    bench.write({ 'app.ts': file.replace('state: {', `state: { pause: '50s',`) })
    await daemon.deploy('notes')
    await using load = writeNotes(port)

    await stead('checkpoint', 'early')
    appendFileSync(join(bench.appDir, 'notes', 'notes.py'), '# A newer release.\n')
    const newer = await bench.stead('deploy', '.', '--watch', '1s')
    assert.equal(newer.code, 0, newer.stderr)
    assert.equal((await ask(port, '/after-the-release', { host: 'notes.localhost', method: 'POST' })).status, 201)

    const back = await stead('rollback', '--with-data')
    assert.match(back, /notes-state files: .*updated/)
    const { kept } = await load.stop()
    const live = await read(port)
    assert.ok(!live.has('after-the-release'), 'it went back')
    assert.ok(live.size > 0)

    const branch = /left-by-\d+/.exec(back)?.[0] ?? 'left-by-2'
    await stead('branch', 'try', '--from', branch)
    const left = await read(port, 'try.notes.localhost')
    assert.ok(left.has('after-the-release'))
    assert.deepEqual(
      kept.filter((note) => !live.has(note) && !left.has(note)),
      [],
      'nothing acknowledged is missing',
    )
    await stead('branch', 'try', '--rm')
  })
})
