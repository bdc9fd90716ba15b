/**
 * Bucket policies: reading them, and what they say about one request. Principals are accounts; what a policy can say that is
 * not evaluated here is refused when it is put, never ignored when it is asked.
 */
import { S3Failure } from './failure.ts'

export const policyBytesMax: number = 20 * 1024
const statementsMax = 100
const patternBytesMax = 2048

/** One statement, with every field a list. */
interface Statement {
  readonly allow: boolean
  /** Accounts, or `*` for everybody. */
  readonly principals: readonly string[]
  readonly actions: readonly string[]
  readonly notActions: boolean
  readonly resources: readonly string[]
  readonly notResources: boolean
  readonly conditions: readonly Condition[]
}

interface Condition {
  readonly operator: string
  readonly ifExists: boolean
  readonly key: string
  readonly values: readonly string[]
}

export interface Policy {
  readonly statements: readonly Statement[]
}

/** A request as policies see it. */
export interface PolicyQuestion {
  /** `s3:GetObject`. */
  readonly action: string
  /** `bucket` or `bucket/key`. */
  readonly resource: string
  /** Empty for nobody in particular. */
  readonly account: string
  /** Values of condition keys, lower case. */
  readonly values: ReadonlyMap<string, string>
}

/** Refused by a statement, allowed by one, or neither. */
export type PolicyVerdict = 'deny' | 'allow' | 'silent'

type Test = (value: string, wanted: string) => boolean

const operators: Readonly<Record<string, { readonly test: Test; readonly negated?: boolean }>> = {
  StringEquals: { test: (value, wanted) => value === wanted },
  StringNotEquals: { test: (value, wanted) => value === wanted, negated: true },
  StringEqualsIgnoreCase: { test: (value, wanted) => value.toLowerCase() === wanted.toLowerCase() },
  StringNotEqualsIgnoreCase: { test: (value, wanted) => value.toLowerCase() === wanted.toLowerCase(), negated: true },
  StringLike: { test: like },
  StringNotLike: { test: like, negated: true },
  NumericEquals: { test: (value, wanted) => Number(value) === Number(wanted) },
  NumericNotEquals: { test: (value, wanted) => Number(value) === Number(wanted), negated: true },
  NumericLessThan: { test: (value, wanted) => Number(value) < Number(wanted) },
  NumericLessThanEquals: { test: (value, wanted) => Number(value) <= Number(wanted) },
  NumericGreaterThan: { test: (value, wanted) => Number(value) > Number(wanted) },
  NumericGreaterThanEquals: { test: (value, wanted) => Number(value) >= Number(wanted) },
  Bool: { test: (value, wanted) => value === wanted.toLowerCase() },
  IpAddress: { test: inNetwork },
  NotIpAddress: { test: inNetwork, negated: true },
}

/** What every request has a value for, or may have. */
const conditionKeys =
  /^(aws:(sourceip|referer|useragent|securetransport|principalaccount|username)|s3:(prefix|delimiter|max-keys|versionid|signatureage|authtype|x-amz-[a-z-]+|existingobjecttag\/.+|requestobjecttag\/.+))$/

/** Reads a policy of a bucket. Throws MalformedPolicy, or NotImplemented for what is valid but not done here. */
export function readPolicy(text: string, bucket: string): Policy {
  if (Buffer.byteLength(text) > policyBytesMax) throw invalid('it is larger than 20 KiB')
  const document = objectOf(parse(text), 'the document')
  const version = document['Version'] ?? '2008-10-17'
  if (version !== '2012-10-17' && version !== '2008-10-17') throw invalid('Version must be 2012-10-17')
  const listed = document['Statement']
  const statements = Array.isArray(listed) ? listed : [listed]
  if (statements.length === 0 || statements.length > statementsMax)
    throw invalid('it must have from 1 to 100 statements')
  return { statements: statements.map((item: unknown) => readStatement(objectOf(item, 'a statement'), bucket)) }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('it is not JSON')
  }
}

function readStatement(source: Record<string, unknown>, bucket: string): Statement {
  const effect = source['Effect']
  if (effect !== 'Allow' && effect !== 'Deny') throw invalid('Effect must be Allow or Deny')
  if (source['NotPrincipal'] !== undefined) throw invalid('NotPrincipal is not supported')
  const notActions = source['NotAction'] !== undefined
  const notResources = source['NotResource'] !== undefined
  const resources = stringsOf(source[notResources ? 'NotResource' : 'Resource'], 'Resource').map((resource) => {
    const path = /^arn:aws:s3:[^:]*:[^:]*:(.+)$/.exec(resource)?.[1] ?? ''
    if (path !== bucket && !path.startsWith(`${bucket}/`) && !/^[^/]*[*?]/.test(path)) {
      throw invalid(`the resource ${resource} does not belong to this bucket`)
    }
    return path
  })
  return {
    allow: effect === 'Allow',
    principals: readPrincipals(source['Principal']),
    actions: stringsOf(source[notActions ? 'NotAction' : 'Action'], 'Action'),
    notActions,
    resources,
    notResources,
    conditions: readConditions(source['Condition']),
  }
}

