/** Images that cannot be used, through the real command line: each is one clear sentence, no trace of the code, and leaves nothing behind. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { Workbench } from './command-line.ts'
import { needsImages } from './image-tree.ts'

interface Described {
  digest: string
  size: number
  mediaType?: string
  platform?: object
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** A layout that can be spoilt. */
class Layout {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  blob(digest: string): string {
    return join(this.path, 'blobs/sha256', digest.slice('sha256:'.length))
  }

  index(): { manifests: [Described] } {
    return JSON.parse(readFileSync(join(this.path, 'index.json'), 'utf8'))
  }

  manifest(): { config: Described; layers: [Described] } {
    return JSON.parse(readFileSync(this.blob(this.index().manifests[0].digest), 'utf8'))
  }

  /** With the digest that it has then. */
  replace(value: object): void {
    const bytes = Buffer.from(JSON.stringify(value))
    writeFileSync(this.blob(digestOf(bytes)), bytes)
    this.describe({ digest: digestOf(bytes), size: bytes.length })
  }

  describe(change: Partial<Described>): void {
    const index = this.index()
    Object.assign(index.manifests[0], change)
    writeFileSync(join(this.path, 'index.json'), JSON.stringify(index))
  }
}

suite('images that cannot be used', { skip: needsImages() }, () => {
  test('wrong digest, cut off, unknown type, other machine, root, no space: a sentence each, and nothing half taken in', async () => {
    await using bench = new Workbench()
    mkdirSync(join(bench.dir, 'tree'))
    writeFileSync(join(bench.dir, 'tree/file'), Buffer.alloc(3 * 2 ** 20, 'some words '))
    writeFileSync(join(bench.dir, 'tree/random'), randomBytes(3 * 2 ** 20))
    const good = join(bench.dir, 'good')
    const options = ['--entrypoint', '["/file"]', '--user', '1000', '--output', good]
    const built = await bench.stead('image', 'build', join(bench.dir, 'tree'), 'good:1', ...options)
    assert.equal(built.code, 0, built.stderr)

    const spoilt = async (name: string, spoil: (layout: Layout) => void, words: RegExp): Promise<void> => {
      const layout = new Layout(join(bench.appDir, name))
      cpSync(good, layout.path, { recursive: true })
      spoil(layout)
      const state = join(bench.dir, `state-${name}`)
      const { code, stdout, stderr } = await bench.as({ STEAD_STATE: state }, 'image', 'inspect', `./${name}`)
      assert.notEqual(code, 0, name)
      assert.equal(stdout, '', name)
      const [sentence = ''] = stderr.split('\n').filter((line) => line.startsWith('stead:'))
      assert.match(sentence, words, `${name}: ${stderr}`)
      assert.doesNotMatch(stderr, /^ +at /m, name)
      const kept = existsSync(state) ? readdirSync(state, { recursive: true, withFileTypes: true }) : []
      const files = kept.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
      const { layers } = new Layout(good).manifest()
      assert.deepEqual(
        files.filter(
          (file) => file.includes('/.new-') || file.includes('scratch-') || file.endsWith(layers[0].digest.slice(7)),
        ),
        [],
        name,
      )
      assert.ok(!files.some((file) => file.includes('/names/')), `${name} has no name`)
    }
    await spoilt(
      'changed',
      (layout) => {
        const path = layout.blob(layout.manifest().layers[0].digest)
        const bytes = readFileSync(path)
        bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1)
        rmSync(path)
        writeFileSync(path, bytes)
      },
      /The layer sha256:\w+ of \.\/changed is not what its digest says: wanted sha256:\w+, found sha256:\w+\.$/,
    )
    await spoilt(
      'short',
      (layout) => {
        const path = layout.blob(layout.manifest().layers[0].digest)
        const bytes = readFileSync(path)
        rmSync(path)
        writeFileSync(path, bytes.subarray(0, 1000))
      },
      /The layer sha256:\w+ of \.\/short ends after 1000 of \d+ bytes\.$/,
    )
    await spoilt(
      'unknown',
      (layout) => {
        const manifest = layout.manifest()
        manifest.layers[0].mediaType = 'application/vnd.example.encrypted'
        layout.replace(manifest)
      },
      /\.\/unknown holds "application\/vnd\.example\.encrypted", a media type that is not read here\.$/,
    )
    await spoilt(
      'foreign',
      (layout) => layout.describe({ platform: { os: 'linux', architecture: 's390x' } }),
      /\.\/foreign is for linux\/s390x, and this machine is linux\/\w+\.$/,
    )

    // A file system of its own, too small for it.
    const small = join(bench.dir, 'small')
    mkdirSync(small)
    const disk = join(bench.dir, 'disk')
    writeFileSync(disk, Buffer.alloc(2 ** 20))
    const made = spawnSync('mkfs.ext4', ['-q', '-O', '^has_journal', disk])
    const mount = made.status === 0 ? ['-o', 'loop', disk, small] : ['-t', 'tmpfs', '-o', 'size=1m', 'none', small]
    assert.equal(spawnSync('mount', mount).status, 0)
    try {
      cpSync(good, join(bench.appDir, 'whole'), { recursive: true })
      const full = await bench.as({ STEAD_STATE: join(small, 's') }, 'image', 'inspect', './whole')
      assert.notEqual(full.code, 0)
      assert.match(full.stderr, /^stead: The layer sha256:\w+ of \.\/whole does not fit on the disk\.$/m)
      assert.doesNotMatch(full.stderr, /^ +at /m)
      const left = readdirSync(small, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
      assert.ok(
        !left.some((entry) => /\.new-|scratch-|names/.test(entry.parentPath)),
        left.map(({ name }) => name).join(),
      )
    } finally {
      spawnSync('umount', [small])
    }

    const asks = ['image', 'build', join(bench.dir, 'tree'), 'asks:1', '--entrypoint', '["/file"]']
    assert.equal((await bench.stead(...asks)).code, 0)
    bench.write({
      'app.ts': `import { app, service } from 'stead'
export default app('bad', () => ({ parts: { web: service('web', { image: 'oci:asks:1', http: 80 }) } }))`,
    })
    const root = await bench.stead('up', '.')
    assert.match(root.stderr, /^stead: web: asks:1 asks to run as root, for it names no user\.$/m)
  })

  test('what cannot be built, or written where it is wanted, is told in a sentence, and has no name', async () => {
    await using bench = new Workbench()
    mkdirSync(join(bench.dir, 'tree'))
    writeFileSync(join(bench.dir, 'tree/file'), 'words')
    const refused = async (words: RegExp, ...rest: readonly string[]): Promise<void> => {
      const [directory = 'tree', ...options] = rest
      const { code, stdout, stderr } = await bench.stead(
        'image',
        'build',
        join(bench.dir, directory),
        'x:1',
        ...options,
      )
      assert.deepEqual([code, stdout], [1, ''])
      assert.match(stderr, words)
      assert.doesNotMatch(stderr, /^ +at /m)
    }
    await refused(/^stead: No image can be built of \S+\/nosuch: it is not there\.$/m, 'nosuch')
    await refused(/^stead: No image can be built of \S+\/file: it is no directory\.$/m, 'tree/file')
    await refused(/^stead: "data" is no absolute path in an image\.$/m, 'tree', '--volume', 'data')
    await refused(/^stead: "app" is no absolute path in an image\.$/m, 'tree', '--workdir', 'app')
    assert.match((await bench.stead('image', 'ls')).stderr, /There are no images here/)
    await refused(/^stead: \/nosuch\/bill cannot be written: ENOENT/m, 'tree', '--sbom', '/nosuch/bill')
    await refused(/^stead: \/dev\/null\/layout cannot be written: ENOTDIR/m, 'tree', '--output', '/dev/null/layout')
  })
})
