/**
 * What a debugger costs a program that runs, by language: from asking to the first stop, a stack, and the pace of a program
 * that a debugger is attached to and does nothing with. Prints a table for docs/measured/debug.md. Needs a quiet machine.
 */
import { duplexPair } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock, systemRandom } from '../src/base/index.ts'
import { DapClient } from '../src/debug/dap-client.conformance.ts'
import { type Attachment, allRecipes, chooseRecipe, findOnPath, readProcess } from '../src/debug/index.ts'
import {
  goProgram,
  javaProgram,
  nativeProgram,
  nodeProgram,
  preparedPython,
  type Program,
  probeLine,
  startPlain,
} from '../test/debug-programs.ts'

const rounds = 5
const paceMs = 2000

// The room's timers keep no process alive.
const awake = setInterval(() => undefined, 1000)

const programs: readonly (readonly [name: string, program: Program | null])[] = [
  [`Node ${process.versions.node}`, nodeProgram(process.execPath)],
  ['Python', preparedPython('/usr/bin/python3')],
  ['Go', found('go', goProgram)],
  ['C', found('gcc', nativeProgram)],
  ['Java', found('javac', (path) => javaProgram(path.slice(0, path.lastIndexOf('/')), ''))],
]

function found(tool: string, make: (path: string) => Program): Program | null {
  const path = findOnPath(tool)
  return path === null ? null : make(path)
}

/** A program that prints how far it has come in each fifth of a second, for the pace. */
const counting: Readonly<Record<string, string>> = {
  cjs: `let n = 0, at = Date.now()
function spin() { for (let i = 0; i < 1e5; i++) n++; if (Date.now() - at >= 200) { console.log(n); n = 0; at = Date.now() } setImmediate(spin) }
spin()`,
  py: `import time
n, at = 0, time.time()
while True:
    for _ in range(1000): n += 1
    if time.time() - at >= 0.2: print(n, flush=True); n, at = 0, time.time()`,
  go: `package main
import ("fmt"; "time")
func main() { n, at := 0, time.Now(); for { for i := 0; i < 100000; i++ { n++ }; if time.Since(at) >= 200*time.Millisecond { fmt.Println(n); n, at = 0, time.Now() } } }`,
  c: `#include <stdio.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
int main(void) { volatile long n = 0; double at = now(); for (;;) { for (int i = 0; i < 100000; i++) n++; if (now() - at >= 0.2) { printf("%ld\\n", n); fflush(stdout); n = 0; at = now(); } } }`,
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN

const recipes = await allRecipes({ clock: systemClock, random: systemRandom })

async function attachTo(pid: number): Promise<Attachment> {
  const facts = readProcess(pid)
  return await (await chooseRecipe(recipes, facts)).recipe.attach(facts)
}

/** Attaches as an editor does. With a line the time until it stopped there is what counts. */
async function editor(
  pid: number,
  file: string,
  line: number | null,
): Promise<{ readonly ms: number; readonly end: () => Promise<void> }> {
  const fromMs = systemClock.monotonicMs()
  const attached = await attachTo(pid)
  const [ours, theirs] = duplexPair()
  const session = attached.serveDap(theirs)
  const client = new DapClient(ours)
  await client.ask('initialize', { adapterID: 'bench' })
  await client.ask('attach', {})
  await client.event('initialized')
  if (line !== null) await client.ask('setBreakpoints', { source: { path: `/x/${file}` }, breakpoints: [{ line }] })
  await client.ask('configurationDone')
  if (line !== null) await client.event('stopped')
  const ms = systemClock.monotonicMs() - fromMs
  return {
    ms,
    async end() {
      await client.ask('disconnect', {})
      await session
      await attached[Symbol.asyncDispose]()
    },
  }
}

async function pace(lines: () => Promise<readonly string[]>): Promise<number> {
  await pause(400)
  const before = (await lines()).length
  await pause(paceMs)
  return median((await lines()).slice(before).map(Number))
}

console.log(
  '| language | attach to first stop, median of 5 | stack: stood still | stack: in all | pace while attached |',
)
console.log('|---|---|---|---|---|')
for (const [name, program] of programs) {
  if (program === null) continue
  const ticking = await startPlain(program)('ticking')
  await pause(1500)
  const file = `ticking.${program.extension}`
  const can = (await chooseRecipe(recipes, readProcess(ticking.pid))).finding.can
  const stops: number[] = []
  const stood: number[] = []
  const took: number[] = []
  for (let round = 0; round < rounds; round++) {
    if (can.includes('dap')) {
      const { ms, end } = await editor(ticking.pid, file, probeLine)
      stops.push(ms)
      await end()
    }
    const fromMs = systemClock.monotonicMs()
    await using attached = await attachTo(ticking.pid)
    stood.push((await attached.stack()).stoppedMs)
    took.push(systemClock.monotonicMs() - fromMs)
  }
  await ticking.end()
  const source = counting[program.extension]
  let kept = NaN
  if (source !== undefined && can.includes('dap')) {
    const fast = await startPlain({ ...program, sources: { ticking: source, hanging: source } })('ticking')
    const alone = await pace(() => fast.lines())
    const { end } = await editor(fast.pid, file, null)
    kept = (100 * (await pace(() => fast.lines()))) / alone
    await end()
    await fast.end()
  }
  const show = (value: number, unit: string): string => (Number.isNaN(value) ? '—' : `${Math.round(value)} ${unit}`)
  console.log(
    `| ${name} | ${show(median(stops), 'ms')} | ${show(median(stood), 'ms')} | ${show(median(took), 'ms')} | ${show(kept, '%')} |`,
  )
}
clearInterval(awake)
