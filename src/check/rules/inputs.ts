/** Small inputs that the examples of rules are made of. Each is a whole input that its reader takes. */
import type { Example } from './rule.ts'

function indent(text: string, spaces: number): string {
  return text
    .trim()
    .split('\n')
    .map((line) => `${' '.repeat(spaces)}${line}`)
    .join('\n')
}

/** A deployment whose container and pod have the given fields more. */
export function deployment(container = '', pod = '', spec = 'replicas: 2'): Example {
  const lines = [
    'apiVersion: apps/v1',
    'kind: Deployment',
    'metadata:',
    '  name: web',
    'spec:',
    indent(spec, 2),
    '  selector:',
    '    matchLabels: { app: web }',
    '  template:',
    '    metadata:',
    '      labels: { app: web }',
    '    spec:',
    ...(pod === '' ? [] : [indent(pod, 6)]),
    '      containers:',
    '        - name: web',
    '          image: registry.example.com/web:1.4.2',
    ...(container === '' ? [] : [indent(container, 10)]),
  ]
  return { path: 'web.yaml', text: `${lines.join('\n')}\n` }
}

/** Any YAML input. */
export function yaml(text: string, path = 'example.yaml'): Example {
  return { path, text: `${text.trim()}\n` }
}

/** A deployment and other objects after it. */
export function withObjects(example: Example, objects: string): Example {
  return { path: example.path, text: `${example.text}---\n${objects.trim()}\n` }
}

export function compose(service: string): Example {
  return yaml(`services:\n  web:\n    image: registry.example.com/web:1.4.2\n${indent(service, 4)}`, 'compose.yaml')
}

/** A plan with one resource. */
export function plan(type: string, values: Readonly<Record<string, unknown>>): Example {
  const resource = { address: `${type}.example`, mode: 'managed', type, name: 'example', values }
  const value = { format_version: '1.2', planned_values: { root_module: { resources: [resource] } } }
  return { path: 'plan.json', text: `${JSON.stringify(value, null, 2)}\n` }
}

export function unit(lines: string): Example {
  return { path: 'web.service', text: `[Service]\nExecStart=/usr/bin/web\n${lines.trim()}\n` }
}
