/** The filter as a program: however its input is cut, what comes out holds none of the texts and all of the rest. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { findProgram } from './drivers/programs.ts'
import { filtered, filterFile, filterProgram } from './filter.ts'

const perl = findProgram('perl')

interface Place extends Disposable {
  readonly file: string
  start(): ChildProcess
}

function placeOf(texts: readonly string[]): Place {
  const dir = mkdtempSync(join(tmpdir(), 'stead-filter-'))
  const file = join(dir, 'texts')
  writeFileSync(file, filterFile(texts.map((text) => Buffer.from(text, 'latin1'))))
  return {
    file,
    start: () => spawn(perl ?? '', ['-e', filterProgram, file], { stdio: ['pipe', 'pipe', 'inherit'] }),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true }),
  }
}

suite('the output filter', { skip: perl === null ? 'needs perl' : false }, () => {
  test('texts are replaced wherever they stand, also one that another begins with; the rest is unchanged', () => {
    using place = placeOf(['secret-one', 'secret-one-longer', 'a.*b', '\xff\x00\xfe'])
    const input = Buffer.from('x secret-one y secret-one-longer z a.*b aXXb \xff\x00\xfe \xff\x00 secret-on', 'latin1')
    const { stdout } = spawnSync(perl ?? '', ['-e', filterProgram, place.file], { input })
    const expected = `x ${filtered} y ${filtered} z ${filtered} aXXb ${filtered} \xff\x00 secret-on`
    assert.equal(stdout.toString('latin1'), expected)
  })

  test('however the input is cut, the same comes out', async () => {
    using place = placeOf(['hunter2hunter2', 'abcabcabc'])
    const random = seededRandom(3)
    const roll = (sides: number): number => (random.bytes(1)[0] ?? 0) % sides
    const pieces = ['hunter2hunter2', 'abcabcabc', 'hunter2', 'abc', '\n', ' ok ']
    const input = Array.from({ length: 60 }, () => pieces[roll(pieces.length)]).join('')
    const whole = spawnSync(perl ?? '', ['-e', filterProgram, place.file], { input }).stdout.toString()
    const child = place.start()
    const out: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
    for (let at = 0; at < input.length;) {
      const size = 1 + roll(12)
      child.stdin?.write(input.slice(at, at + size))
      await new Promise((resolve) => setTimeout(resolve, 1))
      at += size
    }
    child.stdin?.end()
    await once(child, 'close')
    assert.equal(Buffer.concat(out).toString(), whole)
    assert.doesNotMatch(whole, /hunter2hunter2|abcabcabc/)
    assert.ok(whole.includes(filtered))
  })

  test('a line goes on at once, signals do not end it, and a file that goes away takes nothing back', async () => {
    using place = placeOf(['hunter2hunter2'])
    const child = place.start()
    const say = async (line: string): Promise<string> => {
      child.stdin?.write(line)
      const [chunk] = (await once(child.stdout ?? child, 'data')) as [Buffer]
      return chunk.toString()
    }
    assert.equal(await say('one hunter2hunter2\n'), `one ${filtered}\n`)
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) child.kill(signal)
    rmSync(place.file)
    assert.equal(await say('two hunter2hunter2\n'), `two ${filtered}\n`)
    child.stdin?.end()
    const [code] = (await once(child, 'close')) as [number]
    assert.equal(code, 0)
  })
})
