/** The drivers of this machine, the strongest of each kind that it allows, and what is weaker than it could be. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { type Bundle, type BundleStore, createBundleStore, runtimeEnvironment } from '../artifact/index.ts'
import { isSteadError, SteadError, systemClock } from '../base/index.ts'
import { npmBinaries, postgresProvider, systemBinaries } from '../database/index.ts'
import { type AskedDriver, chooseDomainDriver, type DomainDriver } from '../domain/index.ts'
import { chooseNetworkDriver, type NetworkDriver } from '../network/index.ts'
import { bucketProvider } from '../objects/index.ts'
import type { Provider } from '../provider/index.ts'
import { canReadKernelLog, type Program, stateProvider } from '../agent/index.ts'
import {
  bubblewrapDriver,
  detectLimitGroups,
  incusDriver,
  incusDriverWithoutServer,
  joinDrivers,
  type OciRuntime,
  ociRuntimeDriver,
  type OtherDriver,
  processDriver,
  type IncusAddress,
  type IncusDriverOptions,
  type SandboxDriver,
  vmDriver,
} from '../sandbox/index.ts'
import { secretProvider } from '../secrets/index.ts'
import { queueProvider } from '../queue/index.ts'
import type { Home } from './home.ts'
import { ownPrograms } from './own-programs.ts'

export interface Machine {
  readonly sandbox: SandboxDriver
  /** Without isolation, for submitted jobs that are declared so. */
  readonly unsandboxed: SandboxDriver
  /** What gives parts a kernel of their own; made when it is asked for. Throws `sandbox.unavailable`, with what is missing. */
  readonly guests: () => SandboxDriver
  readonly network: NetworkDriver
  readonly domain: DomainDriver
  readonly bundles: BundleStore
  readonly providers: ReadonlyMap<string, Provider>
  /** One line for each thing that is weaker than it could be, with how to mend it. */
  readonly weaker: readonly string[]
}

/** What people are told of a machine. */
export interface MachineDescription {
  readonly drivers: { readonly sandbox: string; readonly network: string; readonly domain: string }
  readonly weaker: readonly string[]
}

export function describe({ sandbox, network, domain, weaker }: Machine): MachineDescription {
  return { drivers: { sandbox: sandbox.name, network: network.name, domain: domain.name }, weaker }
}

/** Looks at the machine once. `asked`: how data is to be kept where none is kept yet; null: as well as the machine can. */
export async function lookAtMachine(home: Home, asked: AskedDriver | null = null): Promise<Machine> {
  const network = chooseNetworkDriver()
  const { sandbox, unsandboxed, guests, weaker: whyNoSandbox } = chooseSandboxDriver(home)
  const [domain, bundles] = await Promise.all([
    chooseDomainDriver({ root: domainRoot(join(home.agentDir, 'domains')), clock: systemClock, asked }),
    createBundleStore({ root: home.bundlesDir, clock: systemClock }),
  ])
  const binaries = [
    ...(await npmBinaries(async (source, links) => {
      // Here a link's text, there a path from the top of the tree.
      const fromTop = links.map(({ path, target }) => ({ path, target: posix.join(posix.dirname(path), target) }))
      return (await bundles.materialiseTree(source, fromTop)).path
    })),
    ...(await systemBinaries()),
  ]
  const own = ownPrograms(bundles, sandbox)
  const providers = [
    postgresProvider({ binaries }),
    queueProvider({ own }),
    bucketProvider({ own }),
    secretProvider(),
    stateProvider(),
  ]
  const weaker = [
    ...whyNoSandbox,
    ...sandbox.capabilities.weaker,
    ...network.capabilities.weaker,
    ...domain.capabilities.weaker,
    ...(asked === null || asked === domain.name
      ? []
      : [`data: ${asked} was asked for, and what is kept here already was made with ${domain.name}, which stays`]),
    ...weakerWatch(sandbox, network),
  ]
  if (binaries.length === 0)
    weaker.push('databases: no PostgreSQL found; install the Debian package postgresql, or run on linux-x64')
  return {
    sandbox,
    unsandboxed,
    guests,
    network,
    domain,
    bundles,
    providers: new Map(providers.map((provider) => [provider.type, provider])),
    weaker,
  }
}

/** What egress and tripwires lack where one driver is strong and the other is not. */
function weakerWatch({ capabilities }: SandboxDriver, network: NetworkDriver): string[] {
  if (capabilities.isolation === 'refused') {
    const names = 'egress: names outside are not looked up, only addresses can be declared; install bubblewrap'
    return [
      ...(network.capabilities.egress === 'native' ? [names] : []),
      'tripwires: there is no decoy, and system calls are not watched; install bubblewrap',
    ]
  }
  return canReadKernelLog()
    ? []
    : ['tripwires: the kernel log is closed, so a system call is seen only when it ends the main process; run as root']
}

