/**
 * Making certificates: an authority of one's own, leaves signed by it, and requests for leaves signed by others. Pure but
 * for the keys, which node:crypto makes. ECDSA on P-256 throughout, as every client of the last ten years takes it.
 */
import { createHash, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { Random } from '../base/index.ts'
import { bareContext, bits, boolean, context, integer, octets, oid, sequence, set, time, toPem, utf8 } from './der.ts'
import type { Der } from './der.ts'

const oids = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const

/** Certificates begin a little earlier than they are made: clocks differ. */
const clockSkewMs = 3_600_000

/** Longest text of a common name (RFC 5280). */
const commonNameMax = 64

export interface Authority {
  readonly name: string
  /** PEM. */
  readonly certificate: string
  readonly key: KeyObject
}

/** From when to when, milliseconds since 1970. */
export interface Life {
  readonly nowMs: number
  readonly lifeMs: number
}

/** A new key for a server or an authority. */
export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** A key in PEM (PKCS #8). */
export function keyToPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' })
}

/** A new authority, which signs itself. It can make leaves and no other authorities. */
export function createAuthority(name: string, { nowMs, lifeMs }: Life, random: Random): Authority {
  const key = newKey()
  const publicKey = publicDer(key)
  const extensions = [
    extension(oids.basicConstraints, true, sequence(boolean(true), integer(Uint8Array.of(0)))),
    // keyCertSign and cRLSign.
    extension(oids.keyUsage, true, bits(Uint8Array.of(0b0000_0110), 1)),
    extension(oids.subjectKeyId, false, octets(keyId(publicKey))),
  ]
  const subject = nameOf(name)
  const body = { issuer: subject, subject, publicKey, extensions, life: { nowMs, lifeMs } }
  return { name, key, certificate: toPem('CERTIFICATE', signed(certificateBody(body, random), key)) }
}

/** A leaf for a host (a name, `*.` and a name, or an address), signed by an authority: PEM. `key` is whose it is, whole or its public half. */
export function issueLeaf(authority: Authority, host: string, key: KeyObject, life: Life, random: Random): string {
  const publicKey = publicDer(key)
  const extensions = [
    extension(oids.basicConstraints, true, sequence()),
    // digitalSignature.
    extension(oids.keyUsage, true, bits(Uint8Array.of(0b1000_0000), 7)),
    extension(oids.extendedKeyUsage, false, sequence(oid(oids.serverAuth))),
    extension(oids.authorityKeyId, false, sequence(bareContext(0, keyId(publicDer(authority.key))))),
    extension(oids.subjectAltName, false, altNames(host)),
  ]
  const body = { issuer: nameOf(authority.name), subject: nameOf(host), publicKey, extensions, life }
  return toPem('CERTIFICATE', signed(certificateBody(body, random), authority.key))
}

/** A request for a leaf (PKCS #10), signed by its own key: PEM. */
export function createRequest(host: string, key: KeyObject): string {
  const wanted = sequence(extension(oids.subjectAltName, false, altNames(host)))
  const attributes = context(0, sequence(oid(oids.extensionRequest), set(wanted)))
  const version = integer(Uint8Array.of(0))
  const body = sequence(version, nameOf(host), publicDer(key), attributes)
  return toPem('CERTIFICATE REQUEST', signed(body, key))
}

interface Body {
  readonly issuer: Der
  readonly subject: Der
  readonly publicKey: Der
  readonly extensions: readonly Der[]
  readonly life: Life
}

function certificateBody({ issuer, subject, publicKey, extensions, life }: Body, random: Random): Der {
  const version3 = context(0, integer(Uint8Array.of(2)))
  // Nineteen bytes: positive, unguessable, and within the twenty that are allowed.
  const serial = integer(Uint8Array.of(1, ...random.bytes(18)))
  const validity = sequence(time(life.nowMs - clockSkewMs), time(life.nowMs + life.lifeMs))
  const algorithm = sequence(oid(oids.ecdsaWithSha256))
  return sequence(
    version3,
    serial,
    algorithm,
    issuer,
    validity,
    subject,
    publicKey,
    context(3, sequence(...extensions)),
  )
}

function signed(body: Der, key: KeyObject): Der {
  return sequence(body, sequence(oid(oids.ecdsaWithSha256)), bits(sign('sha256', body, key)))
}

function extension(id: string, critical: boolean, value: Der): Der {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value))
}

/** A name of one part. One that is too long for it is left out: clients go by the alternative names alone. */
function nameOf(commonName: string): Der {
  if (commonName.length > commonNameMax) return sequence()
  return sequence(set(sequence(oid(oids.commonName), utf8(commonName))))
}

function altNames(host: string): Der {
  const isAddress = host.includes(':') || /^\d+(?:\.\d+){3}$/.test(host)
  return sequence(isAddress ? bareContext(7, addressBytes(host)) : bareContext(2, Buffer.from(host)))
}

function addressBytes(address: string): Der {
  if (!address.includes(':')) return Uint8Array.from(address.split('.'), Number)
  const [head = '', tail = ''] = address.split('::')
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const left = groups(head)
  const right = groups(tail)
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => 0)
  return Uint8Array.from([...left, ...zeros, ...right].flatMap((group) => [group >> 8, group & 0xff]))
}

function publicDer(key: KeyObject): Der {
  return (key.type === 'public' ? key : createPublicKey(key)).export({ type: 'spki', format: 'der' })
}

/** SHA-1 of the key, as RFC 5280 proposes: a name for it, not a protection. */
function keyId(publicKey: Der): Der {
  return createHash('sha1').update(publicKey).digest()
}
