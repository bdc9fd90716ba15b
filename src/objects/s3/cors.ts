/** Cross-origin rules of a bucket: reading, showing, and which one a request of a browser falls under. Pure. */
import { like } from './policy.ts'
import { childrenNamed, malformed, textOf } from './xml.ts'
import type { XmlElement, XmlTree } from './xml.ts'

export interface CorsRule {
  readonly id: string | undefined
  readonly origins: readonly string[]
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly exposed: readonly string[]
  readonly maxAgeSeconds: number | undefined
}

const rulesMax = 100
const methodsKnown = ['GET', 'PUT', 'POST', 'DELETE', 'HEAD']

/** Reads `CORSConfiguration`. Throws MalformedXML. */
export function readCors(root: XmlElement): readonly CorsRule[] {
  const rules = childrenNamed(root, 'CORSRule').map((rule): CorsRule => {
    const list = (name: string): readonly string[] => childrenNamed(rule, name).map((child) => child.text.trim())
    const methods = list('AllowedMethod')
    const origins = list('AllowedOrigin')
    if (methods.length === 0 || origins.length === 0 || methods.some((method) => !methodsKnown.includes(method))) {
      throw malformed('a rule needs origins and methods')
    }
    const age = textOf(rule, 'MaxAgeSeconds')
    return {
      id: textOf(rule, 'ID'),
      origins,
      methods,
      headers: list('AllowedHeader'),
      exposed: list('ExposeHeader'),
      maxAgeSeconds: age === undefined ? undefined : Math.trunc(Number(age)) || 0,
    }
  })
  if (rules.length === 0 || rules.length > rulesMax) throw malformed('there must be from 1 to 100 rules')
  return rules
}

/** The rules as they are shown. */
export function corsTree(rules: readonly CorsRule[]): XmlTree {
  return {
    CORSRule: rules.map((rule) => ({
      ID: rule.id,
      AllowedMethod: rule.methods,
      AllowedOrigin: rule.origins,
      AllowedHeader: rule.headers,
      ExposeHeader: rule.exposed,
      MaxAgeSeconds: rule.maxAgeSeconds,
    })),
  }
}

/** The headers of an answer to a request from `origin`; undefined where no rule covers it. */
export function corsHeaders(
  rules: readonly CorsRule[],
  origin: string,
  method: string,
  requestHeaders: readonly string[],
): Record<string, string> | undefined {
  const rule = rules.find(
    ({ origins, methods, headers }) =>
      origins.some((pattern) => like(origin, pattern)) &&
      methods.includes(method) &&
      requestHeaders.every((name) => headers.some((pattern) => like(name.toLowerCase(), pattern.toLowerCase()))),
  )
  if (rule === undefined) return undefined
  const wildcard = rule.origins.includes('*')
  return {
    'access-control-allow-origin': wildcard ? '*' : origin,
    'access-control-allow-methods': rule.methods.join(', '),
    ...(wildcard ? {} : { vary: 'Origin' }),
    ...(requestHeaders.length > 0 ? { 'access-control-allow-headers': requestHeaders.join(', ') } : {}),
    ...(rule.exposed.length > 0 ? { 'access-control-expose-headers': rule.exposed.join(', ') } : {}),
    ...(rule.maxAgeSeconds === undefined ? {} : { 'access-control-max-age': String(rule.maxAgeSeconds) }),
  }
}
