/**
 * State that a service keeps itself: where it lies in the app's data, and its hooks. Before a copy, whoever keeps state is
 * brought to rest and writes down what it has in memory; what came back is restored before it is started from; a copy is
 * verified.
 *
 * Invariants: who was brought to rest is told to go on, whatever happens; a copy that took longer than the rest was promised
 * to last is none; state is marked with the place that it was last started in, and the mark is copied with it, so what came
 * from elsewhere is known by looking.
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { messageOf, randomId, SteadError } from '../base/index.ts'
import { type StateConfig, stateConfigOf, type StateHook, stateType } from '../model/index.ts'
import type { DataPlace, Edge, InstanceAssignment, ResourceAssignment } from '../protocol/index.ts'
import { limitsWithin, type Mount, type Sandbox, type SandboxSpec } from '../sandbox/index.ts'
import { bundleOf } from './fetch.ts'
import { broughtBy } from './image.ts'
import { layoutOf } from './layout.ts'
import type { AgentOptions } from './options.ts'
import { giveTo } from './owners.ts'
import { lastLines } from './resource-context.ts'

const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants

/** Where a service finds its state, in a sandbox of its own. */
const inside = '/state'
const tmpBytes = 64 * 1024 * 1024
/** Of a hook, kept for a person. */
const outputBytesMax = 1024 * 1024
const saidCharsMax = 2000

/** State where it lies on this node. */
export interface StatePlace {
  readonly part: string
  readonly config: StateConfig
  readonly generation: number
  /** Directory of the files, the service's own. */
  readonly filesDir: string
  /** What the mark says once it was started from here, and where the mark is. */
  readonly mark: string
  readonly markPath: string
}

/** The edge of an instance to its state; null when it keeps none. */
export function stateEdge({ edges }: Pick<InstanceAssignment, 'edges'>): Edge | null {
  return edges.find(({ type }) => type === stateType) ?? null
}

/** The files of a state in the tree of a copy, or of the live data. */
export function stateFiles(tree: string, part: string): string {
  return join(tree, part, 'files')
}

/** The state of a resource in a tree; null when its config is none. */
export function statePlace(
  tree: string,
  { part, config }: Pick<ResourceAssignment, 'part' | 'config'>,
  { copy, generation }: DataPlace,
): StatePlace | null {
  const own = stateConfigOf(config)
  if (own === null) return null
  const mark = copy === null ? `live ${generation}` : `copy ${copy}`
  return { part, config: own, generation, filesDir: stateFiles(tree, part), mark, markPath: join(tree, part, 'mark') }
}

/** What a program needs to find state; nothing where there is none. */
interface StateMount {
  readonly env: Readonly<Record<string, string>>
  readonly mounts: readonly Mount[]
}

function stateMount({ sandbox }: Pick<AgentOptions, 'sandbox'>, state: StatePlace | null): StateMount {
  if (state === null) return { env: {}, mounts: [] }
  const mounted = sandbox.capabilities.isolation !== 'refused'
  const target = mounted ? inside : state.filesDir
  const mounts: Mount[] = mounted ? [{ source: state.filesDir, target, access: 'read-write' }] : []
  return { env: { STEAD_STATE_DIR: target, STEAD_GENERATION: String(state.generation) }, mounts }
}

/**
 * Makes state fit to be started from: its directory is there, and what came from elsewhere has been restored. Answers what
 * the instance needs to find it. Throws `agent.state-hook-failed`, `agent.no-bundle`.
 */
