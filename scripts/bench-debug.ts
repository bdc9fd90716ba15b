/**
 * What a debugger costs a program that runs, by language: from asking to the first stop; how long a stack makes it stand; its pace
 * with a debugger that does nothing, and in the second after a snapshot's budget was spent, beside its pace alone. And how long a
 * Node server under load stands for a stack, by its own clock. Prints the tables of docs/measured/debug.md; takes two minutes and a
 * quiet machine. Tools are those of `npm run debug-tools`, after what is on the PATH.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf, systemClock, systemRandom } from '../src/base/index.ts'
import { listeningAgent } from '../src/debug/java/agent.ts'
import { DapClient } from '../src/debug/dap-client.conformance.ts'
import { type Ability, type Attachment, allRecipes, chooseRecipe, findOnPath, readProcess } from '../src/debug/index.ts'
import {
  goProgram,
  javaProgram,
  nativeProgram,
  nodeProgram,
  preparedPython,
  rubyProgram,
  type Program,
  probeLine,
  startPlain,
} from '../test/debug-programs.ts'
import { useDebugTools } from '../test/debug-tools.ts'

useDebugTools()

const stops = 5
const paceRounds = 5
const paceMs = 700

// The room's timers keep no process alive.
const awake = setInterval(() => undefined, 1000)

const programs: readonly (readonly [name: string, program: Program | null])[] = [
  [`Node ${process.versions.node}`, nodeProgram(process.execPath)],
  ['Python', preparedPython('/usr/bin/python3')],
  ['Go', found('go', goProgram)],
  ['C', found('gcc', nativeProgram)],
  ['Java', found('javac', (path) => javaProgram(path.slice(0, path.lastIndexOf('/')), listeningAgent))],
  ['Ruby', found('ruby', (path) => rubyProgram(path, true))],
]

function found(tool: string, make: (path: string) => Program): Program | null {
  const path = findOnPath(tool)
  return path === null ? null : make(path)
}

/** A program that prints how far it has come in each tenth of a second; line 3 of it is passed a thousand times a second and more. */
const counting: Readonly<Record<string, string>> = {
  cjs: `let n = 0, at = performance.now()
function step() {
  n++
}
function spin() { for (let i = 0; i < 300; i++) step(); let x = 0; for (let i = 0; i < 1e6; i++) x += i; if (performance.now() - at >= 100) { console.log(n); n = 0; at = performance.now() } setImmediate(spin) }
spin()`,
  py: `import time
def step(n):
    return n + 1
n, at = 0, time.monotonic()
while True:
    for _ in range(300): n = step(n)
    sum(range(20000))
    if time.monotonic() - at >= 0.1: print(n, flush=True); n, at = 0, time.monotonic()`,
  go: `package main
func step(n int) int {
	return n + 1
}
func main() { n, x, at := 0, 0, time.Now(); for { for i := 0; i < 300; i++ { n = step(n) }; for i := 0; i < 1000000; i++ { x += i }; if time.Since(at) >= 100*time.Millisecond { fmt.Println(n, x&0); n, at = 0, time.Now() } } }
`.replace('package main\n', 'package main; import ("fmt"; "time")\n'),
  c: `#include <stdio.h>
#include <time.h>
static long step(long n) { return n + 1; }
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
int main(void) { volatile long n = 0, x = 0; double at = now(); for (;;) { for (int i = 0; i < 300; i++) n = step(n); for (int i = 0; i < 1000000; i++) x += i; if (now() - at >= 0.1) { printf("%ld\\n", n); fflush(stdout); n = 0; at = now(); } } }`,
  rb: `def step(n)
  n = n + 1
  return n
end
$stdout.sync = true
n, at = 0, Process.clock_gettime(Process::CLOCK_MONOTONIC)
loop do
  300.times { n = step(n) }
  (1..20000).sum { |x| x & 3 }
  now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  if now - at >= 0.1 then puts n; n, at = 0, now end
end`,
  java: `class Ticking {
  static long step(long n) {
    return n + 1;
  }
  public static void main(String[] words) {
    long n = 0, x = 0, at = System.nanoTime();
    for (;;) { for (int i = 0; i < 300; i++) n = step(n); for (int i = 0; i < 1000000; i++) x += i; if (System.nanoTime() - at >= 100000000L) { System.out.println(n + " " + (x & 0)); n = 0; at = System.nanoTime(); } }
  }
}`,
}
const hotLine = 3

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

interface Counting {
  readonly pid: number
  readonly lines: () => Promise<readonly string[]>
}

/** Of the wall's clock, and of the program's own processor time, for which others on the machine are no matter. */
interface Pace {
  readonly wall: number
  readonly own: number
}

/** Milliseconds that the threads of a process have run. */
function ownMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    try {
      return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6
    } catch {
      // It has just ended.
      return 0
    }
  })
  return threads.reduce((sum, ms) => sum + ms, 0)
}

