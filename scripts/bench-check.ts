/**
 * `stead check` over a thousand manifests: time and memory of the whole process, start included; beside peers that are on the
 * PATH (kube-score, kube-linter, checkov), in the same run. Prints a table; decides nothing. A directory may be named
 * instead of the manifests that it makes.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const rounds = 5
const count = 1000
const root = join(import.meta.dirname, '..')

function manifest(index: number): string {
  const name = `part-${index}`
  return `# The ${index}th of them
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
  labels: { app: ${name}, team: team-${index % 7} }
spec:
  replicas: ${(index % 4) + 1}
  selector:
    matchLabels: { app: ${name} }
  template:
    metadata:
      labels: { app: ${name} }
    spec:
      serviceAccountName: ${name}
      containers:
        - name: server
          image: registry.example.com/shop/${name}:1.${index % 20}.0
          ports:
            - name: http
              containerPort: 8080
          env:
            - name: PEER
              value: http://part-${(index * 7) % count}:80
          readinessProbe:
            httpGet: { path: /healthz, port: http }
          resources:
            requests: { cpu: 100m, memory: 64Mi }
            limits: { memory: 128Mi }
---
apiVersion: v1
kind: Service
metadata:
  name: ${name}
spec:
  selector: { app: ${name} }
  ports:
    - port: 80
      targetPort: http
`
}

interface Figures {
  readonly seconds: number
  readonly megabytes: number
}

/** The median of several runs. Null when the program is not there. */
function measure(argv: readonly string[], cwd: string): Figures | null {
  const runs = Array.from({ length: rounds + 1 }, () => {
    const result = spawnSync('/usr/bin/time', ['-f', '%e %M', ...argv], { cwd, encoding: 'utf8', maxBuffer: 1 << 30 })
    const [seconds = '', kilobytes = ''] = result.stderr.trim().split('\n').at(-1)?.split(' ') ?? []
    return { seconds: Number(seconds), megabytes: Number(kilobytes) / 1000 }
  }).slice(1)
  const median = (values: readonly number[]): number =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
  return {
    seconds: median(runs.map(({ seconds }) => seconds)),
    megabytes: median(runs.map(({ megabytes }) => megabytes)),
  }
}

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => existsSync(join(directory, program)))
}

const named = process.argv[2]
const directory = named ?? mkdtempSync(join(tmpdir(), 'stead-bench-check-'))
if (named === undefined)
  for (let index = 0; index < count; index++) writeFileSync(join(directory, `${index}.yaml`), manifest(index))

const peers: readonly { readonly name: string; readonly argv: readonly string[] }[] = [
  { name: 'stead check', argv: [join(root, 'stead'), 'check', directory] },
  { name: 'kube-score', argv: ['sh', '-c', 'exec kube-score score "$0"/*.yaml', directory] },
  { name: 'kube-linter', argv: ['kube-linter', 'lint', directory] },
  {
    name: 'checkov',
    argv: ['checkov', '--quiet', '--compact', '--skip-download', '-d', directory, '--framework', 'kubernetes'],
  },
]
try {
  const own = measure(peers[0]?.argv ?? [], root)
  for (const { name, argv } of peers) {
    if (name !== 'stead check' && !onPath(name)) {
      process.stdout.write(`${name.padEnd(12)}  not on the PATH\n`)
      continue
    }
    const found = name === 'stead check' ? own : measure(argv, root)
    if (found === null || own === null) continue
    const ratio =
      name === 'stead check'
        ? ''
        : `  ${(found.seconds / own.seconds).toFixed(1)} times as long, ${(found.megabytes / own.megabytes).toFixed(1)} times the memory`
    process.stdout.write(
      `${name.padEnd(12)}  ${found.seconds.toFixed(2)} s  ${Math.round(found.megabytes)} MB${ratio}\n`,
    )
  }
} finally {
  if (named === undefined) rmSync(directory, { recursive: true, force: true })
}
