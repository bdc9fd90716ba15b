/**
 * An authority of this machine's own, for development: made once, and trusted by whoever was told to. Its key lies in one
 * private file together with its certificate, so that there is never one without the other; leaves live in memory only.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { randomId, SteadError } from '../../base/index.ts'
import type { Clock, Random } from '../../base/index.ts'
import type { Certificate } from '../certificate.ts'
import type { CertificateDriver, HostState } from '../driver.ts'
import { counts, hostsMax, wantedFor } from '../hosts.ts'
import { createAuthority, issueLeaf, keyToPem, newKey } from '../issue.ts'
import type { Authority } from '../issue.ts'
import { renewAtMs } from '../renewal.ts'
import { Watchers } from '../watchers.ts'
import { readPrivate, writePrivateOnce } from './private-files.ts'
import { readServable } from './servable.ts'

const authorityLifeMs = 10 * 365 * 86_400_000
const leafLifeMs = 30 * 86_400_000

export interface LocalOptions {
  /** Holds `authority.pem` (certificate and key, 0600) and `ca.pem`, the certificate alone, to be trusted. */
  readonly dir: string
  readonly clock: Clock
  readonly random: Random
}

export interface LocalCertificates extends CertificateDriver {
  /** The file that clients are told to trust. */
  readonly authorityFile: string
}

interface Leaf {
  readonly certificate: Certificate
  readonly renewAtMs: number
}

/** Opens the authority in a directory, or makes it. Throws `certificates.bad-authority`, and as private files do. */
export async function localCertificates({ dir, clock, random }: LocalOptions): Promise<LocalCertificates> {
  const path = join(dir, 'authority.pem')
  const found = (await readPrivate(path)) ?? (await makeAuthority(path, clock, random))
  const authority = readAuthority(found, path, clock.nowMs())
  const authorityFile = join(dir, 'ca.pem')
  await mkdir(dir, { recursive: true })
  await writeFile(authorityFile, authority.certificate)
  const watchers = new Watchers()
  const wanted = new Map<string, Leaf | null>()

  const issue = (host: string): Certificate => {
    const nowMs = clock.nowMs()
    const key = newKey()
    const chain = issueLeaf(authority, host, key, { nowMs, lifeMs: leafLifeMs }, random)
    const files = { chain, chainFile: host, key: keyToPem(key), keyFile: host }
    const certificate = readServable(files, nowMs)
    wanted.set(host, { certificate, renewAtMs: renewAtMs(certificate, random) })
    watchers.tell()
    return certificate
  }
  const find = (host: string): Certificate | null => {
    const key = wantedFor(wanted, host)
    if (key === null) return null
    const leaf = wanted.get(key) ?? null
    const nowMs = clock.nowMs()
    return leaf !== null && leaf.renewAtMs > nowMs && counts(leaf.certificate, nowMs) ? leaf.certificate : issue(key)
  }

  return {
    name: 'local',
    capabilities: { hosts: 'made', wildcards: true, trusted: 'told' },
    authorityFile,
    find,
    challenge: () => null,
    want(hosts) {
      const before = new Map(wanted)
      wanted.clear()
      for (const host of hosts.slice(0, hostsMax)) wanted.set(host, before.get(host) ?? null)
    },
    list: (): HostState[] =>
      [...wanted.keys()].sort().map((host) => ({ host, untilMs: find(host)?.untilMs ?? null, problem: null })),
    onChange: (run) => watchers.add(run),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

function makeAuthority(path: string, clock: Clock, random: Random): Promise<string> {
  // Told apart in a list of trusted authorities, when several machines have one.
  const name = `Stead local authority ${randomId(random, 6)}`
  const made = createAuthority(name, { nowMs: clock.nowMs(), lifeMs: authorityLifeMs }, random)
  return writePrivateOnce(path, made.certificate + keyToPem(made.key), random)
}

function readAuthority(text: string, path: string, nowMs: number): Authority {
  try {
    const certificate = new X509Certificate(text)
    const key = createPrivateKey(text)
    const name = /^CN=(.+)$/m.exec(certificate.subject)?.[1]
    if (name === undefined || !certificate.ca || !certificate.checkPrivateKey(key)) throw new Error('they do not fit')
    if (nowMs >= certificate.validToDate.getTime()) throw new Error(`it expired on ${certificate.validTo}`)
    return { name, key, certificate: certificate.toString() }
  } catch (cause) {
    throw new SteadError({
      code: 'certificates.bad-authority',
      message: `${path} holds no authority that can be used: ${cause instanceof Error ? cause.message : 'it is damaged'}.`,
      hint: 'Delete it and a new one is made, which has to be trusted anew.',
      cause,
    })
  }
}
