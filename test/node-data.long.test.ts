/**
 * Every named step of an exchange of data, with the agent or the server killed there, on the drivers that this machine has:
 * each ends in the new generation, with what was left behind told once, and kept.
 */
import { suite, test } from 'node:test'
import { DataNode } from './data-node/data-node.ts'
import { exchangeSteps, filled, goBack, hasGoneBack, servedSteps } from './data-node/exchanges.ts'
import { needsAll, needsFile, needsFileSystem, needsRoot } from './needs.ts'

const base = needsAll(needsRoot(), needsFile('/usr/bin/python3', 'apt-get install python3'))
const needs = {
  copy: base,
  btrfs: needsAll(base, needsFile('/usr/sbin/mkfs.btrfs', 'apt-get install btrfs-progs'), needsFileSystem('btrfs')),
}

for (const domain of ['copy', 'btrfs'] as const)
  suite(`an exchange on ${domain}`, { skip: needs[domain] }, () => {
    test('ends in the new generation, whatever dies at whatever step', { timeout: 900_000 }, async (t) => {
      await using node = await DataNode.start({ domain })
      await filled(node)
      let generation = 1
      for (const what of ['agent', 'server'] as const)
        for (const step of what === 'agent' ? exchangeSteps : servedSteps)
          await t.test(`${what} at ${step}`, async () => {
            generation += 1
            node.doom(what, step)
            await goBack(node, generation)
            if (what === 'agent') {
              await node.died()
              await node.begin()
            }
            await hasGoneBack(node, generation)
          })
    })
  })
