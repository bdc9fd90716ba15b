/** The wording of reasons, as an API server has it: people search for these sentences. */
import type { Container } from '../pod.ts'

export function quoted(items: readonly string[]): string {
  return items.length === 0 ? '' : `"${items.join('", "')}"`
}

export function plural(singular: string, many: string, count: number): string {
  return count === 1 ? singular : many
}

/** `container "a"`, `containers "a", "b"`. */
export function containersNamed(names: readonly string[]): string {
  return `${plural('container', 'containers', names.length)} ${quoted(names)}`
}

/** What set a bad value: the pod, containers, or both. */
export function setters(pod: boolean, names: readonly string[]): readonly string[] {
  return [...(pod ? ['pod'] : []), ...(names.length > 0 ? [containersNamed(names)] : [])]
}

/** Different values, sorted. */
export function distinct(values: readonly string[]): readonly string[] {
  return [...new Set(values)].sort()
}

export function namesOf(containers: readonly Container[]): readonly string[] {
  return containers.map((container) => container.name)
}
