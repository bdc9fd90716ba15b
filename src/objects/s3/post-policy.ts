/**
 * Presigned forms: the policy that somebody with a key has signed, and whether what a browser sends is what it allows. Pure.
 * Forms may also be signed in the old way (version 2, over the policy), which libraries still make.
 */
import { createHmac } from 'node:crypto'
import type { Credential } from './authenticate.ts'
import { S3Failure } from './failure.ts'
import { algorithm, sameSignature, signingKey } from './signature.ts'

/** What a policy allows beside its fields. */
export interface PostLimits {
  readonly bytesMin: number
  readonly bytesMax: number | undefined
}

/** Fields that no condition has to cover. */
const uncovered =
  /^(?:x-amz-signature|x-amz-algorithm|x-amz-credential|x-amz-date|x-amz-security-token|x-amz-checksum-.*|policy|file|signature|awsaccesskeyid|x-ignore-.*)$/

/**
 * Checks signature, time and conditions of a form. Gives the credential that signed it and the limits of its file; undefined
 * where it is not signed at all.
 */
export function checkPostPolicy(
  fields: ReadonlyMap<string, string>,
  bucket: string,
  find: (accessKeyId: string) => Credential | undefined,
  nowMs: number,
): { readonly credential: Credential; readonly limits: PostLimits } | undefined {
  const policy = fields.get('policy')
  if (policy === undefined) {
    if (fields.has('signature') || fields.has('x-amz-signature')) throw invalid('it is missing')
    return undefined
  }
  const credential = signerOf(fields, policy, find)
  const document = objectOf(parse(Buffer.from(policy, 'base64').toString('utf8')))
  const expiration = document['expiration']
  if (typeof expiration !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(expiration)) {
    throw invalid('its expiration is no date')
  }
  if (Date.parse(expiration) < nowMs) throw new S3Failure('AccessDenied', 'The policy of the form has expired.')
  return { credential, limits: checkConditions(document['conditions'], fields, bucket) }
}

function signerOf(
  fields: ReadonlyMap<string, string>,
  policy: string,
  find: (accessKeyId: string) => Credential | undefined,
): Credential {
  const signature = fields.get('x-amz-signature')
  if (signature !== undefined) {
    if (fields.get('x-amz-algorithm') !== algorithm) throw invalid(`its algorithm is not ${algorithm}`)
    const [accessKeyId = '', date = '', region = '', service = ''] = (fields.get('x-amz-credential') ?? '').split('/')
    const credential = known(accessKeyId, find)
    const key = signingKey(credential.secretAccessKey, { date, region, service })
    if (!sameSignature(createHmac('sha256', key).update(policy).digest('hex'), signature)) {
      throw new S3Failure('SignatureDoesNotMatch')
    }
    return credential
  }
  const old = fields.get('signature')
  const accessKeyId = fields.get('awsaccesskeyid')
  if (old === undefined || accessKeyId === undefined) {
    throw new S3Failure('InvalidArgument', 'A form with a policy needs its signature and access key.')
  }
  const credential = known(accessKeyId, find)
  const expected = createHmac('sha1', credential.secretAccessKey).update(policy).digest('base64')
  if (!sameSignature(expected, old)) throw new S3Failure('SignatureDoesNotMatch')
  return credential
}

function known(accessKeyId: string, find: (accessKeyId: string) => Credential | undefined): Credential {
  const credential = find(accessKeyId)
  if (credential === undefined) throw new S3Failure('InvalidAccessKeyId')
  return credential
}

function checkConditions(source: unknown, fields: ReadonlyMap<string, string>, bucket: string): PostLimits {
  if (!Array.isArray(source) || source.length === 0) throw invalid('it has no conditions')
  const conditions: unknown[] = source
  const values = new Map([...fields, ['bucket', bucket]])
  const covered = new Set<string>()
  let limits: PostLimits = { bytesMin: 0, bytesMax: undefined }
  for (const condition of conditions) {
    if (Array.isArray(condition) && condition[0] === 'content-length-range') limits = limitsOf(condition)
    else
      for (const [name, kind, wanted] of comparisonsOf(condition)) {
        covered.add(name)
        const value = values.get(name) ?? ''
        const holds = kind === 'eq' ? value === wanted : value.startsWith(wanted)
        if (!holds) throw new S3Failure('AccessDenied', `The policy of the form does not allow this ${name}.`)
      }
  }
  const extra = [...fields.keys()].find((name) => !covered.has(name) && !uncovered.test(name))
  if (extra !== undefined)
    throw new S3Failure('AccessDenied', `The policy of the form does not allow a field ${extra}.`)
  return limits
}

function limitsOf(condition: readonly unknown[]): PostLimits {
  const [, min, max] = condition
  const [bytesMin, bytesMax] = [Number(min), Number(max)]
  if (condition.length !== 3 || !(bytesMin >= 0) || !(bytesMax >= bytesMin)) {
    throw invalid('content-length-range needs two numbers')
  }
  return { bytesMin, bytesMax }
}

/** Field, kind and value of one condition. */
function comparisonsOf(condition: unknown): readonly (readonly [string, 'eq' | 'starts-with', string])[] {
  if (Array.isArray(condition)) {
    const [kind, field, value]: unknown[] = condition
    const operator = typeof kind === 'string' ? kind.toLowerCase() : ''
    if (condition.length !== 3 || typeof field !== 'string' || !field.startsWith('$') || typeof value !== 'string') {
      throw invalid('a condition cannot be read')
    }
    if (operator !== 'eq' && operator !== 'starts-with') throw invalid(`there is no condition ${operator}`)
    return [[field.slice(1).toLowerCase(), operator, value]]
  }
  const pairs = Object.entries(objectOf(condition))
  if (pairs.length === 0) throw invalid('a condition is empty')
  return pairs.map(([name, value]) => {
    if (typeof value !== 'string') throw invalid('a condition cannot be read')
    return [name.toLowerCase(), 'eq', value] as const
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('it is not JSON')
  }
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('it cannot be read')
  return Object.fromEntries(Object.entries(value))
}

function invalid(what: string): S3Failure {
  return new S3Failure('InvalidPolicyDocument', `The policy of the form cannot be used: ${what}.`)
}
