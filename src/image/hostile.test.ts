/** Images made to do harm, whole: archives whose bytes were changed anywhere, files that claim to be huge, sparse files as tar writes them. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { needsRoot } from '../../test/needs.ts'
import { isSteadError, systemClock } from '../base/index.ts'
import { dice, pieces, rawEntry, tarOf, zipped } from './archives.test-helper.ts'
import { digestOf, hexOf } from './digest.ts'
import { mediaTypes, platformOf } from './documents.ts'
import { LayerStore } from './layers.ts'
import { imageLimits } from './limits.ts'
import { LayerPlan } from './place.ts'
import { parseReference } from './reference.ts'
import { ImageStore } from './store.ts'
import { unpackLayer } from './unpack.ts'

const platform = platformOf(process.arch)
const layer = tarOf({ path: 'bin', type: '5' }, { path: 'bin/x', body: 'x'.repeat(900), mode: 0o755 })
const config = Buffer.from(
  JSON.stringify({ ...platform, config: { Cmd: ['/bin/x'] }, rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } }),
)

function directoryOf(context: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'stead-hostile-'))
  context.after(() => rmSync(root, { recursive: true, force: true }))
  return root
}

/** As `docker save` wrote it, and as it does: an OCI layout with a manifest.json beside it. */
function archives(): readonly Buffer[] {
  const packed = zipped(layer)
  const described = (bytes: Uint8Array, mediaType: string): object => {
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: described(config, mediaTypes.config),
      layers: [described(packed, mediaTypes.layerGzip)],
    }),
  )
  const index = JSON.stringify({
    schemaVersion: 2,
    manifests: [{ ...described(manifest, mediaTypes.manifest), platform }],
  })
  const blobs = [config, packed, manifest].map((body) => ({ path: `blobs/sha256/${hexOf(digestOf(body))}`, body }))
  const saved = JSON.stringify([{ Config: 'c.json', Layers: ['l/layer.tar'] }])
  return [
    tarOf(
      { path: 'manifest.json', body: saved },
      { path: 'c.json', body: config },
      { path: 'l/layer.tar', body: layer },
    ),
    tarOf({ path: 'oci-layout', body: '{}' }, { path: 'index.json', body: index }, ...blobs),
  ]
}

test(
  'whatever the bytes of an archive are: an image, or an error with a code; nothing half taken in stays',
  { skip: needsRoot() },
  async (context) => {
    const root = directoryOf(context)
    const roll = dice(29)
    const honest = archives()
    const path = join(root, 'image.tar')
    mkdirSync(join(root, 'layers'), { mode: 0o700 })
    const layers = new LayerStore(join(root, 'layers'))
    const need = { directory: root, onProgress: () => undefined }
    const outcome = { taken: 0, refused: new Set<string>() }
    for (let round = 0; round < 160; round++) {
      const bytes = Buffer.from(honest[round % honest.length] ?? Buffer.alloc(0))
      const changes = Math.floor(roll() * 4)
      for (let change = 0; change < changes; change++) {
        const at = Math.floor(roll() * bytes.length)
        bytes[at] = roll() < 0.3 ? Math.floor(roll() * 256) : 0x30 + Math.floor(roll() * 10)
        const block = Math.floor(at / 512) * 512
        if (roll() < 0.7) {
          bytes.write('        ', block + 148, 'latin1')
          const sum = bytes.subarray(block, block + 512).reduce((total, byte) => total + byte, 0)
          bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, block + 148, 'latin1')
        }
      }
      const cut = roll() < 0.2 ? bytes.subarray(0, Math.floor(roll() * bytes.length)) : bytes
      writeFileSync(path, [cut, zipped(cut), zstdCompressSync(cut)][round % 3] ?? cut)
      const directory = join(root, `store-${round}`)
      const store = new ImageStore({ directory, clock: systemClock, registry: { credentialFor: () => null } })
      try {
        await store.unpack(await store.need('./image.tar', need), layers)
        outcome.taken++
      } catch (error) {
        assert.ok(isSteadError(error) && error.code.startsWith('image.'), String(error))
        outcome.refused.add(error.code)
      }
      assert.deepEqual(
        readdirSync(directory).filter((name) => !['blobs', 'names'].includes(name)),
        [],
        'no scratch',
      )
      rmSync(directory, { recursive: true })
      assert.deepEqual(readdirSync(root).toSorted(), ['image.tar', 'layers'], 'nothing beside')
      assert.ok(
        readdirSync(join(root, 'layers')).every((name) => /^[0-9a-f]{64}$/.test(name)),
        'no half layer',
      )
    }
    assert.ok(outcome.taken > 10 && outcome.refused.size >= 3, `${outcome.taken}, ${[...outcome.refused].join()}`)
  },
)

