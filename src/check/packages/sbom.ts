/** A bill of materials in the CycloneDX format: packages of lock files and images of workloads. The same input gives the same text. */
import type { Json } from '../../base/index.ts'
import type { Inventory, LockedPackage } from '../inventory.ts'
import { parseImage } from '../versions/image.ts'

/** CycloneDX 1.5. `name`: what the bill is of. */
export function sbomOf(inventory: Inventory, name: string, toolVersion: string): Json {
  const packages = new Map<string, Json>()
  for (const lock of inventory.lockFiles)
    for (const found of lock.packages) if (!found.development) packages.set(purlOf(found), packageComponent(found))
  const images = new Map<string, Json>()
  for (const { pod } of inventory.workloads)
    for (const { image } of pod.containers) if (image !== null && image !== '') images.set(image, imageComponent(image))
  const sorted = (map: ReadonlyMap<string, Json>): readonly Json[] =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value)
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      tools: { components: [{ type: 'application', name: 'stead', version: toolVersion }] },
      component: { type: 'application', name, 'bom-ref': name },
    },
    components: [...sorted(packages), ...sorted(images)],
  }
}

function purlOf({ name, version }: LockedPackage): string {
  return `pkg:npm/${name.replace(/^@/, '%40')}@${encodeURIComponent(version)}`
}

function packageComponent(found: LockedPackage): Json {
  const hash = /^sha512-([A-Za-z0-9+/=]+)/.exec(found.integrity ?? '')?.[1]
  const purl = purlOf(found)
  return {
    type: 'library',
    'bom-ref': purl,
    name: found.name,
    version: found.version,
    purl,
    ...(hash === undefined
      ? {}
      : { hashes: [{ alg: 'SHA-512', content: Buffer.from(hash, 'base64').toString('hex') }] }),
    ...(found.license === null ? {} : { licenses: [{ expression: found.license }] }),
  }
}

function imageComponent(image: string): Json {
  const { registry, repository, tag, digest } = parseImage(image)
  const name = repository.split('/').at(-1) ?? repository
  const place = `${registry ?? 'docker.io'}/${registry === null && !repository.includes('/') ? 'library/' : ''}${repository}`
  const purl = `pkg:oci/${encodeURIComponent(name)}${digest === null ? '' : `@${encodeURIComponent(digest)}`}?repository_url=${encodeURIComponent(place)}${tag === null ? '' : `&tag=${encodeURIComponent(tag)}`}`
  return { type: 'container', 'bom-ref': image, name: place, version: digest ?? tag ?? 'latest', purl }
}
