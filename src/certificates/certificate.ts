/**
 * A certificate with its key, checked: what is wrong with it is said here, in one sentence with the file, and never by a
 * client that cannot connect. Invariant: what `readCertificate` answers can be served as it is.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { SteadError } from '../base/index.ts'

/** A certificate that can be served. One object stands for one certificate: a new one is a new object. */
export interface Certificate {
  /** The hosts it stands for, lower case; `*.` in front of a name stands for one label. Addresses too. */
  readonly hosts: readonly string[]
  /** PEM: leaf first, then who signed it, without the root. */
  readonly chain: string
  /** PEM. Never printed. */
  readonly key: string
  /** From when and until when it counts, milliseconds since 1970. */
  readonly fromMs: number
  readonly untilMs: number
}

/** What somebody handed over: the texts, and the files they came from, for the sentences. */
export interface CertificateFiles {
  readonly chain: string
  readonly chainFile: string
  readonly key: string
  readonly keyFile: string
}

const certificatesMax = 20
const pemBytesMax = 256 * 1024

/**
 * Checks a certificate and its key. Throws `certificates.bad-certificate`, `certificates.bad-key`,
 * `certificates.key-mismatch`, `certificates.chain-order`, `certificates.no-host`, `certificates.expired`,
 * `certificates.not-yet-valid`.
 */
export function readCertificate(files: CertificateFiles, nowMs: number): Certificate {
  const { chainFile, keyFile } = files
  const chain = parseChain(files.chain, chainFile)
  const leaf = chain[0]
  if (leaf === undefined) throw badCertificate(chainFile, 'holds no certificate')
  const key = parseKey(files.key, keyFile)
  if (!leaf.checkPrivateKey(key)) throw keyMismatch(chain, key, chainFile, keyFile)
  checkOrder(chain, chainFile)
  const hosts = hostsOf(leaf)
  if (hosts.length === 0) {
    throw new SteadError({
      code: 'certificates.no-host',
      message: `The certificate in ${chainFile} names no host.`,
      hint: 'Clients go by its alternative names (subjectAltName) alone: have it issued again with the host in them.',
    })
  }
  const fromMs = leaf.validFromDate.getTime()
  const untilMs = leaf.validToDate.getTime()
  checkTime(chainFile, { fromMs, untilMs }, nowMs)
  return {
    hosts,
    chain: chain.map(String).join(''),
    key: key.export({ type: 'pkcs8', format: 'pem' }),
    fromMs,
    untilMs,
  }
}

/** Whether a certificate stands for a host. */
export function covers({ hosts }: Pick<Certificate, 'hosts'>, host: string): boolean {
  const dot = host.indexOf('.')
  return hosts.includes(host) || (dot > 0 && hosts.includes(`*${host.slice(dot)}`))
}

function parseChain(text: string, file: string): X509Certificate[] {
  if (text.length > pemBytesMax) throw badCertificate(file, `is larger than ${pemBytesMax} bytes`)
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
  if (blocks.length > certificatesMax) throw badCertificate(file, `holds more than ${certificatesMax} certificates`)
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block)
    } catch (cause) {
      throw badCertificate(file, `holds a damaged certificate (number ${i + 1})`, cause)
    }
  })
}

function badCertificate(file: string, what: string, cause?: unknown): SteadError {
  return new SteadError({
    code: 'certificates.bad-certificate',
    message: `${file} ${what}.`,
    hint: 'It is to be PEM: the certificate first, then those of who signed it, each between BEGIN CERTIFICATE and END CERTIFICATE.',
    ...(cause === undefined ? {} : { cause }),
  })
}

function parseKey(text: string, file: string): KeyObject {
  try {
    if (text.length > pemBytesMax) throw new Error('it is too large')
    return createPrivateKey(text)
  } catch (cause) {
    const locked = /BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(text)
    throw new SteadError({
      code: 'certificates.bad-key',
      message: locked
        ? `The key in ${file} is locked with a passphrase.`
        : `${file} holds no private key that can be read.`,
      hint: locked
        ? 'Nobody is there to type it: write the key without one (openssl pkey -in KEY -out KEY.open) and guard the file (0600).'
        : 'It is to be PEM, as in BEGIN PRIVATE KEY.',
      cause,
    })
  }
}

function keyMismatch(
  chain: readonly X509Certificate[],
  key: KeyObject,
  chainFile: string,
  keyFile: string,
): SteadError {
  // The key fits one further down: it is the order that is wrong, not the key.
  if (chain.some((certificate) => certificate.checkPrivateKey(key)))
    return chainOrder(chainFile, 'does not begin with the one of its key')
  return new SteadError({
    code: 'certificates.key-mismatch',
    message: `The key in ${keyFile} is not that of the certificate in ${chainFile}.`,
    hint: 'They were made together: put the two of one issue there. After a renewal both files change.',
  })
}

function checkOrder(chain: readonly X509Certificate[], file: string): void {
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[i + 1]
    if (issuer === undefined || (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))) continue
    throw chainOrder(file, `has one (number ${i + 2}) that did not sign the one before it`)
  }
}

function chainOrder(file: string, what: string): SteadError {
  return new SteadError({
    code: 'certificates.chain-order',
    message: `The list of certificates in ${file} ${what}.`,
    hint: 'The order is: the certificate of the host, who signed it, who signed that; without the root.',
  })
}

function checkTime(file: string, { fromMs, untilMs }: Pick<Certificate, 'fromMs' | 'untilMs'>, nowMs: number): void {
  if (nowMs >= untilMs) {
    throw new SteadError({
      code: 'certificates.expired',
      message: `The certificate in ${file} expired on ${day(untilMs)}.`,
      hint: 'Renew it and put the new one in its place; it is taken up at once. If it is newer than that, check the clock of this machine.',
    })
  }
  if (nowMs >= fromMs) return
  throw new SteadError({
    code: 'certificates.not-yet-valid',
    message: `The certificate in ${file} counts from ${day(fromMs)} only.`,
    hint: 'Check the clock of this machine.',
    retry: 'later',
  })
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

function hostsOf(leaf: X509Certificate): string[] {
  const entries = (leaf.subjectAltName ?? '').split(', ')
  const named = entries.flatMap((entry) => /^(?:DNS|IP Address):([^"\0]+)$/.exec(entry)?.[1] ?? [])
  return named.map((host) => host.toLowerCase())
}
