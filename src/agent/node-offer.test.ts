/** What a node offers: what is found, what its owner says, and what changes while it runs. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { upwardSchema } from '../protocol/index.ts'
import { gpusIn, type NodeOfferOptions, NodeOffers } from './node-offer.ts'

const strong = { deadlineCpu: 'native', fifoCpu: 'native', bestEffortCpu: 'native' } as const

class Rig implements Disposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'st-offer-'))
  readonly file: string = join(this.dir, 'node.json')
  readonly notices: string[] = []
  #written = 0

  offers(change: Partial<NodeOfferOptions> = {}): NodeOffers {
    const onNotice = (text: string): void => void this.notices.push(text)
    const nvidia = join(this.dir, 'nvidia')
    return new NodeOffers({ file: this.file, address: null, capabilities: strong, nvidia, onNotice, ...change })
  }

  declare(text: string): void {
    writeFileSync(this.file, text)
    // Two writes of the same moment and length differ in the time of their change alone.
    utimesSync(this.file, ++this.#written, this.#written)
  }

  /** A GPU as the driver of NVIDIA tells of it. */
  gpu(bus: string, model: string, minor: number): void {
    const dir = join(this.dir, 'nvidia', 'gpus', bus)
    mkdirSync(dir, { recursive: true })
    const text = `Model: \t\t ${model}\nIRQ:   \t\t 24\nGPU UUID: \t GPU-0\nDevice Minor: \t ${minor}\nGPU Excluded:\t No\n`
    writeFileSync(join(dir, 'information'), text)
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

suite('offer of a node', () => {
  test('without a word from its owner it is what the machine has; time is reserved where the kernel can', () => {
    using rig = new Rig()
    const offer = rig.offers().now()
    const reservable = availableParallelism() < 2 ? 0 : 1
    assert.deepEqual(
      [offer.cpu, offer.gpus, offer.labels, offer.address, offer.realtimeCores, offer.bestEffortFactor],
      [availableParallelism(), null, {}, '127.0.0.1', reservable, 4],
    )
    assert.ok(offer.memoryBytes > 2 ** 20)
    const capabilities = { deadlineCpu: 'refused', fifoCpu: 'refused', bestEffortCpu: 'refused' } as const
    const weak = rig.offers({ capabilities, address: '10.0.0.7' }).now()
    assert.deepEqual([weak.realtimeCores, weak.bestEffortFactor, weak.address], [0, 1, '10.0.0.7'])
    assert.deepEqual(upwardSchema.parse({ type: 'tasks-offer', offer }), { type: 'tasks-offer', offer })
  })

  test('GPUs of one model are found with their devices, and those of another are named', () => {
    using rig = new Rig()
    assert.equal(gpusIn(join(rig.dir, 'nvidia')), null)
    rig.gpu('0000:00:05.0', 'NVIDIA A100-SXM4-40GB', 1)
    rig.gpu('0000:00:04.0', 'NVIDIA A100-SXM4-40GB', 0)
    rig.gpu('0000:00:06.0', 'Tesla T4', 2)
    const offers = rig.offers()
    assert.deepEqual(offers.now().gpus, { model: 'NVIDIA-A100-SXM4-40GB', count: 2 })
    assert.deepEqual(offers.devicesOf([1]).slice(0, 1), ['/dev/nvidia1'])
    assert.deepEqual(offers.devicesOf([]), [])
    assert.match(rig.notices.join(), /NVIDIA-A100-SXM4-40GB; Tesla-T4 is left out/)
    rig.declare('{ "gpus": null }')
    assert.equal(offers.now().gpus, null)
  })

  test('what its owner says is taken up when it changes, and goes when the file goes', () => {
    using rig = new Rig()
    const offers = rig.offers()
    rig.declare(
      JSON.stringify({
        cpu: 2.5,
        memory: '1.5GiB',
        gpus: { model: 'T4', count: 2, devices: ['/dev/a', '/dev/b'], shared: ['/dev/ctl'] },
        counted: { matlab: 3 },
        network: '2.5Gbit/s',
        realtimeCores: 9,
        bestEffortFactor: 2,
        labels: { disk: 'nvme' },
        forecast: true,
      }),
    )
    assert.deepEqual(offers.now(), {
      cpu: 2.5,
      memoryBytes: 1.5 * 2 ** 30,
      gpus: { model: 'T4', count: 2 },
      labels: { disk: 'nvme' },
      address: '127.0.0.1',
      realtimeCores: 2,
      bestEffortFactor: 2,
      counted: { matlab: 3 },
      usesForecast: true,
    })
    assert.equal(offers.networkBits(), 2.5e9)
    assert.deepEqual(offers.devicesOf([1, 0]), ['/dev/b', '/dev/a', '/dev/ctl'])
    rig.declare('{ "memory": 1048576 }')
    assert.deepEqual([offers.now().memoryBytes, offers.networkBits()], [1_048_576, null])
    rmSync(rig.file)
    assert.equal(offers.now().cpu, availableParallelism())
    assert.deepEqual(rig.notices, [])
  })

  test('a file that makes no sense changes nothing, and is said once', () => {
    using rig = new Rig()
    const offers = rig.offers()
    rig.declare('{ "cpu": 3 }')
    assert.equal(offers.now().cpu, 3)
    const bad: readonly [string, RegExp][] = [
      ['{', /JSON/],
      ['[]', /expected object/],
      ['{ "cpus": 4 }', /cpus/],
      ['{ "cpu": -1 }', /cpu/],
      ['{ "memory": "24Gb" }', /memory: .*24GiB|memory/],
      ['{ "network": "1Gbps" }', /network: must be such as 1Gbit\/s/],
      ['{ "gpus": { "model": "T4", "count": 2, "devices": ["/dev/a"] } }', /gpus: needs a device for each GPU/],
      [
        '{ "gpus": { "model": "T4", "count": 1, "devices": ["/etc/passwd"] } }',
        /gpus\.devices\.0: must be a path below/,
      ],
    ]
    for (const [text, message] of bad) {
      rig.declare(text)
      assert.equal(offers.now().cpu, 3, text)
      offers.now()
      assert.equal(rig.notices.length, 1, text)
      assert.match(rig.notices.pop() ?? '', message, text)
    }
  })
})
