/** The crash tests of the conformance suite: a child process works on a domain and dies at a step; the domain is the old or the new. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { extname, join } from 'node:path'
import { test } from 'node:test'
import { type DomainConformance, get, names, withPlace } from './place.conformance.ts'

const childTimeoutMs = 120_000

/** What a domain may look like after the child acknowledged some changes and died: those have happened, the next one may have. */
const stages: readonly {
  readonly acknowledged: string
  readonly copies: readonly string[]
  readonly marker: string
}[] = [
  { acknowledged: '', copies: [], marker: 'live' },
  { acknowledged: 'open', copies: [], marker: 'live' },
  { acknowledged: 'checkpoint', copies: ['checkpoint checkpoint'], marker: 'live' },
  { acknowledged: 'clone', copies: ['checkpoint checkpoint', 'clone clone'], marker: 'live' },
  { acknowledged: 'swap', copies: ['checkpoint checkpoint', 'branch before'], marker: 'livecloned' },
  { acknowledged: 'delete', copies: ['branch before'], marker: 'livecloned' },
]

/** Registers the crash tests: a kill at each step of a swap, or, which takes minutes, of every change from the opening on. */
export function crashTests(given: DomainConformance, of: 'swap' | 'everything'): void {
  const stepsMax = 400
  const exhaustive = of === 'everything'
  const title = exhaustive ? 'a kill at any step of any change' : 'a kill at any step of a swap'

  test(`${title} leaves the old or the new`, { timeout: 1_200_000 }, async () => {
    const lengths = await runChild(given, 0)
    const total = Number(/close after (\d+) steps/.exec(lengths.last)?.[1])
    assert.ok(total > 10 && total < stepsMax, `the child took ${total} steps: ${lengths.last}`)
    const seen = new Set<string>()
    // A swap is near the end: the suite for every day begins where the clone has been made.
    const from = exhaustive ? 1 : await lastStepOf(given, 'clone', total)
    for (let step = from; step <= total; step += 1) {
      const { last } = await runChild(given, step)
      seen.add(last)
      if (!exhaustive && last === 'swap') break
    }
    assert.ok(seen.has('clone') && seen.has('swap'), `died after ${[...seen].join(', ')}`)
  })
}

/** By halving: the first step at which the child has acknowledged `what` before it dies. */
async function lastStepOf(given: DomainConformance, what: string, total: number): Promise<number> {
  const order = stages.map((stage) => stage.acknowledged)
  let [low, high] = [1, total]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const { last } = await runChild(given, middle)
    if (order.indexOf(last) >= order.indexOf(what) || last.startsWith('close')) high = middle
    else low = middle + 1
  }
  return low
}

/** One child that dies at a step, on a domain of its own; checks the domain afterwards and tells what was acknowledged last. */
async function runChild(given: DomainConformance, dieAt: number): Promise<{ readonly last: string }> {
  let last = ''
  await withPlace(given, async (place) => {
    const options = { ...place.options, id: 'crash' }
    const child = join(import.meta.dirname, `crash-child.conformance${extname(import.meta.filename)}`)
    const { module, name } = given.load
    const argv = [
      child,
      module,
      name,
      JSON.stringify(given.load.options),
      options.root,
      String(options.sizeBytes),
      String(dieAt),
    ]
    const output = await new Promise<string>((resolve, reject) => {
      execFile(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', ...argv],
        { timeout: childTimeoutMs },
        (error, stdout, stderr) => {
          if (error !== null && error.signal !== 'SIGKILL') reject(new Error(stderr, { cause: error }))
          else resolve(stdout)
        },
      )
    })
    last = output.trimEnd().split('\n').at(-1) ?? ''
    const index = stages.findIndex((stage) => stage.acknowledged === (last.startsWith('close') ? 'delete' : last))
    const possible = stages.slice(index, index + 2)
    const domain = await given.driver.open(options)
    try {
      const found = { copies: names(await domain.list()), marker: await markerIn(domain.path, index < 2) }
      assert.ok(
        possible.some(({ copies, marker }) => copies.join() === found.copies.join() && marker === found.marker),
        `killed at step ${dieAt} after "${last}": ${JSON.stringify(found)}`,
      )
      assert.equal(domain.generation, found.copies.includes('branch before') ? 2 : 1)
      for (const copy of await domain.list()) assert.match(await get(copy.path, 'marker'), /^live/)
      await domain.checkpoint('goes-on')
    } finally {
      await domain.close()
    }
  })
  return { last }
}

/** The child writes the file after the opening: until it has acknowledged more, the file may not be there, or be empty. */
async function markerIn(path: string, early: boolean): Promise<string> {
  const text = await get(path, 'marker').catch(() => '')
  return text === '' && early ? 'live' : text
}
