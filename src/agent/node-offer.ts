/**
 * What this node has for submitted jobs: what the machine is found to have, and over it what its owner says in a file
 * (`node.json` in the state directory), which may change at any time.
 *
 * Invariant: a file that makes no sense changes nothing; what was offered before stands, and a person is told why.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { messageOf } from '../base/index.ts'
import type { NodeOffer } from '../protocol/index.ts'
import type { SandboxCapabilities } from '../sandbox/index.ts'

/** Of the memory of the machine, what jobs may have. */
const memoryShare = 0.8
/** How much of the cores tasks may ask for with those of best effort, which get what is left. */
const bestEffortFactor = 4
const gpusMax = 31

const amounts: Readonly<Record<string, number>> = {
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}
const word = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}$/, 'must be letters, digits and ._@:+-')
const memory = z.union([
  z.int().min(2 ** 20),
  z
    .string()
    .regex(/^\d+(\.\d+)?([MGT]i?B)$/, 'must be such as 24GiB')
    .transform((text) => Math.floor(Number.parseFloat(text) * (amounts[text.replace(/^[\d.]+/, '')] ?? 1))),
])
const rates: Readonly<Record<string, number>> = { Mbit: 1e6, Gbit: 1e9 }
const rate = z
  .string()
  .regex(/^\d{1,6}(\.\d{1,3})?(Mbit|Gbit)\/s$/, 'must be such as 1Gbit/s')
  .transform((text) => Number.parseFloat(text) * (rates[text.replace(/^[\d.]+|\/s$/g, '')] ?? 1))
const device = z.string().regex(/^\/dev\/[A-Za-z0-9/_-]+$/, 'must be a path below /dev')

const declaration = z.strictObject({
  cpu: z.number().min(0.001).max(4096).optional(),
  memory: memory.optional(),
  /** Null: none for jobs, though there may be some. `devices`: of each, and `shared` ones that every job with a GPU has. */
  gpus: z
    .strictObject({
      model: word,
      count: z.int().min(1).max(gpusMax),
      devices: z.array(device).optional(),
      shared: z.array(device).optional(),
    })
    .refine(({ count, devices }) => devices === undefined || devices.length === count, 'needs a device for each GPU')
    .nullable()
    .optional(),
  counted: z.record(word, z.int().min(0).max(1e9)).optional(),
  /** What the network carries to the world, each way; shared among what dials outside. */
  network: rate.optional(),
  realtimeCores: z.int().min(0).max(1024).optional(),
  bestEffortFactor: z.number().min(1).max(100).optional(),
  labels: z.record(word, z.string().max(253)).optional(),
  /** Jobs leave to the parts of apps what these are expected to use. */
  forecast: z.boolean().optional(),
})
type Declaration = z.infer<typeof declaration>

/** GPUs of one model, and the files of devices that a program needs for each of them. */
export interface NodeGpus {
  readonly model: string
  readonly count: number
  /** By the number of the GPU. */
  readonly devices: readonly string[]
  readonly shared: readonly string[]
}

export interface NodeOfferOptions {
  /** Where its owner says what it has; absent: nowhere. */
  readonly file?: string | undefined
  /** Under which address other nodes reach it; null: it is alone. */
  readonly address: string | null
  readonly capabilities: Pick<SandboxCapabilities, 'deadlineCpu' | 'fifoCpu' | 'bestEffortCpu'>
  readonly onNotice: (text: string) => void
  /** Of what the network carries, what may be guaranteed to jobs; null: nothing can be. */
  readonly leftOfNetwork?: (bits: number) => number | null
  /** Where the driver of NVIDIA says what there is. */
  readonly nvidia?: string
}

export class NodeOffers {
  readonly #options: NodeOfferOptions
  #declared: Declaration = {}
  /** When the file that was read last had changed; '': there was none. */
  #read = ''
  #found: NodeGpus | null | undefined

  constructor(options: NodeOfferOptions) {
    this.#options = options
  }

