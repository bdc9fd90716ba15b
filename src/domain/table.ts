/** The capability table of the README, made from what the drivers say of themselves. */
import type { DomainDriver } from './driver.ts'

/** A Markdown table, one column for each driver. */
export function capabilityTable(drivers: readonly DomainDriver[]): string {
  const row = (label: string, cell: (driver: DomainDriver) => string): string =>
    `| ${[label, ...drivers.map(cell)].join(' | ')} |`
  return [
    row('', (driver) => `**${driver.name}**`),
    row('---', () => '---'),
    row('writers during a checkpoint', ({ capabilities }) =>
      capabilities.quiesce === 'none' ? 'go on' : 'must be stopped',
    ),
    row('checkpoint and clone', ({ capabilities }) =>
      capabilities.instant ? 'instant, whatever the size' : 'copy all bytes',
    ),
    row('size limit of its own', ({ capabilities }) => (capabilities.sizeLimit ? 'yes' : 'no')),
    row('replication to another node', ({ capabilities }) => capabilities.replicate),
    row('weaker than it could be', ({ capabilities }) => capabilities.weaker.join('; ') || 'nothing'),
  ].join('\n')
}
