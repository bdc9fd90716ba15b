/** The rules of manifests: what is refused, whoever made it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import type { BundleFile, BundleLimits } from './bundle.ts'
import { bundleLimits } from './bundle.ts'
import { linkFault } from './links.ts'
import { checkFiles, decodeManifest, digestOf, encodeManifest, makeManifest } from './manifest.ts'

const file = (path: string, sizeBytes = 1, sha256 = digestOf(path)): BundleFile => {
  return { kind: 'file', path, executable: false, sizeBytes, sha256 }
}
const link = (path: string, to: string): BundleFile => ({ kind: 'link', path, to })

function refuses(files: readonly BundleFile[], code: string, limits: Partial<BundleLimits> = {}): void {
  assert.throws(
    () => checkFiles(files, { ...bundleLimits, ...limits }),
    (error) => isSteadError(error) && error.code === code,
    JSON.stringify(files).slice(0, 200),
  )
}

test('manifest: paths that are not plain, relative, sorted and single are refused', () => {
  for (const path of ['', '/a', '../a', 'a/../b', './a', 'a//b', 'a/', 'a/.', 'a\0b', 'a\uD800', 'x'.repeat(1025)]) {
    refuses([file(path)], 'artifact.path-refused')
  }
  refuses([file('b'), file('a')], 'artifact.path-refused')
  refuses([file('a'), file('a')], 'artifact.path-refused')
  refuses([file('a'), file('a-'), file('a/b')], 'artifact.path-refused')
  refuses([link('a', 'b'), file('a/b')], 'artifact.path-refused')
})

test('manifest: limits name what is largest', () => {
  refuses([file('a'), file('b')], 'artifact.too-big', { filesMax: 1 })
  refuses([file('a', 5)], 'artifact.too-big', { fileBytesMax: 4 })
  refuses([file('a', 3), file('b', 3)], 'artifact.too-big', { totalBytesMax: 5 })
  refuses([file('a', 1, digestOf('x')), file('b', 2, digestOf('x'))], 'artifact.manifest-refused')
  assert.throws(
    () => checkFiles([file('small', 1), file('x/large', 9)], { ...bundleLimits, totalBytesMax: 5 }),
    /largest: x\/large/,
  )
})

test('links: followed as the kernel does, and refused where they leave', () => {
  const links = new Map([
    ['in', 'a/b'],
    ['up', '..'],
    ['absolute', '/etc/passwd'],
    ['d/up', '..'],
    ['d/ok', '../a/./b'],
    // Harmless as text; through d/up, which is the top, it leaves.
    ['sneaky', 'd/up/../x'],
    ['round', 'about'],
    ['about', 'round'],
    ['bomb', 'd/up/d/up/d/up/x'],
    ['dangling', 'nowhere'],
  ])
  const faults = Object.fromEntries([...links.keys()].map((path) => [path, linkFault(path, links)]))
  assert.deepEqual(faults, {
    in: null,
    up: 'leads out of the tree',
    absolute: 'is absolute',
    'd/up': null,
    'd/ok': null,
    sneaky: 'leads out of the tree',
    round: 'goes round in a circle',
    about: 'goes round in a circle',
    bomb: null,
    dangling: null,
  })
  const long = new Map([['x', 'd/../'.repeat(600)]])
  assert.equal(linkFault('x', long), 'goes too long a way')
  refuses([link('x', '/etc')], 'artifact.link-refused')
  refuses([link('x', '')], 'artifact.link-refused')
})

test('manifest: its encoding is the only one that is read', () => {
  const manifest = makeManifest([file('b'), file('a'), link('c', 'a')], null, bundleLimits)
  const encoded = encodeManifest(manifest)
  assert.deepEqual(decodeManifest(encoded, bundleLimits), manifest)
  const text = encoded.toString()
  const others = [
    `${text} `,
    text.replace('"version":1', '"version":2'),
    text.replace('"kind":"file"', '"kind":"pipe"'),
    text.replace('"executable":false', '"executable":false,"extra":1'),
    text.replace('"sizeBytes":1', '"sizeBytes":1.0'),
    text.replace('"sizeBytes":1', '"sizeBytes":-1'),
    text.replace(digestOf('a'), digestOf('a').toUpperCase()),
    text.replace('"runtime":null', '"runtime":{"name":"node"}'),
    '[]',
    'null',
    '',
  ]
  for (const other of others) {
    assert.throws(
      () => decodeManifest(Buffer.from(other), bundleLimits),
      (error) => isSteadError(error) && error.code === 'artifact.manifest-refused',
      other,
    )
  }
})