/** How far the program comes, over so long from now: from one line of it to another. */
async function pace({ pid, lines }: Counting, overMs: number): Promise<Pace> {
  const edge = async (): Promise<{ readonly count: number; readonly ms: number; readonly own: number }> => {
    const before = (await lines()).length
    for (;;) {
      const count = (await lines()).length
      if (count > before) return { count, ms: systemClock.monotonicMs(), own: ownMs(pid) }
      await pause(2)
    }
  }
  const from = await edge()
  await pause(overMs)
  const to = await edge()
  const counted = (await lines()).slice(from.count, to.count).reduce((sum, line) => sum + Number(line.split(' ')[0]), 0)
  return { wall: counted / (to.ms - from.ms), own: counted / (to.own - from.own) }
}

/** The medians of shares of both, in percent. */
function percentOf(pairs: readonly (readonly [of: Pace, before: Pace])[]): Pace {
  const share = (kind: keyof Pace): number => 100 * median(pairs.map(([of, before]) => of[kind] / before[kind]))
  return { wall: share('wall'), own: share('own') }
}

/** Its pace with an editor attached, of its pace just before: rounds of both one after another, of which the median counts. */
async function idlePace(program: Counting, file: string): Promise<Pace> {
  const pairs: [Pace, Pace][] = []
  for (let round = 0; round < paceRounds; round++) {
    const alone = await pace(program, paceMs)
    const { end } = await editor(program.pid, file, null)
    // What coming in costs is over then.
    await pause(1000)
    pairs.push([await pace(program, paceMs), alone])
    await end()
    await pause(200)
  }
  return percentOf(pairs)
}

/** Its pace in the second after a snapshot of ten hits on a line, of its pace just before. */
async function paceAfter(program: Counting, file: string, line: number, expression: string): Promise<Pace> {
  const pairs: [Pace, Pace][] = []
  for (let round = 0; round < paceRounds; round++) {
    await using attached = await attachTo(program.pid)
    const alone = await pace(program, paceMs)
    const report = await attached.snapshot({ file, line, expressions: [expression], hits: 10, timeMs: 20_000 })
    if (report.hits.length === 0) throw new Error(`nothing was seen: ${report.ended}`)
    pairs.push([await pace(program, 1000), alone])
  }
  return percentOf(pairs)
}

const none: Pace = { wall: Number.NaN, own: Number.NaN }
const showPace = ({ wall, own }: Pace): string => (Number.isNaN(wall) ? '—' : `${show(wall, '%')} (${show(own, '%')})`)
const show = (value: number, unit: string): string =>
  Number.isNaN(value) ? '—' : `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`

/** A figure, or nothing where the language or the machine has no such thing. */
async function tried<T>(
  name: string,
  can: readonly Ability[],
  needs: Ability,
  nothing: T,
  work: () => Promise<T>,
): Promise<T> {
  if (!can.includes(needs)) return nothing
  return await work().catch((error: unknown) => {
    console.error(`${name}: ${messageOf(error)}`)
    return nothing
  })
}

async function measured(name: string, program: Program): Promise<string> {
  const file = `ticking.${program.extension}`
  const ticking = await startPlain(program)('ticking')
  await pause(1000)
  const { can } = (await chooseRecipe(recipes, readProcess(ticking.pid))).finding
  const stood: number[] = []
  const first = await tried(name, can, 'dap', Number.NaN, async () => {
    const times: number[] = []
    for (let round = 0; round < stops; round++) {
      const { ms, end } = await editor(ticking.pid, file, probeLine)
      times.push(ms)
      await end()
    }
    return median(times)
  })
  const whole = await tried(name, can, 'stack', Number.NaN, async () => {
    const times: number[] = []
    for (let round = 0; round < stops; round++) {
      const fromMs = systemClock.monotonicMs()
      await using attached = await attachTo(ticking.pid)
      stood.push((await attached.stack()).stoppedMs)
      times.push(systemClock.monotonicMs() - fromMs)
    }
    return median(times)
  })
  await ticking.end()
  const source = counting[program.extension] ?? ''
  const fast = await startPlain({ ...program, sources: { ticking: source, hanging: source } })('ticking')
  await pause(1500)
  const idle = await tried(name, can, 'dap', none, () => idlePace(fast, file))
  const after = await tried(name, can, 'snapshot', none, () => paceAfter(fast, file, hotLine, 'n'))
  await fast.end()
  const cells = [show(first, 'ms'), show(median(stood), 'ms'), show(whole, 'ms'), showPace(idle), showPace(after)]
  return `| ${[name, ...cells].join(' | ')} |`
}