function readPrincipals(source: unknown): readonly string[] {
  if (source === '*') return ['*']
  const named = objectOf(source, 'Principal')
  const unknown = Object.keys(named).find((kind) => kind !== 'AWS' && kind !== 'CanonicalUser')
  if (unknown !== undefined) throw invalid(`principals of the kind ${unknown} are not supported`)
  const principals = ['AWS', 'CanonicalUser'].flatMap((kind) =>
    named[kind] === undefined ? [] : stringsOf(named[kind], 'Principal'),
  )
  return principals.map(
    (principal) =>
      /^arn:aws:iam::([^:]*):(?:root|user\/(.+))$/
        .exec(principal)
        ?.slice(1)
        .findLast((part) => part) ?? principal,
  )
}

function readConditions(source: unknown): readonly Condition[] {
  if (source === undefined) return []
  return Object.entries(objectOf(source, 'Condition')).flatMap(([name, pairs]) => {
    const ifExists = name.endsWith('IfExists')
    const operator = ifExists ? name.slice(0, -'IfExists'.length) : name
    if (operator !== 'Null' && operators[operator] === undefined)
      throw invalid(`the condition ${name} is not supported`)
    return Object.entries(objectOf(pairs, name)).map(([key, values]) => {
      if (!conditionKeys.test(key.toLowerCase())) throw invalid(`the condition key ${key} is not supported`)
      return { operator, ifExists, key: key.toLowerCase(), values: stringsOf(values, key) }
    })
  })
}

/** What a policy says about a request: a refusal wins over a permission. */
export function askPolicy(policy: Policy | undefined, question: PolicyQuestion): PolicyVerdict {
  const speaking = policy?.statements.filter((statement) => applies(statement, question)) ?? []
  if (speaking.some((statement) => !statement.allow)) return 'deny'
  return speaking.length > 0 ? 'allow' : 'silent'
}

function applies(statement: Statement, question: PolicyQuestion): boolean {
  const { principals, actions, notActions, resources, notResources, conditions } = statement
  return (
    (principals.includes('*') || (question.account !== '' && principals.includes(question.account))) &&
    actions.some((action) => like(question.action.toLowerCase(), action.toLowerCase())) !== notActions &&
    resources.some((resource) => like(question.resource, resource)) !== notResources &&
    conditions.every((condition) => holds(condition, question.values.get(condition.key)))
  )
}

function holds({ operator, ifExists, values }: Condition, value: string | undefined): boolean {
  if (operator === 'Null') return values.some((wanted) => (wanted.toLowerCase() === 'true') === (value === undefined))
  const known = operators[operator]
  if (known === undefined) return false
  if (value === undefined) return ifExists || known.negated === true
  return values.some((wanted) => known.test(value, wanted)) !== (known.negated === true)
}

/** Whether a policy lets everybody in: a permission for `*` without a condition that narrows who that is. */
export function isPublicPolicy(policy: Policy | undefined): boolean {
  return (
    policy?.statements.some(
      ({ allow, principals, conditions }) =>
        allow &&
        principals.includes('*') &&
        !conditions.some(({ key }) => /^aws:(sourceip|principalaccount|username)$/.test(key)),
    ) ?? false
  )
}

/** Whether a text fits a pattern of `*` and `?`, in time linear in both for each star. */
export function like(text: string, pattern: string): boolean {
  let [at, to, star, mark] = [0, 0, -1, 0]
  while (at < text.length) {
    if (pattern[to] === '*') {
      star = to++
      mark = at
    } else if (to < pattern.length && (pattern[to] === '?' || pattern[to] === text[at])) {
      at += 1
      to += 1
    } else if (star !== -1) {
      to = star + 1
      mark += 1
      at = mark
    } else return false
  }
  while (pattern[to] === '*') to += 1
  return to === pattern.length
}

function inNetwork(value: string, wanted: string): boolean {
  const [network = '', bits = '32'] = wanted.split('/')
  const [a, b] = [numberOf(value.replace(/^::ffff:/, '')), numberOf(network)]
  if (a === undefined || b === undefined) return value === network
  const size = 2 ** (32 - Number(bits))
  return Math.floor(a / size) === Math.floor(b / size)
}

function numberOf(address: string): number | undefined {
  const parts = address.split('.').map(Number)
  const valid = parts.length === 4 && parts.every((part) => part >= 0 && part <= 255)
  return valid ? parts.reduce((sum, part) => sum * 256 + part, 0) : undefined
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${what} must be an object`)
  return Object.fromEntries(Object.entries(value))
}

function stringsOf(value: unknown, what: string): readonly string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  const texts = list.map((item) => (typeof item === 'boolean' || typeof item === 'number' ? String(item) : item))
  const strings = texts.filter((item) => typeof item === 'string')
  if (strings.length !== list.length || strings.length === 0) throw invalid(`${what} must be a text or a list of texts`)
  if (strings.some((item) => item.length > patternBytesMax)) throw invalid(`${what} is too long`)
  return strings
}

function invalid(what: string): S3Failure {
  return new S3Failure('MalformedPolicy', `The bucket policy cannot be used: ${what}.`)
}