  /** What there is now. */
  now(): NodeOffer {
    this.#look()
    const { capabilities, address } = this.#options
    const { cpu, memory: memoryBytes, counted, labels = {} } = this.#declared
    const cores = cpu ?? availableParallelism()
    const gpus = this.gpus()
    const found = Math.floor(Math.min(totalmem(), process.constrainedMemory() || Infinity) * memoryShare)
    // Somebody has to serve what is not reserved.
    const reservable =
      capabilities.deadlineCpu === 'refused' && capabilities.fifoCpu === 'refused' ? 0 : cores < 2 ? 0 : 1
    return {
      cpu: cores,
      memoryBytes: memoryBytes ?? found,
      gpus: gpus === null ? null : { model: gpus.model, count: gpus.count },
      labels,
      address: address ?? '127.0.0.1',
      realtimeCores: Math.min(Math.floor(cores), this.#declared.realtimeCores ?? reservable),
      bestEffortFactor:
        this.#declared.bestEffortFactor ?? (capabilities.bestEffortCpu === 'refused' ? 1 : bestEffortFactor),
      ...(counted === undefined ? {} : { counted }),
      ...this.#network(),
      ...(this.#declared.forecast === true ? { usesForecast: true } : {}),
    }
  }

  /** What the network carries to the world, in bits per second; null: nobody has said. */
  networkBits(): number | null {
    this.#look()
    return this.#declared.network ?? null
  }

  #network(): Pick<NodeOffer, 'networkBits'> {
    const { network } = this.#declared
    const left = network === undefined ? null : (this.#options.leftOfNetwork?.(network) ?? null)
    return left === null ? {} : { networkBits: left }
  }

  /** The files of devices of these GPUs. */
  devicesOf(gpus: readonly number[]): readonly string[] {
    const own = this.gpus()
    if (own === null || gpus.length === 0) return []
    return [...gpus.flatMap((gpu) => own.devices[gpu] ?? []), ...own.shared]
  }

  /** Those that jobs may have. */
  gpus(): NodeGpus | null {
    const { gpus } = this.#declared
    if (gpus === null) return null
    if (gpus === undefined) return (this.#found ??= this.#nvidia())
    return { model: gpus.model, count: gpus.count, devices: gpus.devices ?? [], shared: gpus.shared ?? [] }
  }

  #nvidia(): NodeGpus | null {
    const found = gpusIn(this.#options.nvidia ?? '/proc/driver/nvidia')
    if (found !== null && found.others.length > 0)
      this.#options.onNotice(
        `jobs are offered GPUs of one model, ${found.model}; ${found.others.join(', ')} ${found.others.length === 1 ? 'is' : 'are'} left out`,
      )
    return found
  }

  #look(): void {
    const { file, onNotice } = this.#options
    if (file === undefined) return
    const { mtimeMs, size, ino } = statSync(file, { throwIfNoEntry: false }) ?? {}
    const read = mtimeMs === undefined ? '' : `${mtimeMs} ${size} ${ino}`
    if (read === this.#read) return
    this.#read = read
    if (read === '') {
      this.#declared = {}
      return
    }
    try {
      this.#declared = declaration.parse(JSON.parse(readFileSync(file, 'utf8')))
    } catch (error) {
      onNotice(`${file} is not taken, and what was offered to jobs before stands: ${reasonOf(error)}`)
    }
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof z.ZodError)) return messageOf(error)
  const [issue] = error.issues
  return issue === undefined ? 'it makes no sense' : `${issue.path.join('.') || 'it'}: ${issue.message}`
}

/** The GPUs that the driver of NVIDIA tells of, of the commonest model; null: none. `others`: models that were left out. */
export function gpusIn(directory: string): (NodeGpus & { readonly others: readonly string[] }) | null {
  const gpus = join(directory, 'gpus')
  if (!existsSync(gpus)) return null
  const byModel = new Map<string, number[]>()
  for (const entry of readdirSync(gpus).sort()) {
    const text = readFileSync(join(gpus, entry, 'information'), 'utf8')
    const model = /^Model:\s*(.+)$/m.exec(text)?.[1]
    const minor = /^Device Minor:\s*(\d+)$/m.exec(text)?.[1]
    if (model === undefined || minor === undefined) continue
    const name = model.trim().replaceAll(/[^A-Za-z0-9._@:+-]+/g, '-')
    byModel.set(name, [...(byModel.get(name) ?? []), Number(minor)])
  }
  const [first, ...others] = [...byModel].sort(([, a], [, b]) => b.length - a.length)
  if (first === undefined) return null
  const [model, minors] = first
  const kept = minors.sort((a, b) => a - b).slice(0, gpusMax)
  const shared = ['/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/nvidia-uvm-tools', '/dev/nvidia-modeset']
  return {
    model,
    count: kept.length,
    devices: kept.map((minor) => `/dev/nvidia${minor}`),
    shared: shared.filter((path) => existsSync(path)),
    others: others.map(([name]) => name),
  }
}
