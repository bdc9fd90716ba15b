/** What py-spy prints, as stacks. Pure; what is not as expected is left out. */
import type { Frame, ThreadStack, WeightedStack } from '../recipe.ts'

/** Of `py-spy dump --json`: the innermost frame first, as it prints them. */
export function pyThreads(text: string): readonly ThreadStack[] {
  const value: unknown = JSON.parse(text)
  if (!Array.isArray(value)) return []
  return value.flatMap((thread: unknown) => {
    const fields = fieldsOf(thread)
    const frames = Array.isArray(fields['frames']) ? fields['frames'].map(frameOf) : []
    const name = textIn(fields, 'thread_name') || 'thread'
    return [{ name, state: fields['active'] === true ? ('running' as const) : ('waiting' as const), frames }]
  })
}

function frameOf(frame: unknown): Frame {
  const fields = fieldsOf(frame)
  const { line } = fields
  return { name: textIn(fields, 'name'), file: textIn(fields, 'filename'), line: typeof line === 'number' ? line : 0 }
}

/** Of `py-spy record --format raw`: one stack a line, the outermost frame first, and how often it was seen. */
export function foldedStacks(text: string): readonly WeightedStack[] {
  return text.split('\n').flatMap((line) => {
    const [, stack, weight] = /^(.+) (\d+)$/.exec(line) ?? []
    if (stack === undefined) return []
    const frames = stack.split(';').map((frame) => frame.replace(/^(.*) \((.*)\)$/, '$1 $2'))
    return [{ frames, weight: Number(weight) }]
  })
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function textIn(fields: Readonly<Record<string, unknown>>, name: string): string {
  const value = fields[name]
  return typeof value === 'string' ? value : ''
}
