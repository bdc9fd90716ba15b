/** Availability: the published vectors, shared parts, cut sets, error budgets, and whole designs. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  all,
  assume,
  assumptions,
  atLeast,
  availability,
  availabilityOf,
  budgetSeconds,
  burnAlerts,
  burnRate,
  cutSets,
  downtimeSecondsPerYear,
  fires,
  inParallel,
  inSeries,
  kOfN,
  ninesOf,
  part,
  plainPaint,
  pointsOfFailure,
  readSources,
  secondsToFire,
  sharedCause,
  uptimeOf,
  uptimeText,
} from '../index.ts'
import type { Inventory, Structure } from '../index.ts'

function near(actual: number, expected: number, digits: number): void {
  assert.ok(Math.abs(actual - expected) < 10 ** -digits, `${actual} is not ${expected}`)
}

function fact(id: string, figure: number): Structure {
  return part({ id, label: id, kind: 'instance', availability: figure })
}

suite('formulas', () => {
  test('published vectors', () => {
    near(kOfN(1, 2, 0.99), 0.9999, 12)
    near(inParallel([0.99, 0.99]), 0.9999, 12)
    near(kOfN(2, 3, 0.99), 0.999702, 12)
    near(kOfN(3, 5, 0.99), 0.9999901494, 12)
    near(kOfN(2, 3, 0.999), 0.999997002, 12)
    near(inSeries([0.999, 0.999, 0.999, 0.999, 0.999]), 0.99500999, 8)
    near(sharedCause(2, 0.99, 0.1), 0.998919, 12)
    near(availabilityOf(999, 1), 0.999, 12)
    near(ninesOf(0.999), 3, 9)
    near(downtimeSecondsPerYear(0.9999) / 60, 52.596, 3)
  })

  test('replicas on one node are not multiplied', () => {
    const replicas = (node: string): readonly Structure[] => [1, 2, 3].map((index) => fact(`${node}/${index}`, 0.99))
    const one = all(fact('node', 0.999), atLeast(1, ...replicas('node')))
    near(availability(one), 0.998999001, 12)
    // The same written as three copies that each need the node.
    near(
      availability(atLeast(1, ...replicas('node').map((replica) => all(fact('node', 0.999), replica)))),
      0.998999001,
      12,
    )
    const three = atLeast(
      1,
      ...[1, 2, 3].map((index) => all(fact(`node${index}`, 0.999), fact(`replica${index}`, 0.99))),
    )
    near(availability(three), 0.9999986727, 10)
  })

  test('two zones, then behind a balancer and a database', () => {
    const zone = (name: string): Structure =>
      all(fact(name, 0.9995), atLeast(1, fact(`${name}1`, 0.99), fact(`${name}2`, 0.99)))
    const zones = atLeast(1, zone('a'), zone('b'))
    near(availability(zones), 0.99999964, 8)
    near(availability(all(zones, fact('balancer', 0.9999), fact('database', 0.9995))), 0.99939969, 8)
  })

  test('any structure agrees with counting all its states', () => {
    let seed = 3
    const next = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed % below
    }
    const figures = [0.9, 0.8, 0.99, 0.5, 0.7, 0.95]
    const random = (depth: number): Structure => {
      if (depth === 0 || next(4) === 0) {
        const index = next(figures.length)
        return fact(`p${index}`, figures[index] ?? 0)
      }
      const of = Array.from({ length: 1 + next(4) }, () => random(depth - 1))
      return next(2) === 0 ? all(...of) : atLeast(1 + next(of.length), ...of)
    }
    const works = (structure: Structure, up: ReadonlySet<string>): boolean => {
      if (structure.kind === 'part') return up.has(structure.part.id)
      const count = structure.of.filter((child) => works(child, up)).length
      return count >= (structure.kind === 'all' ? structure.of.length : structure.needed)
    }
    for (let round = 0; round < 200; round++) {
      const structure = random(3)
      let sum = 0
      for (let state = 0; state < 2 ** figures.length; state++) {
        const up = new Set(figures.flatMap((_, index) => (((state >> index) & 1) === 1 ? [`p${index}`] : [])))
        const chance = figures.reduce(
          (product, figure, index) => product * (up.has(`p${index}`) ? figure : 1 - figure),
          1,
        )
        if (works(structure, up)) sum += chance
      }
      near(availability(structure), sum, 12)
    }
  })

  test('minimal cut sets of one and two parts', () => {
    const structure = all(
      fact('lb', 0.9),
      atLeast(1, all(fact('zone', 0.9), fact('a', 0.9)), all(fact('zone', 0.9), fact('b', 0.9))),
      atLeast(2, fact('x', 0.9), fact('y', 0.9), fact('z', 0.9)),
    )
    const { singles, pairs } = cutSets(structure)
    assert.deepEqual(
      singles.map(({ id }) => id),
      ['lb', 'zone'],
    )
    assert.deepEqual(
      pairs.map((pair) => pair.map(({ id }) => id).join('')),
      ['ab', 'xy', 'xz', 'yz'],
    )
  })

  test('what cannot be worked out is an error, not a guess', () => {
    const many = all(...Array.from({ length: 600 }, (_, index) => fact(`p${index}`, 0.9)))
    assert.throws(() => cutSets(many), { code: 'check.too-complex' })
  })
})

suite('error budgets', () => {
  test('budget, burn rate, and when a full outage fires', () => {
    near(budgetSeconds(0.999) / 60, 43.2, 9)
    near(burnRate(0.999, 144, 10_000), 14.4, 9)
    assert.equal(burnRate(0.999, 0, 0), 0)
    const [page] = burnAlerts
    assert.ok(page !== undefined)
    near(secondsToFire(page, 0.999), 51.84, 9)
    near(secondsToFire(page, 0.99), 518.4, 9)
    near(secondsToFire(page, 0.9999), 5.184, 9)
    for (const alert of burnAlerts) near((alert.burnRate * alert.longSeconds) / (30 * 86_400), alert.budgetSpent, 9)
  })

  test('both windows must burn, and few events say nothing', () => {
    const [page] = burnAlerts
    assert.ok(page !== undefined)
    const bad = { errors: 20, events: 1000 }
    const good = { errors: 0, events: 100 }
    assert.equal(fires(page, 0.999, bad, bad), true)
    assert.equal(fires(page, 0.999, bad, good), false)
    assert.equal(fires(page, 0.999, { errors: 1, events: 2 }, { errors: 1, events: 1 }), false)
  })
})

suite('designs', () => {
  const read = (text: string, path = 'compose.yaml'): Inventory => readSources([{ path, text }], { named: true })
  const shop =
    'services:\n  web:\n    image: web:1\n    ports: ["80:80"]\n    environment: { DB: "postgres://db:5432/shop", CACHE: cache }\n  db: { image: "postgres:18.1" }\n  cache: { image: "redis:8", depends_on: [web] }\n  other: { image: "other:1" }\n'

  test('uses are found in addresses; a cycle ends; one machine is one part', () => {
    const [entry] = uptimeOf(read(shop)).entries
    assert.deepEqual(entry?.singles.map(({ label }) => label).sort(), [
      'cache',
      'db',
      'name resolution',
      'the machine',
      'the provider',
      'the zone',
      'web',
    ])
    near(entry?.availability ?? 0, 0.999 ** 4 * 0.9995 * 0.9999 ** 2, 12)
    assert.deepEqual(entry?.pairs, [])
  })

  test('what one more would buy, with and without a price', () => {
    const [entry] = uptimeOf(read(shop), { machinePerMonth: 5 }).entries
    const web = entry?.improvements.find(({ what }) => what.startsWith('one more web'))
    assert.equal(web?.costPerMonth, 5)
    assert.ok((web?.savedSecondsPerYear ?? 0) > 3600)
    assert.equal(uptimeOf(read(shop)).entries[0]?.improvements[0]?.costPerMonth, null)
    assert.deepEqual(uptimeOf(read(shop), { brief: true }).entries[0]?.improvements, [])
  })

  test('spread over zones counts, and nothing said counts as together', () => {
    const deployment = (spread: string): string =>
      `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 3\n  template:\n    metadata: { labels: { app: web } }\n    spec:\n${spread}      containers: [{ name: web, image: i:1 }]\n---\napiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { type: LoadBalancer, selector: { app: web }, ports: [{ port: 80 }] }\n`
    const topology = (key: string): string => `      topologySpreadConstraints: [{ topologyKey: ${key} }]\n`
    const figure = (spread: string): number =>
      uptimeOf(read(deployment(spread), 'web.yaml')).entries[0]?.availability ?? 0
    const [together, nodes, zones] = [
      figure(''),
      figure(topology('kubernetes.io/hostname')),
      figure(topology('topology.kubernetes.io/zone')),
    ]
    near(together ?? 0, 0.999 * (1 - 0.001 ** 3) * 0.9995 * 0.9999 ** 3, 9)
    assert.ok((nodes ?? 0) > (together ?? 0) && (zones ?? 0) > (nodes ?? 0))
  })

  test('figures can be replaced, the report says which were used', () => {
    const figures = assume(assumptions, ['node=0.5'])
    assert.ok(figures !== null)
    const report = uptimeOf(read(shop), { figures })
    assert.ok((report.entries[0]?.availability ?? 1) < 0.5)
    const text = uptimeText(report, plainPaint)
    assert.match(text, /a machine 50 %/)
    assert.match(text, /99.99999999 %\s+3.2 ms {2}\(an estimate\)/)
    for (const wrong of ['node', 'node=', 'node=2', 'moon=0.9']) assert.equal(assume(assumptions, [wrong]), null)
    assert.ok(pointsOfFailure(report).includes('the machine'))
    assert.deepEqual(
      report.beside.map(({ neededTo, label, availability: own }) => [neededTo, label, own]),
      [
        ['start', 'docker.io', 0.999],
        ['notice', 'nothing that is part of it', null],
      ],
    )
  })

  test('a large design is worked out at once', () => {
    const names = Array.from({ length: 150 }, (_, index) => `s${index}`)
    const services = names.map(
      (name, index) =>
        `  ${name}: { image: "i:1", depends_on: [${names.slice(index + 1, index + 6).join(', ')}]${index === 0 ? ', ports: ["80:80"]' : ''} }`,
    )
    const report = uptimeOf(read(`services:\n${services.join('\n')}\n`))
    assert.equal(report.entries.length, 1)
    assert.equal(report.entries[0]?.singles.length, 150 + 4)
  })
})
