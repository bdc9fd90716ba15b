/** `stead image`: images of OCI and Docker on this machine, built from a directory, looked at, removed. No Docker is needed. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createBundleStore } from '../../artifact/index.ts'
import { messageOf, SteadError, systemClock } from '../../base/index.ts'
import { billOf, filesThatTell, readLayout, platformOf, type Digest, type FetchedImage } from '../../image/index.ts'
import { type Command, helpOf, type Input, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { bundlesDir } from '../home.ts'
import { neededBundles } from '../homes.ts'
import { imageStore, layerStore } from '../images.ts'
import { duration, megabytes, note, print, table } from '../terminal.ts'

export const imageCommand: Command = {
  name: 'image',
  usage: 'build DIR NAME | ls | inspect IMAGE | prune',
  summary: 'build, look at and remove images',
  help: `  build DIR NAME   an image of what is in DIR; the same directory gives the same image
    --on IMAGE          over another image, whose settings go on
    --at PATH           where DIR goes in the image (default /)
    --owners own        files belong to whom they do in DIR, for parts with users: 'image' (default: root)
    --without PATH      leave out what is below PATH of DIR; more than once
    --entrypoint JSON   as in '["/bin/server"]'; --cmd JSON and --health JSON likewise
    --env NAME=VALUE    more than once; --label NAME=VALUE likewise
    --user USER  --workdir PATH  --port N (more than once)  --volume PATH (more than once)
    --sbom FILE         write what is inside, as CycloneDX
    --output NEWDIR     write it as an OCI layout as well
  ls               the images that were fetched or built here
  inspect IMAGE    what it is and what it asks for; --sbom FILE, --output NEWDIR as above
  prune            remove images that were not used for so long, and layers that no app needs
    --unused SPAN       in hours (default 24); --dry-run only says which names would go
  --json           as JSON
  IMAGE is a name of one that is here, HOST/NAME:TAG of a registry, or ./PATH of a layout, an archive or a directory.
  Example: stead image build ./site web:1 --entrypoint '["/bin/server"]' --user 1000 --port 8080`,
  options: {
    on: { type: 'string' },
    at: { type: 'string' },
    owners: { type: 'string' },
    without: { type: 'string', multiple: true },
    entrypoint: { type: 'string' },
    cmd: { type: 'string' },
    health: { type: 'string' },
    env: { type: 'string', multiple: true },
    label: { type: 'string', multiple: true },
    user: { type: 'string' },
    workdir: { type: 'string' },
    port: { type: 'string', multiple: true },
    volume: { type: 'string', multiple: true },
    sbom: { type: 'string' },
    output: { type: 'string' },
    unused: { type: 'string' },
    'dry-run': { type: 'boolean' },
  },
  argumentsMax: 3,
  async run(input) {
    const [verb = 'ls', ...words] = input.arguments
    const verbs: Readonly<Record<string, [number, (input: Input, words: readonly string[]) => Promise<void>]>> = {
      build: [2, build],
      ls: [0, list],
      inspect: [1, inspect],
      prune: [0, prune],
    }
    const found = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined
    if (found === undefined || words.length !== found[0])
      throw usage('stead image: build DIR NAME, ls, inspect IMAGE or prune', helpOf(imageCommand))
    await found[1](input, words)
    return exitCodes.ok
  },
}

const hourMs = 3_600_000
const need = { directory: process.cwd(), onProgress: note }

async function build(input: Input, [directory = '', name = '']: readonly string[]): Promise<void> {
  const startMs = performance.now()
  const images = imageStore()
  const ports = input.texts('port').map((text) => {
    const port = Number(text)
    if (Number.isInteger(port) && port > 0 && port <= 65_535) return port
    throw usage(`--port must be a number from 1 to 65535, not '${text}'`, 'For example: --port 8080')
  })
  const owners = input.text('owners') ?? 'root'
  if (owners !== 'root' && owners !== 'own')
    throw usage(`--owners must be 'root' or 'own', not '${owners}'`, 'For example: --owners own')
  const built = await images.build(
    resolve(directory),
    name,
    {
      at: input.text('at') ?? '/',
      without: input.texts('without').map((path) => path.replace(/^\.?\//, '').replace(/\/$/, '')),
      owners,
      base: input.text('on'),
      entrypoint: words(input, 'entrypoint'),
      cmd: words(input, 'cmd'),
      env: pairs(input, 'env'),
      labels: pairs(input, 'label'),
      user: input.text('user'),
      workdir: input.text('workdir'),
      ports,
      volumes: input.texts('volume'),
      health: words(input, 'health'),
    },
    need,
  )
  const sbom = input.text('sbom')
  if (sbom !== null) written(sbom, () => writeFileSync(sbom, built.bill))
  await output(input, built)
  const bytes = bytesOf(built)
  if (input.json) print(JSON.stringify({ name, digest: built.digest, bytes }))
  else print(`${name}  ${built.digest}  ${megabytes(bytes)}  ${duration(performance.now() - startMs)}`)
}

async function list(input: Input): Promise<void> {
  const images = await imageStore().list()
  if (input.json) return print(JSON.stringify(images))
  const nowMs = systemClock.nowMs()
  if (images.length === 0) return note('There are no images here. Build one: stead image build DIR NAME')
  print(
    table(images.map(({ name, digest, takenMs }) => [name, digest.slice(0, 19), `${duration(nowMs - takenMs)} ago`])),
  )
}

async function inspect(input: Input, [reference = '']: readonly string[]): Promise<void> {
  const images = imageStore()
  const image = await images.need(reference, need)
  const sbom = input.text('sbom')
  if (sbom !== null) {
    const bill = await billFor(images, image)
    written(sbom, () => writeFileSync(sbom, bill))
  }
  await output(input, image)
  const { config, digest, manifest } = image
  const shown = {
    name: image.name,
    digest,
    bytes: bytesOf(image),
    ...config,
    layers: manifest.layers.map(({ digest: layer, size }) => ({ digest: layer, size })),
  }
  if (input.json) return print(JSON.stringify(shown))
  const rows: readonly (readonly string[])[] = [
    ['image', image.name],
    ['digest', digest],
    ['platform', `${config.platform.os}/${config.platform.architecture}`],
    [
      'size',
      `${megabytes(shown.bytes)} in ${manifest.layers.length === 1 ? '1 layer' : `${manifest.layers.length} layers`}`,
    ],
    ['program', JSON.stringify([...config.entrypoint, ...config.cmd])],
    ['user', config.user === '' ? 'root, for it names none: a part must say user' : config.user],
    ['directory', config.workdir],
    ['ports', config.ports.join(', ') || '-'],
    ['volumes', config.volumes.length === 0 ? '-' : `${config.volumes.join(', ')} (in memory, gone with the instance)`],
    ['health', config.healthcheck === null ? '-' : JSON.stringify(config.healthcheck.command)],
    ['stopped by', config.stopSignal ?? 'SIGTERM'],
    ...Object.entries(config.env).map(([key, value]) => ['env', `${key}=${value}`]),
  ]
  print(table(rows))
}

async function prune(input: Input): Promise<void> {
  const images = imageStore()
  const unusedMs = (input.number('unused', 0, 100_000) ?? 24) * hourMs
  const nowMs = systemClock.nowMs()
  const isWanted = ({ takenMs }: { readonly takenMs: number }): boolean => nowMs - takenMs < unusedMs
  if (input.flag('dry-run')) {
    const names = (await images.list()).filter((image) => !isWanted(image)).map(({ name }) => name)
    return print(
      input.json
        ? JSON.stringify({ dryRun: true, names })
        : names.map((name) => `${name} would go`).join('\n') || 'Nothing would go.',
    )
  }
  const used = await neededLayers()
  const { names, bytes } = await images.prune(isWanted)
  const layers = await layerStore().prune(used, nowMs)
  if (input.json) print(JSON.stringify({ dryRun: false, names, bytes, layers }))
  else print(`Removed ${names.length} images and ${layers} unpacked layers; freed ${megabytes(bytes)} beside them.`)
}

/** The layers of every image that a record of any platform here names. */
async function neededLayers(): Promise<ReadonlySet<Digest>> {
  const bundles = await createBundleStore({ root: bundlesDir(), clock: systemClock })
  const used = new Set<Digest>()
  for (const digest of await neededBundles()) {
    const bundle = await bundles.open(digest)
    const isLayout = bundle !== null && (await readFile(`${bundle.path}/oci-layout`).catch(() => null)) !== null
    if (!isLayout) continue
    const { config } = await readLayout(bundle.path, platformOf(process.arch))
    for (const layer of config.diffIds) used.add(layer)
  }
  return used
}

