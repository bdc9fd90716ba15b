/** Results of simulations as a table for a terminal, and as a plot (SVG) that stands for itself. */
import type { Simulation } from './simulate.ts'

function duration(ms: number): string {
  const seconds = ms / 1000
  return seconds < 100
    ? `${seconds.toFixed(1)} s`
    : seconds < 36_000
      ? `${(seconds / 60).toFixed(1)} min`
      : `${(seconds / 3600).toFixed(1)} h`
}

/** One line for each result, with a head. */
export function simulationTable(results: readonly (readonly [name: string, result: Simulation])[]): string {
  const rows = [
    ['', 'tasks', 'refused', 'cpu used', 'GPUs used', 'mean wait', 'longest wait', 'bounded slowdown', 'preempted'],
    ...results.map(([name, result]) => [
      name,
      String(result.ended),
      String(result.refused),
      `${(100 * result.cpuShare).toFixed(1)} %`,
      `${(100 * result.gpuShare).toFixed(1)} %`,
      duration(result.meanWaitMs),
      duration(result.longestWaitMs),
      result.meanBoundedSlowdown.toFixed(2),
      String(result.preempted),
    ]),
  ]
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  '),
    )
    .join('\n')
}

const width = 900
const height = 220
const margin = 50
const colours: readonly string[] = ['#1b6ca8', '#c8553d', '#4f772d', '#7b2d8b', '#8a6d00', '#444444']

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

/** Two plots over time, one line for each result: the share of cpu that is allocated, and how many tasks wait. */
export function simulationSvg(
  title: string,
  results: readonly (readonly [name: string, result: Simulation])[],
): string {
  const samples = results.flatMap(([, result]) => result.samples)
  const from = Math.min(...samples.map(({ atMs }) => atMs))
  const until = Math.max(from + 1, ...samples.map(({ atMs }) => atMs))
  const most = Math.max(1, ...samples.map(({ waiting }) => waiting))
  const x = (atMs: number): string => (margin + ((width - 2 * margin) * (atMs - from)) / (until - from)).toFixed(1)
  const plot = (
    top: number,
    label: string,
    highest: string,
    value: (sample: Simulation['samples'][number]) => number,
  ): string => {
    const y = (share: number): string => (top + height - margin - (height - 2 * margin) * share).toFixed(1)
    const lines = results.map(([, result], index) => {
      const points = result.samples.map((sample) => `${x(sample.atMs)},${y(value(sample))}`).join(' ')
      return `<polyline fill="none" stroke="${colours[index % colours.length] ?? '#000'}" stroke-width="1.2" points="${points}"/>`
    })
    return [
      `<text x="${margin}" y="${top + margin - 12}" font-weight="bold">${escaped(label)}</text>`,
      `<path d="M${margin} ${y(1)} V${y(0)} H${width - margin}" fill="none" stroke="#888"/>`,
      `<text x="${margin - 6}" y="${y(1)}" text-anchor="end">${highest}</text>`,
      `<text x="${margin - 6}" y="${y(0)}" text-anchor="end">0</text>`,
      ...lines,
    ].join('\n')
  }
  const legend = results.map(
    ([name], index) =>
      `<text x="${margin + index * 150}" y="${2 * height + 24}" fill="${colours[index % colours.length] ?? '#000'}">${escaped(name)}</text>`,
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${2 * height + 40}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="${margin}" y="22" font-size="15">${escaped(title)}</text>`,
    plot(0, 'cpu allocated', '100 %', ({ cpuShare }) => cpuShare),
    plot(height, 'tasks waiting', String(most), ({ waiting }) => waiting / most),
    ...legend,
    '</svg>',
    '',
  ].join('\n')
}