/** A server that says, by its own clock, the longest time in which nothing of it ran since it was asked before. */
const server = `let longest = 0, at = performance.now()
setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - at); at = now }, 1)
require('node:http').createServer((question, answer) => {
  if (question.url !== '/longest') return answer.end('ok')
  answer.end(String(longest)); longest = 0
}).listen(0, '127.0.0.1', function () { console.log(this.address().port) })`

/** The longest time that a Node server which answers requests stood still: without a stack, and for one; medians of five. */
async function serverStands(): Promise<{ readonly without: number; readonly with: number; readonly said: number }> {
  const dir = mkdtempSync(join(tmpdir(), 'stead-bench-'))
  writeFileSync(join(dir, 'server.cjs'), server)
  const child = spawn(process.execPath, ['--inspect-port=0', join(dir, 'server.cjs')], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const port = Number(
    await new Promise<string>((resolve) => child.stdout.once('data', (text) => resolve(String(text)))),
  )
  const agent = new Agent({ keepAlive: true })
  const ask = (path: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const asked = get({ host: '127.0.0.1', port, path, agent }, (answer) => {
        let body = ''
        answer.on('data', (text) => (body += String(text))).on('end', () => resolve(body))
      })
      asked.on('error', reject)
    })
  let over = false
  const clients = Array.from({ length: 4 }, async () => {
    while (!over) {
      await ask('/')
      await pause(2)
    }
  })
  const [without, withStack, said]: [number[], number[], number[]] = [[], [], []]
  await pause(500)
  for (let round = 0; round < stops; round++) {
    await ask('/longest')
    await pause(500)
    without.push(Number(await ask('/longest')))
    {
      await using attached = await attachTo(child.pid ?? 0)
      said.push((await attached.stack()).stoppedMs)
    }
    withStack.push(Number(await ask('/longest')))
  }
  over = true
  await Promise.all(clients)
  agent.destroy()
  child.kill()
  rmSync(dir, { recursive: true, force: true })
  return { without: median(without), with: median(withStack), said: median(said) }
}

/** A server whose handler does what many do; it counts its requests, and says how many in each tenth of a second. */
const answering = `let n = 0, at = performance.now()
const goods = JSON.stringify(Array.from({ length: 60 }, (_, id) => ({ id, name: 'item ' + id, price: (id * 7) % 13 })))
require('node:http').createServer((question, answer) => {
  const { pathname } = new URL(question.url, 'http://x')
  const items = JSON.parse(goods).filter(({ price }) => price > 3).sort((a, b) => a.price - b.price)
  answer.end(JSON.stringify({ pathname, items }))
  n++
  if (performance.now() - at >= 100) { console.log(n); n = 0; at = performance.now() }
}).listen(0, '127.0.0.1', function () { console.log('port ' + this.address().port) })`
const handlerLine = 6
const loader = `const http = require('node:http'), agent = new http.Agent({ keepAlive: true })
const ask = () => http.get({ host: '127.0.0.1', port: process.argv[1], agent, path: '/a?b=1' }, (answer) => answer.resume().on('end', ask))
for (let i = 0; i < 10; i++) ask()`

/** Requests of a server that is asked all the time: attached and idle, and in the second after a snapshot; shares of before. */
async function serverPace(): Promise<{ readonly idle: Pace; readonly after: Pace }> {
  const program = nodeProgram(process.execPath)
  const server = await startPlain({ ...program, sources: { ticking: answering, hanging: answering } })('ticking')
  await pause(500)
  const port = (await server.lines())[0]?.split(' ')[1] ?? ''
  const load = spawn(process.execPath, ['-e', loader, port], { stdio: 'ignore' })
  try {
    await pause(4000)
    const counting: Counting = server
    const idle = await idlePace(counting, 'ticking.cjs')
    return { idle, after: await paceAfter(counting, 'ticking.cjs', handlerLine, 'pathname') }
  } finally {
    load.kill()
    await server.end()
  }
}

const only = process.argv[2]
console.log(
  `| language | attach to first stop | stack: stands | stack: in all | pace, attached and idle | pace in the second after a snapshot |`,
)
console.log('|---|---|---|---|---|---|')
for (const [name, program] of programs)
  if (program !== null && (only === undefined || name.startsWith(only))) console.log(await measured(name, program))
const stands = await serverStands()
console.log(
  '\n| a Node server under load stands for at most | by its own clock | as `stead stack` says |\n|---|---|---|',
)
console.log(`| without a stack | ${show(stands.without, 'ms')} | |`)
console.log(`| attach, stack, detach | ${show(stands.with, 'ms')} | ${show(stands.said, 'ms')} |`)
const served = await serverPace()
console.log('\n| a Node server, of its requests before | |\n|---|---|')
console.log(`| attached and idle | ${showPace(served.idle)} |`)
console.log(`| in the second after a snapshot of ten hits | ${showPace(served.after)} |`)
clearInterval(awake)
