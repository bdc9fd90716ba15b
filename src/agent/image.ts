/**
 * The program of an assignment as a sandbox starts it: that of its bundle, or that of an image, which lies in the bundle as an
 * OCI layout and brings its own root, user and environment.
 *
 * Invariant: what the app file says comes before what the image says.
 */
import type { Bundle } from '../artifact/index.ts'
import { SteadError } from '../base/index.ts'
import { openImage, platformOf, readLayout, type ImageConfig } from '../image/index.ts'
import type { InstanceAssignment } from '../protocol/index.ts'
import type { SandboxSpec } from '../sandbox/index.ts'
import { hostIdsOf } from './host-ids.ts'
import type { Layout } from './layout.ts'
import type { AgentOptions } from './options.ts'

/** What a program brings to its sandbox. */
export type Brought = Pick<SandboxSpec, 'argv' | 'env' | 'cwd' | 'mounts' | 'root'>

/** What an image says of how its program is treated; of a program without one, what the app file says. */
export interface Treatment {
  readonly ready: InstanceAssignment['ready']
  readonly stopSignal: NodeJS.Signals
}

/** Throws what opening an image throws, `agent.no-images`, and what finding the runtime of a program throws. */
export async function broughtBy(
  options: AgentOptions,
  assignment: InstanceAssignment,
  bundle: Bundle,
  layout: Layout,
  run: readonly string[] = assignment.run,
): Promise<Brought> {
  const { image } = assignment
  if (image === undefined) {
    const { argv, mounts, env } = await options.program(bundle, run)
    const code = { source: bundle.path, target: layout.codeDir, access: 'read-only' } as const
    return {
      argv,
      env: { PATH: layout.path, HOME: layout.home, ...env },
      cwd: layout.codeDir,
      mounts: [code, ...mounts],
    }
  }
  if (options.layers === undefined || options.sandbox.capabilities.root === 'refused') {
    throw new SteadError({
      code: 'agent.no-images',
      message: `this node cannot run images, and ${assignment.part} is one`,
      hint: 'Images need the bubblewrap driver, root, perl and Linux 5.19: see `stead doctor`.',
    })
  }
  const { from: name, digest, user: asked = null } = image
  const severalUsers = image.users === 'image'
  if (severalUsers && options.sandbox.capabilities.users === 'refused') {
    throw new SteadError({
      code: 'agent.no-images',
      message: `this node cannot keep the users of an image apart, and ${assignment.part} asks for that`,
      hint: "Say users: 'one', or run it where `stead doctor` says that there may be several users.",
    })
  }
  const wish = { run, user: asked, platform: platformOf(process.arch), name, digest, severalUsers }
  const { argv, env, cwd, layers, user, volumes } = await openImage(bundle.path, options.layers, wish)
  const root = {
    layers,
    writable: image.writable === true,
    scratch: volumes,
    user: { uid: user.uid, gid: user.gid },
    ...(severalUsers ? { hostIds: hostIdsOf(assignment.hostUid) } : {}),
  }
  return { argv, env, cwd, mounts: [], root }
}

/** How an instance is asked and ended. One that runs is not ended because its image cannot be read any more. */
export async function treatmentOf(
  assignment: InstanceAssignment,
  bundle: Pick<Bundle, 'path'> | null,
): Promise<Treatment> {
  const { image, ready } = assignment
  if (image === undefined || bundle === null) return { ready, stopSignal: 'SIGTERM' }
  const read = await readLayout(bundle.path, platformOf(process.arch), image.from).catch(() => null)
  const { healthcheck, stopSignal } = read?.config ?? { healthcheck: null, stopSignal: null }
  return {
    ready:
      image.health === true && healthcheck !== null
        ? { kind: 'command', run: healthcheck.command, timeoutMs: ready.timeoutMs }
        : ready,
    stopSignal: signalOf(stopSignal),
  }
}

/** Read from a closed list, so it is one that there is. */
function signalOf(stopSignal: ImageConfig['stopSignal']): NodeJS.Signals {
  return (stopSignal ?? 'SIGTERM') as NodeJS.Signals
}
