/**
 * What is inside an image, as a bill of materials in CycloneDX: packages of Debian and Alpine, of npm and of Python, and the
 * system itself. Pure: files come in as texts.
 *
 * Invariant: equal files give an equal bill; what cannot be read as a package is none.
 */
import { z } from 'zod'
import { digestOf, type Digest } from './digest.ts'

export interface Component {
  readonly type: 'operating-system' | 'library'
  readonly name: string
  readonly version: string
  /** A package URL. */
  readonly purl?: string
  readonly licenses?: readonly { readonly license: { readonly name: string } }[]
}

/** A file of the image. */
export interface ImageFile {
  readonly path: string
  readonly text: string
}

/** Which files of an image say what is in it. */
export function tellsContents(path: string): boolean {
  return (
    [
      'etc/os-release',
      'usr/lib/os-release',
      'var/lib/dpkg/status',
      'lib/apk/db/installed',
      'usr/lib/apk/db/installed',
    ].includes(path) ||
    /^var\/lib\/dpkg\/status\.d\/[^/]+$/.test(path) ||
    /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/]+\/package\.json$/.test(path) ||
    /\.(?:dist-info\/METADATA|egg-info\/PKG-INFO)$/.test(path)
  )
}

/** CycloneDX 1.6 of an image or a layer by its digest, without a date or a serial number, so that equal images have equal bills. */
export function billOf(digest: Digest, files: readonly ImageFile[]): string {
  const found = files.flatMap(({ path, text }) => componentsOf(path, text, distributionOf(files)))
  const unique = new Map(
    found.map((component) => [`${component.purl ?? component.name}@${component.version}`, component]),
  )
  const components = [...unique.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, component]) => ({ ...component, 'bom-ref': component.purl ?? digestOf(key).slice(7, 23) }))
  const subject = { type: 'container', name: digest, 'bom-ref': digest }
  const bill = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: subject },
    components,
  }
  return `${JSON.stringify(bill, null, 2)}\n`
}

function componentsOf(path: string, text: string, distribution: string): readonly Component[] {
  if (path.endsWith('os-release')) return systemOf(text)
  if (path.startsWith('var/lib/dpkg/')) return paragraphs(text).flatMap((fields) => debianPackage(fields, distribution))
  if (path.endsWith('apk/db/installed')) return apkPackages(text)
  if (path.endsWith('package.json')) return npmPackage(text)
  return pythonPackage(text)
}

function distributionOf(files: readonly ImageFile[]): string {
  const release = files.find(({ path }) => path.endsWith('os-release'))?.text ?? ''
  return assignmentsOf(release).get('ID') ?? 'debian'
}

function systemOf(text: string): readonly Component[] {
  const fields = assignmentsOf(text)
  const name = fields.get('ID')
  return name === undefined ? [] : [{ type: 'operating-system', name, version: fields.get('VERSION_ID') ?? '' }]
}

function assignmentsOf(text: string): Map<string, string> {
  const lines = [...text.matchAll(/^([A-Z_]+)=(?:"([^"]*)"|(.*))$/gm)]
  return new Map(lines.map(([, key = '', quoted, plain]) => [key, quoted ?? plain ?? '']))
}

/** Paragraphs of `Key: value`; continued lines are left out. */
function paragraphs(text: string): readonly Map<string, string>[] {
  return text
    .split(/\n\n+/)
    .map(
      (paragraph) =>
        new Map([...paragraph.matchAll(/^([A-Za-z-]+): *(.*)$/gm)].map(([, key = '', value = '']) => [key, value])),
    )
}

function debianPackage(fields: Map<string, string>, distribution: string): readonly Component[] {
  const [name, version, architecture] = ['Package', 'Version', 'Architecture'].map((key) => fields.get(key) ?? '')
  if (!name || !version || fields.get('Status')?.endsWith(' installed') === false) return []
  const purl = `pkg:deb/${distribution}/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`
  return [{ type: 'library', name, version, purl }]
}

function apkPackages(text: string): readonly Component[] {
  return text.split('\n\n').flatMap((paragraph) => {
    const fields = new Map([...paragraph.matchAll(/^([A-Z]):(.*)$/gm)].map(([, key = '', value = '']) => [key, value]))
    const [name = '', version = '', license = ''] = ['P', 'V', 'L'].map((key) => fields.get(key) ?? '')
    if (name === '' || version === '') return []
    const purl = `pkg:apk/alpine/${encodeURIComponent(name)}@${encodeURIComponent(version)}`
    return [{ type: 'library' as const, name, version, purl, ...licensed(license) }]
  })
}

const npmShape = z.object({
  name: z.string().min(1),
  version: z.string().min(1),
  license: z.string().optional().catch(undefined),
})

function npmPackage(text: string): readonly Component[] {
  try {
    const { name, version, license = '' } = npmShape.parse(JSON.parse(text))
    const purl = `pkg:npm/${name.replace(/^@/, '%40')}@${encodeURIComponent(version)}`
    return [{ type: 'library', name, version, purl, ...licensed(license) }]
  } catch {
    // Fixtures and templates of packages are called so too.
    return []
  }
}

function pythonPackage(text: string): readonly Component[] {
  const [head = new Map<string, string>()] = paragraphs(text)
  const [name, version] = ['Name', 'Version'].map((key) => head.get(key) ?? '')
  if (!name || !version) return []
  const purl = `pkg:pypi/${encodeURIComponent(name.toLowerCase().replaceAll('_', '-'))}@${encodeURIComponent(version)}`
  return [{ type: 'library', name, version, purl, ...licensed(head.get('License') ?? '') }]
}

function licensed(name: string): Pick<Component, 'licenses'> {
  return name === '' || name === 'UNKNOWN' ? {} : { licenses: [{ license: { name: name.slice(0, 200) } }] }
}
