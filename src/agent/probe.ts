/** Asks an instance whether it is ready: by HTTP, by opening its port, or by running a command beside it. Bounded in time. */
import { request } from 'node:http'
import { join } from 'node:path'
import { messageOf, randomId, sleep } from '../base/index.ts'
import type { Ready } from '../model/index.ts'
import type { Endpoint, NetworkDriver } from '../network/index.ts'
import type { Machine, SandboxSpec } from '../sandbox/index.ts'
import type { AgentOptions } from './options.ts'

/** Between two probes: while it does not answer (growing up to the second), and when it does. */
export const probeMs = { start: 50, startMax: 1000, ready: 5000 } as const
/** Longest wait for one answer. */
export const probeTimeoutMs: number = 2000
/** How often a machine is asked whether something inside has taken a stream. */
const acceptsEveryMs = 100

/** Null when it answers; else why not, in words for a person. */
export type ProbeResult = string | null

/**
 * Asks what its part says, or its image; ready where nothing can be asked. `like`: the spec that it was started with, null when it was
 * found. `machine`: what it runs in, which accepts streams for it.
 */
export async function probeBy(
  options: Pick<AgentOptions, 'network' | 'sandbox' | 'clock' | 'random' | 'stateDir'>,
  ready: Ready,
  endpoint: Endpoint | null,
  like: SandboxSpec | null,
  machine: Pick<Machine, 'accepts'> | null = null,
): Promise<ProbeResult> {
  const { network } = options
  if (ready.kind === 'http' && endpoint !== null)
    return await probeHttp(network, endpoint, ready.path, ready.statusBelow)
  if (ready.kind === 'tcp' && endpoint !== null) return await probeTcp(options, endpoint, machine)
  if (ready.kind === 'command' && like !== null) return await probeCommand(options, like, ready.run)
  return null
}

/** Ready when it answers with a status from 200 up to, but not including, `statusBelow`. */
function probeHttp(
  network: NetworkDriver,
  endpoint: Endpoint,
  path: string,
  statusBelow: number,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const question = request({
      path,
      headers: { host: 'localhost', connection: 'close', 'user-agent': 'stead-probe' },
      createConnection: () => network.connect(endpoint),
      signal: AbortSignal.timeout(probeTimeoutMs),
    })
    question.on('response', (answer) => {
      answer.resume()
      const status = answer.statusCode ?? 0
      resolve(status >= 200 && status < statusBelow ? null : `GET ${path} answered ${status}`)
      // A body that never ends must not hold the socket.
      question.destroy()
    })
    question.on('error', (error) => resolve(`GET ${path}: ${explain(error)}`))
    question.end()
  })
}

/** Ready when the port accepts a connection; that of a machine, when something inside does. */
function probeTcp(
  { network, clock }: Pick<AgentOptions, 'network' | 'clock'>,
  endpoint: Endpoint,
  machine: Pick<Machine, 'accepts'> | null,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = network.connect(endpoint)
    socket.setTimeout(probeTimeoutMs)
    const end = (result: ProbeResult): void => {
      socket.destroy()
      resolve(result)
    }
    const askMachine = async ({ accepts }: Pick<Machine, 'accepts'>, port: number): Promise<void> => {
      socket.on('close', () => end(closed)).resume()
      while (!socket.destroyed) {
        if (await accepts(port)) return end(null)
        await sleep(clock, acceptsEveryMs)
      }
    }
    socket.on('connect', () => {
      if (machine === null || !('port' in endpoint)) return end(null)
      askMachine(machine, endpoint.port).catch((error: unknown) => end(messageOf(error)))
    })
    socket.on('timeout', () => end('the port does not answer'))
    socket.on('error', (error) => end(explain(error)))
  })
}

/** Ready when the command, run beside the instance in a sandbox like its own, ends with code 0. */
async function probeCommand(
  options: Pick<AgentOptions, 'sandbox' | 'clock' | 'random' | 'stateDir'>,
  beside: SandboxSpec,
  run: readonly string[],
): Promise<ProbeResult> {
  const id = `${beside.id}.probe-${randomId(options.random)}`
  // Among the tasks: what a killed agent leaves there is ended by the next one.
  const recordDir = join(options.stateDir, 'tasks', id)
  // Its output is not kept, so nothing needs to be kept out of it.
  const { filterFile: _filter, ...like } = beside
  const sandbox = await options.sandbox.start({ ...like, id, recordDir, argv: run, outputBytesMax: 1024 * 1024 })
  using _timer = options.clock.after(probeTimeoutMs, () => void sandbox.kill())
  const exit = await sandbox.exited
  await options.sandbox.remove(recordDir)
  return exit.cause === 'code' && exit.code === 0 ? null : `${run.join(' ')}: ${exit.sentence}`
}

const closed = 'nothing listens on its port yet'

function explain(error: Error): string {
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `no answer within ${probeTimeoutMs / 1000} s`
  return messageOf(error).includes('ECONNREFUSED') ? closed : messageOf(error)
}
