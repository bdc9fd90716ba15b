/** `stead top`: what every instance uses, live. */
import { setTimeout as pause } from 'node:timers/promises'
import type { OperatorClient } from '../../operator/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { type Load, type LoadOrder, loadOrders, Loads, ordered } from '../load.ts'
import { needDaemon, needTarget } from '../target.ts'
import { paint, print, size, table } from '../terminal.ts'

/** Nodes look at what programs use every three seconds: so long the first figures take. */
const settleMs = 3500
const everyMs = 1000

export const topCommand: Command = {
  name: 'top',
  usage: '[APP]',
  summary: 'what every instance uses, live',
  help: `  --all         every app that \`stead serve\` runs
  --sort        cpu, memory, requests or name (cpu)
  --once        one table, after the few seconds that the first figures take; also what there is without a terminal
  --json        with --once an array, else one such array a line for as long as it runs
  CPU is of one core: 150 % are one and a half. Requests are those to the part, all its instances together. On a terminal the
  keys c, m, r and n sort, q ends.
  Example: stead top --sort memory`,
  options: { all: { type: 'boolean' }, sort: { type: 'string' }, once: { type: 'boolean' } },
  argumentsMax: 1,
  async run(input) {
    const [word = null] = input.arguments
    const order = input.text('sort') ?? 'cpu'
    if (!isOrder(order)) throw usage(`--sort is one of ${loadOrders.join(', ')}, not ${order}`, helpOf(topCommand))
    const source = await sourceOf(word, input.flag('all'))
    const interrupted = untilInterrupted()
    const loads = new Loads()
    const look = async (): Promise<readonly Load[]> => await looked(source, loads)
    const isLive = !input.flag('once') && (input.json || (process.stdout.isTTY && process.stdin.isTTY))
    if (isLive && !input.json) return await live(look, order, interrupted)
    await look()
    await pause(settleMs, null, { signal: interrupted }).catch(() => {})
    do {
      const now = ordered(await look(), order)
      print(input.json ? JSON.stringify(now) : shown(now))
      if (isLive) await pause(everyMs, null, { signal: interrupted }).catch(() => {})
    } while (isLive && !interrupted.aborted)
    return exitCodes.ok
  },
}

/** Who is asked, and for which apps; null: for all. */
interface Source {
  readonly operator: OperatorClient
  readonly app: string | null
}

async function sourceOf(word: string | null, all: boolean): Promise<Source> {
  return all ? { operator: await needDaemon(word), app: null } : await needTarget(word)
}

async function looked({ operator, app }: Source, loads: Loads): Promise<readonly Load[]> {
  const apps = app === null ? (await operator.platform()).apps.map((one) => one.app) : [app]
  const statuses = await Promise.all(apps.map((one) => operator.status(one)))
  const nowMs = performance.now()
  return statuses.flatMap((status) => loads.of(status, nowMs))
}

const keys: Readonly<Record<string, LoadOrder>> = { c: 'cpu', m: 'memory', r: 'requests', n: 'name' }
/** The screen beside the one that was there, without a cursor; and back. */
const screen = {
  open: '\u001b[?1049h\u001b[?25l',
  close: '\u001b[?25h\u001b[?1049l',
  home: '\u001b[H',
  rest: '\u001b[J',
}

/** Draws the table anew every second, until somebody has seen enough. */
async function live(look: () => Promise<readonly Load[]>, first: LoadOrder, interrupted: AbortSignal): Promise<number> {
  const { stdin, stdout } = process
  let order = first
  const enough = new AbortController()
  const stop = AbortSignal.any([interrupted, enough.signal])
  let now: readonly Load[] = []
  const draw = (): void => {
    const lines = shown(ordered(now, order)).split('\n')
    const title = `${paint('bold', new Date().toLocaleTimeString())}  ${paint('dim', `by ${order}; c cpu, m memory, r requests, n name, q ends`)}`
    // A line that is too long would wrap, and the table move.
    const fitting = [title, '', ...lines].slice(0, (stdout.rows ?? 24) - 1)
    stdout.write(
      `${screen.home}${fitting.map((line) => `${cut(line, stdout.columns ?? 80)}\u001b[K`).join('\r\n')}${screen.rest}`,
    )
  }
  const type = (bytes: Buffer): void => {
    const key = bytes.toString()
    if (key === 'q' || key === '\u0003') return enough.abort()
    const chosen = keys[key]
    if (chosen === undefined) return
    order = chosen
    draw()
  }
  stdin.setRawMode(true)
  stdin.on('data', type)
  stdout.write(screen.open)
  try {
    while (!stop.aborted) {
      now = await look()
      draw()
      await pause(everyMs, null, { signal: stop }).catch(() => {})
    }
  } finally {
    stdout.write(screen.close)
    stdin.off('data', type)
    stdin.setRawMode(false)
    stdin.destroy()
  }
  return exitCodes.ok
}

function shown(loads: readonly Load[]): string {
  const several = new Set(loads.map(({ app }) => app)).size > 1
  const head = [...(several ? ['APP'] : []), 'PART', 'INSTANCE', 'STATE', 'CPU', 'MEMORY', 'REQ/S', 'ERR/S', 'P99', '']
  const seen = new Set<string>()
  const rows = loads.map((load) => {
    // What is counted for the part stands once.
    const isFirst = !seen.has(`${load.app}/${load.part}`)
    seen.add(`${load.app}/${load.part}`)
    const rate = (value: number | null): string => (value === null || !isFirst ? '' : value.toFixed(value < 10 ? 1 : 0))
    const { instance, cores, memoryBytes, p99Ms } = load
    return [
      ...(several ? [load.app] : []),
      load.part,
      instance === null ? '' : instance.slice(instance.lastIndexOf('.') + 1),
      load.phase === 'ready' ? paint('green', load.phase) : paint('yellow', load.phase),
      cores === null ? '' : `${(cores * 100).toFixed(0)} %`,
      memoryBytes === null ? '' : size(memoryBytes),
      rate(load.requestsPerSecond),
      rate(load.errorsPerSecond),
      p99Ms === null || !isFirst ? '' : `${p99Ms.toFixed(0)} ms`,
      moreOf(load),
    ]
  })
  return table([head.map((word) => paint('dim', word)), ...rows])
}

function moreOf({ restarts, waiting, debuggers }: Load): string {
  return [
    restarts === 0 ? [] : [`${restarts} restarts`],
    waiting === null ? [] : [`${waiting} wait`],
    debuggers.map((by) => paint('yellow', `debugger of ${by}`)),
  ]
    .flat()
    .join(', ')
}

/** The first characters that are seen; colours take no room. */
function cut(line: string, width: number): string {
  let room = width
  return line.replace(
    // The escape character is what makes a colour sequence.
    // oxlint-disable-next-line no-control-regex
    /(\u001b\[[0-9;]*m)|([^\u001b])/g,
    (_whole, colour: string | undefined, char: string | undefined) => colour ?? (room-- > 0 ? (char ?? '') : ''),
  )
}

function isOrder(word: string): word is LoadOrder {
  return (loadOrders as readonly string[]).includes(word)
}
