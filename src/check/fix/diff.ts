/** Unified diffs of texts that were changed in known places: no search for a shortest one, the replacements say where. */

const contextLines = 3

interface Hunk {
  readonly oldStart: number
  readonly lines: readonly string[]
  readonly oldCount: number
  readonly newCount: number
  readonly newStart: number
}

/** The diff of two texts, or '' when they are the same. Lines that stay are found from both ends and between equal lines. */
export function unifiedDiff(path: string, before: string, after: string): string {
  if (before === after) return ''
  const hunks = hunksOf(linesOf(before), linesOf(after))
  const body = hunks.map(
    (hunk) => `@@ -${hunk.oldStart},${hunk.oldCount} +${hunk.newStart},${hunk.newCount} @@\n${hunk.lines.join('\n')}\n`,
  )
  const name = path.replace(/^\/+/, '')
  return `--- a/${name}\n+++ b/${name}\n${body.join('')}`
}

/** Lines with their newline; a last one without it says so, in the words that `patch` knows. */
function linesOf(text: string): readonly string[] {
  const lines = text.split('\n')
  const last = lines.pop() ?? ''
  return last === '' ? lines : [...lines, `${last}\n\\ No newline at end of file`]
}

interface Step {
  readonly kind: ' ' | '-' | '+'
  readonly text: string
}

/** Longest look ahead for a line that stays. Insertions of one mending are a few dozen lines. */
const lookAheadMax = 400

function stepsOf(before: readonly string[], after: readonly string[]): readonly Step[] {
  const steps: Step[] = []
  let oldIndex = 0
  let newIndex = 0
  while (oldIndex < before.length || newIndex < after.length) {
    const oldLine = before[oldIndex]
    const newLine = after[newIndex]
    if (oldLine !== undefined && oldLine === newLine) {
      steps.push({ kind: ' ', text: oldLine })
      oldIndex++
      newIndex++
      continue
    }
    const { removed, added } = nextMeeting(before, after, oldIndex, newIndex)
    for (let index = 0; index < removed; index++) steps.push({ kind: '-', text: before[oldIndex + index] ?? '' })
    for (let index = 0; index < added; index++) steps.push({ kind: '+', text: after[newIndex + index] ?? '' })
    oldIndex += removed
    newIndex += added
  }
  return steps
}

/** How many lines of each text to pass until both are the same again: the fewest in sum. */
function nextMeeting(
  before: readonly string[],
  after: readonly string[],
  oldIndex: number,
  newIndex: number,
): { removed: number; added: number } {
  for (let sum = 1; sum <= lookAheadMax; sum++)
    for (let removed = 0; removed <= sum; removed++) {
      const added = sum - removed
      const oldLine = before[oldIndex + removed]
      if (oldLine !== undefined && oldLine === after[newIndex + added]) return { removed, added }
    }
  return { removed: before.length - oldIndex, added: after.length - newIndex }
}

function hunksOf(before: readonly string[], after: readonly string[]): readonly Hunk[] {
  const steps = stepsOf(before, after)
  const changed = steps.flatMap((step, index) => (step.kind === ' ' ? [] : [index]))
  const ranges: { from: number; to: number }[] = []
  for (const index of changed) {
    const last = ranges.at(-1)
    const from = Math.max(0, index - contextLines)
    const to = Math.min(steps.length, index + contextLines + 1)
    if (last !== undefined && from <= last.to) last.to = to
    else ranges.push({ from, to })
  }
  return ranges.map(({ from, to }) => {
    const own = steps.slice(from, to)
    const earlier = steps.slice(0, from)
    return {
      oldStart: earlier.filter((step) => step.kind !== '+').length + 1,
      newStart: earlier.filter((step) => step.kind !== '-').length + 1,
      oldCount: own.filter((step) => step.kind !== '+').length,
      newCount: own.filter((step) => step.kind !== '-').length,
      lines: own.map((step) => `${step.kind}${step.text}`),
    }
  })
}
