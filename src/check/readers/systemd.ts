/**
 * systemd units of services. What a unit may do is said in the words of a pod where both mean the same. Sections and keys
 * follow systemd's own rules: a key may stand several times, an empty value clears it, a backslash continues a line.
 */
import { placeOf } from '../inventory.ts'
import type { Inventory, Subject } from '../inventory.ts'
import { noContainerSecurity, noSecurity } from '../pod.ts'
import type { SourceFile } from '../source.ts'
import { at, itemsOf, textOf, textsOf } from '../tree.ts'
import type { Entry, Tree } from '../tree.ts'

export function isUnitFile(path: string): boolean {
  return path.endsWith('.service')
}

export function readUnit(source: SourceFile, inventory: Inventory): void {
  const { tree, bad } = parseUnit(source.text)
  const name = (source.path.split('/').at(-1) ?? source.path).replace(/\.service$/, '')
  const subject: Subject = {
    platform: 'systemd',
    kind: 'unit',
    name,
    namespace: '',
    source,
    tree,
    path: [],
    documentStart: 0,
  }
  for (const offset of bad) {
    const message = 'this line is no section, no comment and no key with a value'
    inventory.problems.push({ code: 'check.bad-unit', message, hint: null, place: { source, offset } })
  }
  if (at(tree, 'Service') === undefined && at(tree, 'Unit') !== undefined) {
    // It orders others, or ends the machine, and runs nothing itself.
    inventory.others.push(subject)
    return
  }
  if (at(tree, 'Service') === undefined) {
    const message = 'the unit has no section [Service]'
    inventory.problems.push({ code: 'check.bad-unit', message, hint: null, place: placeOf(subject) })
    return
  }
  const last = (section: string, key: string): string | undefined => textsOf(at(tree, section, key)).at(-1)
  const user = last('Service', 'User')
  const dynamic = isYes(last('Service', 'DynamicUser'))
  const bounding = last('Service', 'CapabilityBoundingSet')
  const memory = last('Service', 'MemoryMax')
  const type = last('Service', 'Type') ?? 'simple'
  const restart = last('Service', 'Restart') ?? 'no'
  const waits = ['Requires', 'Wants', 'BindsTo'].flatMap((key) =>
    textsOf(at(tree, 'Unit', key)).flatMap((line) => line.split(/\s+/)),
  )
  const root = user === undefined ? !dynamic : user === 'root' || user === '0'
  inventory.workloads.push({
    ...subject,
    role: type === 'oneshot' ? 'job' : 'service',
    replicas: 1,
    stateful: last('Service', 'StateDirectory') !== undefined,
    podPath: ['Service'],
    pod: {
      annotations: {},
      labels: {},
      security: noSecurity,
      sysctls: [],
      // A unit shares everything with the machine by design: what it may do to it is said by rules of its own.
      hostNetwork: false,
      hostPid: false,
      hostIpc: false,
      hostUsers: undefined,
      os: undefined,
      serviceAccount: null,
      automountToken: undefined,
      volumes: [],
      spread: 'none',
      containers: [
        {
          name,
          role: 'main',
          image: null,
          security: {
            ...noContainerSecurity,
            runAsUser: root ? 0 : undefined,
            runAsNonRoot: !root,
            allowPrivilegeEscalation: isYes(last('Service', 'NoNewPrivileges')) || dynamic ? false : undefined,
            capabilities: { add: [], drop: bounding === '' ? ['ALL'] : [] },
            seccompType: last('Service', 'SystemCallFilter') === undefined ? undefined : 'Localhost',
            readOnlyRootFilesystem:
              /^(?:strict|full)$/.test(last('Service', 'ProtectSystem') ?? '') || dynamic ? true : undefined,
          },
          ports: [],
          environment: environmentOf(tree),
          mounts: [],
          command: (last('Service', 'ExecStart') ?? '').split(/\s+/),
          limits: memory === undefined || memory === 'infinity' ? {} : { memory },
          requests: {},
          readiness: type === 'notify',
          liveness: last('Service', 'WatchdogSec') !== undefined,
          probeHosts: [],
          path: ['Service'],
        },
      ],
    },
    dependsOn: waits
      .filter((unit) => unit.endsWith('.service'))
      .map((unit) => ({ name: unit.replace(/\.service$/, ''), healthy: true })),
    egress: last('Service', 'IPAddressDeny') === 'any' ? textsOf(at(tree, 'Service', 'IPAddressAllow')) : null,
    restarts: restart !== 'no',
    replacedAtOnce: true,
  })
}

function isYes(value: string | undefined): boolean {
  return value !== undefined && /^(?:yes|true|on|1)$/i.test(value)
}

function environmentOf(
  tree: Tree,
): readonly { name: string; value: string | null; path: readonly (string | number)[] }[] {
  return itemsOf(at(tree, 'Service', 'Environment')).flatMap((item, index) => {
    const words = (textOf(item) ?? '').match(/"[^"]*"|'[^']*'|\S+/g) ?? []
    return words.flatMap((word) => {
      const plain = word.replace(/^["']|["']$/g, '')
      const equals = plain.indexOf('=')
      if (equals < 1) return []
      return [{ name: plain.slice(0, equals), value: plain.slice(equals + 1), path: ['Service', 'Environment', index] }]
    })
  })
}

/** Sections to keys to the list of values, in order; offsets of lines that are none of these. */
function parseUnit(text: string): { readonly tree: Tree; readonly bad: readonly number[] } {
  const sections = new Map<string, { offset: number; keys: Map<string, { offset: number; values: Tree[] }> }>()
  const bad: number[] = []
  let section: Map<string, { offset: number; values: Tree[] }> | null = null
  for (const { line, offset } of logicalLines(text)) {
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue
    const header = /^\[([^\]]+)\]$/.exec(line)
    if (header !== null) {
      const name = header[1] ?? ''
      const known = sections.get(name) ?? { offset, keys: new Map() }
      sections.set(name, known)
      section = known.keys
      continue
    }
    const equals = line.indexOf('=')
    if (equals < 1 || section === null) {
      bad.push(offset)
      continue
    }
    const key = line.slice(0, equals).trim()
    const value = line.slice(equals + 1).trim()
    const known = section.get(key) ?? { offset, values: [] }
    section.set(key, known)
    known.values.push({ kind: 'scalar', offset, value, plain: true, size: 1 })
  }
  const entries = [...sections].map(([name, { offset, keys }]): readonly [string, Entry] => {
    const own = [...keys].map(([key, found]): readonly [string, Entry] => [
      key,
      {
        keyOffset: found.offset,
        value: { kind: 'list', offset: found.offset, items: found.values, size: found.values.length + 1 },
      },
    ])
    return [name, { keyOffset: offset, value: { kind: 'map', offset, entries: new Map(own), size: own.length + 1 } }]
  })
  return { tree: { kind: 'map', offset: 0, entries: new Map(entries), size: entries.length + 1 }, bad }
}

function* logicalLines(text: string): Generator<{ readonly line: string; readonly offset: number }> {
  let offset = 0
  let held: { line: string; offset: number } | null = null
  for (const raw of text.split('\n')) {
    const line: string = held === null ? raw.trim() : `${held.line} ${raw.trim()}`
    const start: number = held === null ? offset : held.offset
    offset += raw.length + 1
    if (line.endsWith('\\')) held = { line: line.slice(0, -1).trimEnd(), offset: start }
    else {
      held = null
      yield { line, offset: start }
    }
  }
  if (held !== null) yield held
}
