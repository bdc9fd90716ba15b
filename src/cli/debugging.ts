/**
 * What the commands that look into a program share: which one is meant, a process of this machine or a part of an app, and a
 * hold on it for as long as they run. Invariant: the commands cannot tell the two apart.
 */
import { type Duplex, pipeline } from 'node:stream'
import { SteadError, systemClock, systemRandom } from '../base/index.ts'
import {
  type Ability,
  allRecipes,
  chooseRecipe,
  demand,
  type Finding,
  openCoreFile,
  type Profile,
  readProcess,
  type SnapshotReport,
  type StackReport,
} from '../debug/index.ts'
import type { DebugLook, RemoteStream } from '../protocol/index.ts'
import { type Command, helpOf, type Input, usage } from './command.ts'
import { openLasting, type Where } from './lasting.ts'
import type { Looked } from './looked.ts'
import { isForeignProcess, lookAbroad } from './remote/foreign-look.ts'
import { needTarget } from './target.ts'
import { note } from './terminal.ts'

const pidMax = 2 ** 22

/** The options that all of them have. */
export const lookOptions: Command['options'] = {
  pid: { type: 'string' },
  app: { type: 'string' },
}

/** Those of commands that can look at what has ended. */
export const coreOptions: Command['options'] = { core: { type: 'string' }, program: { type: 'string' } }
export const coreHelp = `
  --core FILE --program PROGRAM
               a core file instead (\`stead core\`), and the program that left it`

export interface LookWish {
  /** Absent: nothing may stand after the program and its app. */
  readonly words?: LookWords
  /** Whether requests go on coming to an instance that stands at a breakpoint; false by default. */
  readonly keepTraffic?: boolean
}

/** The words of such a command. */
export interface LookWords {
  /** Null when an option names it. */
  readonly program: string | null
  /** Null: the one here. */
  readonly app: string | null
  readonly rest: readonly string[]
}

/** Takes the words apart: PART [APP] and the rest, which begins with a word that is one of it. Throws `cli.usage`. */
export function lookWords(input: Input, command: Command, isOfRest: (word: string) => boolean): LookWords {
  const app = input.text('app')
  if (input.text('pid') !== null || input.text('core') !== null) return { program: null, app, rest: input.arguments }
  const [program = null, ...after] = input.arguments
  const [next] = after
  if (next === undefined || isOfRest(next)) return { program, app, rest: after }
  if (app !== null) throw usage(`the app is named twice, ${next} and ${app}`, helpOf(command))
  return { program, app: next, rest: after.slice(1) }
}

/** Their help. */
export const lookHelp = `  --pid PID    a process of this machine instead of a part, in a sandbox or not, whoever started it
  APP is a running app or its directory, when it is not the one here; also --app APP
  PART is a part of an app, PART/INSTANCE one instance of it by the end of its name, or ssh://HOST/PID (or the name of its
  program) a process of another machine, reached by your own SSH; nothing has to be installed there.`

/** Opens the program that the command names, by `--pid`, `--core` or its first word. */
export async function lookInto(input: Input, command: Command, ability: Ability, wish: LookWish = {}): Promise<Looked> {
  const pid = input.number('pid', 1, pidMax)
  const say = input.json ? () => undefined : note
  const core = input.text('core')
  const { program, app, rest } = wish.words ?? lookWords(input, command, () => false)
  if (core !== null && pid !== null) throw usage('a core file or a process, not both', helpOf(command))
  if (wish.words === undefined && rest.length > 0)
    throw usage(`a part, or ${core === null ? '--pid' : '--core'}, not both`, helpOf(command))
  if (core !== null) return coreOf(core, input.text('program'), command)
  if (pid !== null) return await processOf(pid, ability, say)
  if (program === null) throw usage(`stead ${command.name} needs a part, or --pid`, helpOf(command))
  if (isForeignProcess(program)) return await lookAbroad(program, ability, say)
  const [part = '', instance = null] = program.split('/')
  return await partOf({ target: await needTarget(app), word: app, part, instance }, ability, wish, say)
}

/** A part that is looked into, and which of its instances; null: the one that came last. */
interface Meant extends Where {
  readonly instance: string | null
}

function coreOf(core: string, program: string | null, command: Command): Looked {
  if (program === null) throw usage('--core needs --program, the file that ran', helpOf(command))
  const opened = openCoreFile({ clock: systemClock, random: systemRandom, core, program })
  return { ...opened, name: core, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() }
}