/** The domain that is there, whose driver stays, or the place for a new one. */
function domainRoot(domains: string): string {
  const [first] = existsSync(domains) ? readdirSync(domains) : []
  return first === undefined ? domains : join(domains, first)
}

/** Bubblewrap where it works, and guests for parts that want a kernel of their own; else plain processes, and why. */
function chooseSandboxDriver({
  key,
  stateRoot,
}: Home): Pick<Machine, 'sandbox' | 'unsandboxed' | 'guests'> & { weaker: string[] } {
  const options = { clock: systemClock, groups: detectLimitGroups(systemClock, `stead-${key}`) }
  const unsandboxed = processDriver(options)
  // Packages with QEMU and a kernel that were unpacked instead of installed.
  const partsRoot = process.env['STEAD_GUEST_PARTS']
  const guestOptions = {
    ...options,
    stateDir: join(stateRoot, 'guests'),
    ...(partsRoot !== undefined && { partsRoot }),
  }
  const guests = (): SandboxDriver => vmDriver(guestOptions)
  try {
    const withRuntime = (runtime: OciRuntime): OtherDriver => ({
      wanted: (spec) => spec.runtime === runtime,
      make: () => ociRuntimeDriver({ ...options, runtime }),
    })
    const sandbox = joinDrivers(bubblewrapDriver(options), {
      runc: withRuntime('runc'),
      crun: withRuntime('crun'),
      vm: { wanted: ({ isolation }) => isolation === 'kernel', make: guests },
      incus: {
        wanted: ({ isolation }) => isolation === 'container',
        make: async () => await incusDriver({ ...options, ...incusOptions(process.env) }),
        // What runs does not depend on its server, and neither does finding it.
        makeFinder: () => incusDriverWithoutServer({ ...options, ...incusOptions(process.env) }),
      },
    })
    return { sandbox, unsandboxed, guests, weaker: [] }
  } catch (error) {
    if (!isSteadError(error)) throw error
    return {
      sandbox: unsandboxed,
      unsandboxed,
      guests,
      weaker: [`sandbox: ${error.message} ${error.hint ?? ''}`.trim()],
    }
  }
}

/** Where the Incus server of this machine is, if it is not where its package puts it; for TLS, files in PEM. */
function incusOptions(env: NodeJS.ProcessEnv): Pick<IncusDriverOptions, 'address' | 'project' | 'pool'> {
  const { STEAD_INCUS: server, STEAD_INCUS_PROJECT: project, STEAD_INCUS_POOL: pool } = env
  const pem = (name: string): string => {
    const path = env[name]
    if (path !== undefined) return readFileSync(path, 'utf8')
    throw new SteadError({
      code: 'cli.incus-incomplete',
      message: `STEAD_INCUS is ${server}, and ${name} does not say which file has the certificate for it.`,
      hint: 'STEAD_INCUS_CERTIFICATE, STEAD_INCUS_KEY and STEAD_INCUS_SERVER_CERTIFICATE name files in PEM.',
    })
  }
  const address = (text: string): IncusAddress =>
    text.startsWith('/')
      ? { socketPath: text }
      : {
          url: text,
          certificate: pem('STEAD_INCUS_CERTIFICATE'),
          key: pem('STEAD_INCUS_KEY'),
          serverCertificate: pem('STEAD_INCUS_SERVER_CERTIFICATE'),
        }
  return {
    ...(server !== undefined && { address: address(server) }),
    ...(project !== undefined && { project }),
    ...(pool !== undefined && { pool }),
  }
}

/** How a bundle's program is started on this machine. Throws `cli.runtime-missing`. */
export async function programOf(
  machine: Pick<Machine, 'bundles' | 'sandbox'>,
  bundle: Bundle,
  run: readonly string[],
): Promise<Program> {
  const { bundles, sandbox } = machine
  const named = bundle.manifest.runtime
  const resolved = named === null ? await bundles.resolveRuntime(run[0] ?? '') : await bundles.openRuntime(named)
  if (resolved === null) {
    throw new SteadError({
      code: 'cli.runtime-missing',
      message: `this machine does not have ${named?.name} ${named?.version}, which the bundle was made with`,
      hint: 'Deploy again from here to bundle it with what this machine has.',
    })
  }
  const env = runtimeEnvironment(bundle)
  if (sandbox.capabilities.isolation !== 'refused') {
    const mounts = resolved.mounts.map(({ source, target }) => ({ source, target, access: 'read-only' as const }))
    return { argv: [resolved.argv0, ...run.slice(1)], mounts, env }
  }
  // Without a sandbox everything is where it is on the host.
  const places = [...resolved.mounts, { source: bundle.path, target: '/app' }]
  const onHost = (path: string): string => {
    const place = places.find(({ target }) => path.startsWith(`${target}/`))
    return place === undefined ? path : place.source + path.slice(place.target.length)
  }
  const hostEnv = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, onHost(value)]))
  return { argv: [onHost(resolved.argv0), ...run.slice(1)], mounts: [], env: hostEnv }
}
