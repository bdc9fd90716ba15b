/** What can be broken on a node, by the runners it has. */
import type { Domain } from '../domain/index.ts'
import type { Breakable } from './breaking.ts'
import type { InstanceRunner } from './instance.ts'
import type { ResourceRunner } from './resource.ts'

/** Looks into the maps whenever something is to be broken. */
export function breakableOf(
  instances: ReadonlyMap<string, InstanceRunner>,
  resources: ReadonlyMap<string, ResourceRunner>,
  domain: (app: string) => Promise<Domain>,
  changed: () => void,
): Breakable {
  const of = (app: string, part: string): InstanceRunner[] =>
    [...instances.values()].filter(({ assignment }) => assignment.app === app && assignment.part === part)
  return {
    kill(app, part) {
      const server = resources.get(`${app}.${part}`)
      return [...of(app, part), ...(server === undefined ? [] : [server])].filter((runner) => runner.killNow()).length
    },
    reset: (app, part, uses) => of(app, part).reduce((sum, runner) => sum + runner.reset(uses), 0),
    domain,
    changed,
  }
}