async function processOf(pid: number, ability: Ability, say: (text: string) => void): Promise<Looked> {
  const facts = readProcess(pid)
  const recipes = await allRecipes({ clock: systemClock, random: systemRandom })
  const chosen = await chooseRecipe(recipes, facts)
  demand(chosen, ability)
  const attached = await chosen.recipe.attach(facts)
  const name = `process ${pid}`
  for (const effect of attached.effects) say(`${name} (${attached.language} ${attached.version}) ${effect}`)
  return { ...attached, name, [Symbol.asyncDispose]: () => attached[Symbol.asyncDispose]() }
}

/** The node that runs the part looks; what is asked and what is seen goes over the platform's own socket. */
async function partOf(
  meant: Meant,
  ability: Ability,
  { keepTraffic = false }: LookWish,
  say: (text: string) => void,
): Promise<Looked> {
  const { part, instance } = meant
  const { operator, app } = meant.target
  const open = (look: DebugLook): Promise<RemoteStream> => operator.open(app, part, { kind: 'debug', instance, look })
  const ask = async (look: DebugLook, signal?: AbortSignal): Promise<unknown> =>
    await answerOf(await open(look), (text) => say(`${part} ${text}`), signal)
  // What comes from the platform is as trusted as the platform.
  const { finding, pid } = (await ask({ what: 'find' })) as { readonly finding: Finding; readonly pid: number }
  demand({ finding }, ability)
  return {
    name: `${part} of ${app}`,
    language: finding.language,
    lost: new Promise(() => undefined),
    stack: async () => (await ask({ what: 'stack' })) as StackReport,
    snapshot: async ({ condition = null, ...request }, signal) =>
      (await ask({ what: 'snapshot', condition, ...request }, signal)) as SnapshotReport,
    profile: async ({ kind, durationMs }, signal) =>
      (await ask({ what: 'profile', profile: kind, durationMs }, signal)) as Profile,
    async serveDap(client) {
      say(`${part} (process ${pid}) is held: not answering is no fault of it while an editor is there`)
      const traffic = keepTraffic ? 'keep' : 'drain'
      const stream = await openLasting(meant, { kind: 'debug', instance, look: { what: 'dap' }, traffic })
      return await carryDap(stream, client, (text) => say(`${part} ${text}`))
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** Most characters of an answer: a profile of a big program. */
const answerBytesMax = 500_000_000

/** Reads the one JSON value of a stream. Aborting asks for an end soon, with what there is. */
async function answerOf(stream: RemoteStream, say: (text: string) => void, signal?: AbortSignal): Promise<unknown> {
  const end = (): void => stream.end()
  signal?.addEventListener('abort', end, { once: true })
  const pieces: Uint8Array[] = []
  let bytesSeen = 0
  for await (const { to, bytes } of stream.pieces) {
    if (to === 'err') sayLines(bytes, say)
    else pieces.push(bytes)
    bytesSeen += bytes.length
    if (bytesSeen > answerBytesMax) stream.close()
  }
  signal?.removeEventListener('abort', end)
  await stream.ended
  try {
    return JSON.parse(Buffer.concat(pieces).toString())
  } catch (cause) {
    throw new SteadError({
      code: 'cli.answer-broken',
      message: 'the answer of the platform broke off',
      hint: 'Try again; `stead status` says how it is.',
      retry: 'later',
      cause,
    })
  }
}

/** Carries one editor's session; answers whether it said goodbye. */
async function carryDap(stream: RemoteStream, client: Duplex, say: (text: string) => void): Promise<boolean> {
  const asking = (async () => {
    for await (const chunk of client as AsyncIterable<Buffer>) await stream.write(chunk)
    stream.close()
  })()
  asking.catch(() => stream.close())
  const seen = async function* (): AsyncGenerator<Uint8Array> {
    for await (const { to, bytes } of stream.pieces) {
      if (to === 'err') sayLines(bytes, say)
      else yield bytes
    }
  }
  await new Promise<void>((resolve) => pipeline(seen, client, () => resolve()))
  stream.close()
  const end = await stream.ended.catch(() => null)
  return end?.code === 0
}

function sayLines(bytes: Uint8Array, say: (text: string) => void): void {
  for (const line of Buffer.from(bytes).toString().split('\n')) if (line !== '') say(line)
}

/** Aborts when the person presses Ctrl-C. */
export function untilInterrupted(): AbortSignal {
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  return controller.signal
}

/** Keeps the command alive while it waits for a process: the room's timers and sockets do not. */
export function awake(): Disposable {
  const timer = setInterval(() => undefined, 60_000)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
