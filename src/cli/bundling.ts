/** From the app file to what is deployed: the graph, and a bundle for every part that has code or files. */
import { dirname, join } from 'node:path'
import type { BundleStore, Runtime } from '../artifact/index.ts'
import { evaluateAppFile } from '../evaluate/index.ts'
import type { Platform } from '../image/index.ts'
import type { Graph, Part } from '../model/index.ts'
import { ofPart } from './failure.ts'
import { bundleImage, imageStore } from './images.ts'

export interface Built {
  /** Its images are those of the bundles, by digest. */
  readonly graph: Graph
  /** By part name. */
  readonly bundles: Readonly<Record<string, string>>
}

/** The directories that parts are bundled from, by part name; images are not made of any. */
export function sourcesOf(graph: Graph, appFile: string): Map<string, { from: string; program: string | null }> {
  const root = dirname(appFile)
  const sources = new Map<string, { from: string; program: string | null }>()
  for (const part of graph.parts) {
    if (part.kind !== 'resource' && part.image !== undefined) continue
    if (part.kind !== 'resource') sources.set(part.name, { from: join(root, part.from), program: part.run[0] ?? null })
    else if (part.files !== null) sources.set(part.name, { from: join(root, part.files), program: null })
  }
  return sources
}

/** Runs the app file, for an environment. */
export function readGraph(
  appFile: string,
  onOutput: (text: string) => void,
  environment: { readonly name: string; readonly production: boolean } = { name: 'local', production: false },
): Promise<Graph> {
  return evaluateAppFile(appFile, { environment, onOutput })
}

/** Bundles every part; what has not changed costs only the looking. Throws what bundling throws, with the name of the part. */
export async function bundleParts(
  bundles: BundleStore,
  graph: Graph,
  appFile: string,
  options: {
    readonly onProgress: (line: string) => void
    readonly signal: AbortSignal
    /** What runs a program, when not what does here: on another machine. */
    readonly runtimeOf?: (program: string) => Promise<Runtime | null>
    /** What images are for, when not for this machine. */
    readonly platform?: Platform
  },
): Promise<Built> {
  const digests: Record<string, string> = {}
  const runtimeOf = options.runtimeOf ?? (async (program) => (await bundles.resolveRuntime(program)).runtime)
  for (const [name, { from, program }] of sourcesOf(graph, appFile)) {
    try {
      const runtime = program === null ? null : await runtimeOf(program)
      const onProgress = (line: string): void => options.onProgress(`${name}: ${line}`)
      const bundle = await bundles.make({ from, runtime, onProgress, signal: options.signal })
      digests[name] = bundle.digest
    } catch (error) {
      throw ofPart(name, error)
    }
  }
  const parts: Part[] = []
  for (const part of graph.parts) {
    if (part.kind === 'resource' || part.image === undefined) {
      parts.push(part)
      continue
    }
    const onProgress = (line: string): void => options.onProgress(`${part.name}: ${line}`)
    try {
      const of = { directory: dirname(appFile), onProgress, signal: options.signal }
      const { bundle, digest } = await bundleImage(bundles, imageStore(options.platform), part, of)
      digests[part.name] = bundle.digest
      parts.push({ ...part, image: { ...part.image, digest } })
    } catch (error) {
      throw ofPart(part.name, error)
    }
  }
  return { graph: { ...graph, parts }, bundles: digests }
}