/** That which was made with it; of an image from elsewhere, what its unpacked layers tell. */
async function billFor(images: ReturnType<typeof imageStore>, image: FetchedImage): Promise<string> {
  const kept = image.manifest.layers.length === 1 ? await images.bill(image.digest) : null
  if (kept !== null) return kept
  return billOf(image.digest, filesThatTell(await images.unpack(image, layerStore())))
}

async function output(input: Input, image: FetchedImage): Promise<void> {
  const directory = input.text('output')
  if (directory === null) return
  written(directory, () => mkdirSync(directory, { recursive: true }))
  if (readdirSync(directory).length > 0)
    throw new SteadError({
      code: 'cli.not-empty',
      message: `${directory} is not empty.`,
      hint: 'Name a directory that is not there yet.',
    })
  await imageStore().layOut(image, resolve(directory))
}

/** Throws `cli.not-written` where it cannot be. */
function written(path: string, write: () => void): void {
  try {
    write()
  } catch (cause) {
    throw new SteadError({
      code: 'cli.not-written',
      message: `${path} cannot be written: ${messageOf(cause)}.`,
      hint: 'Name a place in a directory that is there, and that you may write into.',
      cause,
    })
  }
}

function bytesOf({ manifest }: FetchedImage): number {
  return manifest.layers.reduce((sum, { size }) => sum + size, manifest.config.size)
}

function words(input: Input, name: string): readonly string[] | null {
  const text = input.text(name)
  if (text === null) return null
  try {
    const value: unknown = JSON.parse(text)
    if (Array.isArray(value) && value.every((word) => typeof word === 'string')) return value
  } catch {
    // Said below.
  }
  throw usage(
    `--${name} must be a list of texts in JSON, not '${text}'`,
    `For example: --${name} '["/bin/server", "--all"]'`,
  )
}

function pairs(input: Input, name: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    input.texts(name).map((text) => {
      const equals = text.indexOf('=')
      if (equals > 0) return [text.slice(0, equals), text.slice(equals + 1)]
      throw usage(`--${name} must be NAME=VALUE, not '${text}'`, `For example: --${name} MODE=production`)
    }),
  )
}
