/**
 * What an instance gets to see of the parts it uses: environment variables, secret files, and names to dial. Pure.
 *
 * Every variable of a use is there under the user's own name for it (`DB_DATABASE_URL` for `use: { db }`). When a use is
 * the only one of its type, its variables are there under their standard names too (`DATABASE_URL`, `PGHOST`), which is
 * what existing programs read.
 */
import { envPrefix } from '../model/index.ts'
import { languagesOf, prepareFor } from '../debug/index.ts'
import { edgeNetwork } from '../network/index.ts'
import type { Edge, InstanceAssignment } from '../protocol/index.ts'
import type { Binding, Provider } from '../provider/index.ts'
import type { InlineFile } from '../sandbox/index.ts'
import type { Layout } from './layout.ts'
import type { OpenEdge } from './open-edges.ts'
import { resolverFile } from './outside.ts'

/** What is known of the resources behind edges. */
export interface EdgeKnowledge {
  readonly providers: ReadonlyMap<string, Provider>
  /** App whose names the data behind an edge has. */
  readonly dataApp: (edge: Edge) => string
}

export interface InstanceEnvironment {
  readonly env: Readonly<Record<string, string>>
  readonly files: readonly InlineFile[]
}

/**
 * Everything an instance is told. `port` is the port it should serve on. `base` comes from the platform (PATH, runtime).
 * Secret files go to `secretsDir`, which the instance learns as STEAD_SECRETS.
 */
export function instanceEnvironment(
  assignment: InstanceAssignment,
  edges: readonly OpenEdge[],
  by: EdgeKnowledge,
  base: Readonly<Record<string, string>>,
  port: number | null,
  secretsDir: string,
): InstanceEnvironment {
  const env: Record<string, string> = {
    ...base,
    STEAD_APP: assignment.app,
    STEAD_PART: assignment.part,
    STEAD_INSTANCE: assignment.id,
  }
  if (port !== null) env['PORT'] = String(port)
  env['STEAD_SECRETS'] = secretsDir
  const files: InlineFile[] = []
  for (const open of edges) {
    const binding = bindingOf(open, by)
    const alone = edges.filter((other) => other.edge.type === open.edge.type).length === 1
    for (const [name, value] of Object.entries(binding.env)) {
      env[`${envPrefix(open.edge.as)}_${name}`] = value
      if (alone && open.edge.type !== 'service') env[name] = value
    }
    for (const file of binding.files)
      files.push({ path: `${secretsDir}/${file.name}`, content: file.content, mode: 0o400 })
  }
  // What the app file says comes last: it is the most deliberate.
  return { env: { ...env, ...assignment.env }, files }
}

/**
 * What lets a debugger in later, for programs in languages that have to be told when they start: variables, and files below
 * `directory`, which the program sees.
 */
export function debuggerDoor(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  directory: string,
): InstanceEnvironment {
  const prepared = languagesOf(argv).map((language) => prepareFor(language, directory, env))
  return {
    env: Object.fromEntries(prepared.flatMap((one) => Object.entries(one.env))),
    files: prepared.flatMap((one) =>
      Object.entries(one.files).map(([path, content]) => ({ path, content, mode: 0o444 })),
    ),
  }
}

/** The files of what is not dialled (secrets), which can be replaced while an instance runs. */
export function secretFiles(
  assignment: InstanceAssignment,
  providers: ReadonlyMap<string, Provider>,
): readonly { readonly name: string; readonly content: string }[] {
  const nowhere = { host: '', address: '', port: 0 }
  return assignment.edges
    .filter((edge) => providers.get(edge.type)?.port === null)
    .flatMap((edge) => bindingOf({ edge, ...nowhere }, { providers, dataApp: () => assignment.app }).files)
}

function bindingOf(open: OpenEdge, { providers, dataApp }: EdgeKnowledge): Binding {
  const { edge } = open
  if (edge.type === 'service') {
    const { config } = edge
    const tcp = typeof config === 'object' && config !== null && 'scheme' in config && config.scheme === 'tcp'
    return {
      env: { URL: `${tcp ? 'tcp' : 'http'}://${open.host}:${open.port}`, HOST: open.host, PORT: String(open.port) },
      files: [],
    }
  }
  const provider = providers.get(edge.type)
  if (provider === undefined || edge.grant === null) return { env: {}, files: [] }
  const resource = { app: dataApp(edge), name: edge.part, config: edge.config }
  return provider.bind(resource, edge.grant, { host: open.host, address: open.address, port: open.port })
}

/** The files by which names resolve for an instance, where the sandbox has files of its own. */
export function nameFiles(
  { hostsPath, resolverPath }: Layout,
  edges: readonly OpenEdge[],
  hostName: string,
  hasOutside: boolean,
): readonly InlineFile[] {
  const hosts = hostsPath === null ? [] : [{ path: hostsPath, content: hostsFile(edges, hostName), mode: 0o444 }]
  if (resolverPath === null || !hasOutside) return hosts
  return [...hosts, { path: resolverPath, content: resolverFile, mode: 0o444 }]
}

/** The hosts file of an instance: loopback, itself under its own host name, and the names it may dial. */
function hostsFile(edges: readonly OpenEdge[], hostName: string): string {
  return [
    '127.0.0.1 localhost',
    `${edgeNetwork.address} ${hostName}`,
    ...edges.map((open) => `${open.address} ${open.edge.part}`),
  ]
    .map((line) => `${line}\n`)
    .join('')
}