export async function readyState(
  options: AgentOptions,
  assignment: InstanceAssignment,
  state: StatePlace | null,
): Promise<StateMount> {
  const mount = stateMount(options, state)
  if (state === null) return mount
  const { filesDir, mark, markPath, config } = state
  mkdirSync(filesDir, { recursive: true, mode: 0o700 })
  // Where it is not mounted into a sandbox, the service could have put anything there.
  if (!lstatSync(filesDir).isDirectory()) throw notADirectory(assignment, filesDir)
  giveTo(filesDir, assignment.hostUid, assignment.image?.users === 'image')
  if (existsSync(markPath) && readFileSync(markPath, 'utf8') === mark) return mount
  if (config.restore !== null && readdirSync(filesDir).length > 0)
    await runAlone(options, assignment, { hook: 'restore', argv: config.restore, timeoutMs: config.timeoutMs, state })
  const file = openSync(markPath, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
  writeSync(file, mark)
  fsyncSync(file)
  closeSync(file)
  return mount
}

interface HookRun {
  readonly hook: StateHook
  readonly argv: readonly string[]
  readonly timeoutMs: number
  readonly state: StatePlace
}

/** Runs a hook with the code of a service on state that nobody works on. Throws `agent.state-hook-failed`, `agent.no-bundle`. */
export async function runAlone(
  options: AgentOptions,
  assignment: InstanceAssignment,
  { hook, argv, timeoutMs, state }: HookRun,
): Promise<void> {
  const { sandbox, network, clock, random } = options
  const bundle = await bundleOf(options, assignment.part, assignment.bundle)
  const id = `hook-${randomId(random)}`
  const recordDir = join(options.stateDir, 'tasks', id)
  const layout = layoutOf(sandbox, bundle, recordDir)
  const brought = await broughtBy(options, assignment, bundle, layout, argv)
  const { env, mounts } = stateMount(options, state)
  // A network of its own that leads nowhere.
  using place = await network.place(id)
  const spec: SandboxSpec = {
    ...brought,
    id,
    env: { ...brought.env, STEAD_INSTANCE: assignment.id, ...assignment.env, ...env, ...toldOf(state) },
    mounts: [...brought.mounts, ...mounts],
    files: [],
    hostUid: assignment.hostUid,
    limits: limitsWithin(sandbox.capabilities, { ...assignment.limits, tmpBytes }).limits,
    syscalls: layout.syscalls,
    network: network.capabilities.isolation === 'native' ? place : null,
    recordDir,
    outputBytesMax,
  }
  const started = await sandbox.start(spec)
  let late = false
  using _timer = clock.after(timeoutMs, () => {
    late = true
    void started.kill()
  })
  const exit = await started.exited
  const said = await lastLines(sandbox.output(recordDir, { tail: 10 }))
  await sandbox.remove(recordDir)
  if (exit.cause === 'code' && exit.code === 0) return
  throw hookFailed(assignment, hook, late ? tooLate(timeoutMs) : exit.sentence, said)
}

/** What a hook is told beside where the state is. */
function toldOf({ config }: StatePlace): Readonly<Record<string, string>> {
  return { STEAD_PAUSE_MS: String(config.pauseMs) }
}

/** An instance that runs and keeps state. */
export interface StateKeeper {
  readonly assignment: InstanceAssignment
  readonly sandbox: Sandbox
  /** Whether it has been ready: before that it has acknowledged nothing. */
  readonly answers: boolean
  readonly state: StatePlace
}

/** Services that stand still. */
export interface Rest extends AsyncDisposable {
  /** Throws `agent.state-pause-over` when one may have gone on meanwhile. */
  ensure(): void
}

/**
 * Brings all of them to rest at once and has them write down what they have. `takesTime`: the copy is not of one moment, so
 * whoever cannot be asked is frozen. Throws `agent.state-hook-failed`; then all go on.
 */
export async function bringToRest(
  options: AgentOptions,
  keepers: readonly StateKeeper[],
  takesTime: boolean,
): Promise<Rest> {
  const { clock } = options
  const startMs = clock.monotonicMs()
  const spentMs = (): number => clock.monotonicMs() - startMs
  await using stack = new AsyncDisposableStack()
  const rest = async (keeper: StateKeeper): Promise<void> => {
    const { quiesce, checkpoint, pauseMs } = keeper.state.config
    const ask = (hook: 'quiesce' | 'checkpoint', argv: readonly string[], timeoutMs: number): Promise<void> =>
      runBeside(options, keeper, { hook, argv, timeoutMs: Math.max(1, Math.ceil(timeoutMs)), state: keeper.state })
    if (keeper.answers && quiesce !== null) {
      // Also when asking fails: it may have begun to rest.
      stack.defer(async () => {
        try {
          await ask('quiesce', [...quiesce, 'resume'], pauseMs)
        } catch (error) {
          options.onNotice(`${keeper.assignment.id} goes on by itself when its pause is over: ${messageOf(error)}`)
        }
      })
      await ask('quiesce', quiesce, pauseMs)
    }
    if (keeper.answers && checkpoint !== null) await ask('checkpoint', checkpoint, pauseMs - spentMs())
    if (!takesTime || (keeper.answers && quiesce !== null)) return
    await keeper.sandbox.freeze()
    stack.defer(() => keeper.sandbox.thaw())
  }
  const results = await Promise.allSettled(keepers.map(rest))
  for (const result of results) if (result.status === 'rejected') throw result.reason
  const held = stack.move()
  return {
    ensure() {
      const over = keepers.find(({ answers, state: { config } }) => {
        return answers && config.quiesce !== null && spentMs() > config.pauseMs
      })
      if (over === undefined) return
      const { part, config } = over.state
      throw new SteadError({
        code: 'agent.state-pause-over',
        message: `the copy took ${Math.round(spentMs())} ms, and ${part} stands still for at most ${config.pauseMs} ms`,
        hint: 'Nothing was kept of it. Ask again, or give it a longer `pause` in the app file.',
        retry: 'later',
      })
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

/** Runs a hook inside the sandbox of an instance that runs. */
async function runBeside(options: AgentOptions, keeper: StateKeeper, run: HookRun): Promise<void> {
  const { assignment, sandbox } = keeper
  const { hook, timeoutMs, state } = run
  // Without sandboxes there is no inside: everything is where it is on the host.
  if (options.sandbox.capabilities.exec === 'refused') return await runAlone(options, assignment, run)
  const bundle = await bundleOf(options, assignment.part, assignment.bundle)
  const program = assignment.image === undefined ? await options.program(bundle, run.argv) : { argv: run.argv, env: {} }
  const executed = await sandbox.exec({
    argv: program.argv,
    env: { ...program.env, ...toldOf(state) },
    terminal: null,
  })
  let late = false
  using _timer = options.clock.after(timeoutMs, () => {
    late = true
    void executed.kill()
  })
  executed.input.end()
  const said = Promise.all([executed.output, executed.errors].map(lastOf))
  const exit = await executed.exited
  if (exit.cause === 'code' && exit.code === 0 && !late) return
  throw hookFailed(assignment, hook, late ? tooLate(timeoutMs) : exit.sentence, (await said).join(''))
}

async function lastOf(stream: Readable | null): Promise<string> {
  let said = ''
  try {
    for await (const piece of stream ?? []) said = `${said}${String(piece)}`.slice(-saidCharsMax)
  } catch {
    // It was killed while it spoke; what it had said is there.
  }
  return said
}

function notADirectory({ part }: InstanceAssignment, path: string): SteadError {
  return new SteadError({ code: 'agent.bad-state', message: `the state of ${part} is no directory: ${path}` })
}

function tooLate(timeoutMs: number): string {
  return `did not end within ${timeoutMs} ms`
}

function hookFailed({ part }: InstanceAssignment, hook: StateHook, sentence: string, said: string): SteadError {
  const words = said.trim()
  return new SteadError({
    code: 'agent.state-hook-failed',
    message: `${part}: its hook ${hook} ${sentence}${words === '' ? '' : `: ${words}`}`,
    hint: 'Nothing of the state was left out in silence: what needed the hook was not done.',
    retry: 'later',
  })
}