test('whatever the text of a reference is: a reference, or an error with a code', () => {
  const roll = dice(31)
  const letters = 'abcz019./:@-_[]~ \0\nsha256:%2f..'
  for (let round = 0; round < 5000; round++) {
    const text = Array.from(
      { length: Math.floor(roll() * 40) },
      () => letters[Math.floor(roll() * letters.length)],
    ).join('')
    try {
      const reference = parseReference(`oci:${text}`)
      if (reference.kind === 'registry') assert.doesNotMatch(`${reference.host}${reference.repository}`, /\s|\.\.|@|\0/)
    } catch (error) {
      assert.ok(isSteadError(error) && error.code.startsWith('image.'), `${String(error)} of ${JSON.stringify(text)}`)
    }
  }
})

test('a file that claims to be huge is refused before anything of it is written; so is one entry too many', async (context) => {
  const root = directoryOf(context)
  // In the binary form of GNU, for octal digits end at 8 GB.
  const header = rawEntry({ path: 'huge', size: 0 }).subarray(0, 512)
  header.fill(0, 124, 136)
  header.writeUInt8(0x80, 124)
  header.writeBigUInt64BE(BigInt(imageLimits.unpackedBytesMax) + 1n, 128)
  header.write('        ', 148, 'latin1')
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  )
  await assert.rejects(unpackLayer(pieces(Buffer.concat([header, Buffer.alloc(4096)])), root, 'the layer'), {
    code: 'image.too-large',
    message: /unpackedBytesMax/,
  })
  assert.deepEqual(readdirSync(root), [])
  const plan = new LayerPlan('the layer')
  const again = { path: 'x', kind: 'file', target: '', mode: 0, size: 0 } as const
  for (let entry = 0; entry < imageLimits.entriesMax; entry++) plan.place(again)
  assert.throws(() => plan.place(again), { code: 'image.too-large', message: /entriesMax/ })
})

test(
  'sparse files as tar writes them, in every form, are refused by what they are, and nothing stays',
  { skip: needsRoot() },
  async (context) => {
    const root = directoryOf(context)
    mkdirSync(join(root, 'from'))
    writeFileSync(join(root, 'from/hole'), 'x')
    truncateSync(join(root, 'from/hole'), 2 ** 40)
    const layers = new LayerStore(join(root, 'layers'))
    for (const form of ['gnu', 'pax --sparse-version=0.0', 'pax --sparse-version=0.1', 'pax --sparse-version=1.0']) {
      const argv = ['--sparse', `--format=${form.split(' ')[0]}`, ...form.split(' ').slice(1), '-cf', '-', 'hole']
      const { status, stdout } = spawnSync('tar', argv, { cwd: join(root, 'from'), maxBuffer: 2 ** 24 })
      assert.equal(status, 0, form)
      assert.ok(stdout.length < 2 ** 20, 'small as it is sent')
      const source = { diffId: digestOf(stdout), compression: 'none' as const, bytes: () => pieces(stdout, 8192) }
      await assert.rejects(layers.need(source, 'the layer'), { code: 'image.bad-archive', message: /sparse/ }, form)
      assert.deepEqual(readdirSync(join(root, 'layers')), [], form)
    }
  },
)
