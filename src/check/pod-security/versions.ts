/** Levels and versions of the Pod Security Standards, and what the labels of a namespace say about them. */

export type Level = 'privileged' | 'baseline' | 'restricted'

/** The minor version of Kubernetes 1 whose standards count, or the newest. */
export type Version = number | 'latest'

export interface LevelVersion {
  readonly level: Level
  readonly version: Version
}

/** What each mode of a namespace asks for. `enforce` rejects pods; `audit` and `warn` only say so. */
export interface NamespacePolicy {
  readonly enforce: LevelVersion
  readonly audit: LevelVersion
  readonly warn: LevelVersion
}

/** The newest minor version whose standards are known here. Newer ones are decided as this one, as an older API server does. */
export const newestMinor = 37

export const mostStrict: LevelVersion = { level: 'restricted', version: 'latest' }
const lenient: LevelVersion = { level: 'privileged', version: 'latest' }

/** What an API server without configuration of its own asks for. */
export const openPolicy: NamespacePolicy = { enforce: lenient, audit: lenient, warn: lenient }

const levels: readonly Level[] = ['privileged', 'baseline', 'restricted']
const prefix = 'pod-security.kubernetes.io/'

/** `restricted:latest`, `baseline:v1.24`. */
export function formatLevelVersion({ level, version }: LevelVersion): string {
  return `${level}:${version === 'latest' ? version : `v1.${version}`}`
}

export function parseLevel(text: string): Level | null {
  return levels.find((level) => level === text) ?? null
}

/** `latest` or `v1.N` without leading zeroes; null for anything else. */
export function parseVersion(text: string): Version | null {
  if (text === 'latest') return 'latest'
  const match = /^v1\.(0|[1-9]\d{0,8})$/.exec(text)
  return match === null ? null : Number(match[1])
}

/** A label whose value the API server does not take. */
export interface BadLabel {
  readonly label: string
  readonly value: string
  readonly message: string
}

/**
 * The policy that the labels of a namespace ask for. A level or version that cannot be read is never taken for a weaker
 * `enforce`: it counts as restricted and latest; for `audit` and `warn`, which stop nothing, such a level counts as privileged.
 * `warn` follows a stricter `enforce` unless it is set itself.
 */
export function policyOf(
  labels: Readonly<Record<string, string>>,
  defaults: NamespacePolicy = openPolicy,
): { readonly policy: NamespacePolicy; readonly bad: readonly BadLabel[] } {
  const bad: BadLabel[] = []

  function levelOf(mode: string, fallback: Level, unreadable: Level): Level {
    const value = labels[`${prefix}${mode}`]
    if (value === undefined) return fallback
    const level = parseLevel(value)
    if (level === null) bad.push({ label: `${prefix}${mode}`, value, message: `must be one of ${levels.join(', ')}` })
    return level ?? unreadable
  }

  function versionOf(mode: string, fallback: Version): Version {
    const value = labels[`${prefix}${mode}-version`]
    if (value === undefined) return fallback
    const version = parseVersion(value)
    if (version === null) bad.push({ label: `${prefix}${mode}-version`, value, message: 'must be "latest" or "v1.x"' })
    return version ?? 'latest'
  }

  const enforce = {
    level: levelOf('enforce', defaults.enforce.level, 'restricted'),
    version: versionOf('enforce', defaults.enforce.version),
  }
  const audit = {
    level: levelOf('audit', defaults.audit.level, 'privileged'),
    version: versionOf('audit', defaults.audit.version),
  }
  const warn = {
    level: levelOf('warn', defaults.warn.level, 'privileged'),
    version: versionOf('warn', defaults.warn.version),
  }
  const enforced = parseLevel(labels[`${prefix}enforce`] ?? '') !== null
  const follows =
    enforced && labels[`${prefix}warn`] === undefined && levels.indexOf(enforce.level) > levels.indexOf(warn.level)
  if (!follows) return { policy: { enforce, audit, warn }, bad }
  const version = labels[`${prefix}warn-version`] === undefined ? enforce.version : warn.version
  return { policy: { enforce, audit, warn: { level: enforce.level, version } }, bad }
}
