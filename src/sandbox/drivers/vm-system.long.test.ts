/**
 * A real system booted from a disk: a Debian that cloud-init tells what to do, by its own boot code from qcow2 and by a kernel that
 * is named from raw. It is reached at its port, sees its seed, ends by its power button, and finds what it wrote. Minutes, because
 * the processor is emulated.
 */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { after, suite, test } from 'node:test'
import { machineDisk, needsDisk } from '../../../test/machine-parts.ts'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { until, within } from '../bench.conformance.ts'
import type { Disk, Sandbox } from '../driver.ts'
import { variants } from '../fixtures/drivers.ts'

const skip = needsAll(needsDisk(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))
const bootMs = 400_000
const hostUid = 231_077
const port = 7000

/** Says on the console what it has, and answers with a line at a port, from now on at each boot. */
const userData = `#cloud-config
write_files:
  - path: /usr/local/bin/answer
    permissions: '0755'
    content: |
      #!/usr/bin/python3
      import socket, os
      server = socket.create_server(('0.0.0.0', 7000))
      print('answers, word is', open('/run/stead/word').read().strip(), flush=True)
      while True:
          caller, _ = server.accept()
          caller.sendall(('from ' + os.uname().release + '\\n').encode())
          caller.close()
  - path: /etc/systemd/system/answer.service
    content: |
      [Unit]
      After=network.target
      [Service]
      ExecStart=/usr/local/bin/answer
      StandardOutput=tty
      TTYPath=/dev/ttyS0
      [Install]
      WantedBy=multi-user.target
runcmd:
  - echo "boots so far $(wc -l < /root/boots 2>/dev/null || echo 0)" > /dev/ttyS0
  - echo once >> /root/boots
  - systemctl enable --now --no-block answer.service
`

/** Each test boots twice at most. */
const timeout = 3 * bootMs

suite('a system on a disk', { skip, timeout: 2 * timeout }, () => {
  const dir = mkdtempSync(`${tmpdir()}/stead-system-`)
  chmodSync(dir, 0o711)
  after(() => rmSync(dir, { recursive: true, force: true }))
  let count = 0

  /** Boots it, and gives it to `work` once it has said `answers`. */
  async function booted(
    disk: Pick<Disk, 'path' | 'format' | 'kernel'>,
    writtenDir: string,
    work: (sandbox: Sandbox, said: () => Promise<string>) => Promise<void>,
  ): Promise<void> {
    const driver = variants['vm']?.() ?? assert.fail('no driver')
    const alive = setInterval(() => undefined, 1000)
    const recordDir = `${dir}/records-${count++}`
    const vendor = '#cloud-config\nbootcmd:\n  - mkdir -p /run/stead; mount -o ro LABEL=CIDATA /run/stead\n'
    const sandbox = await driver.start({
      id: `system-${process.pid}-${count}`,
      argv: ['debian'],
      env: {},
      cwd: '/',
      mounts: [],
      files: [],
      hostUid,
      limits: { memoryBytes: 512 * 2 ** 20, cpuCores: 1, pidsMax: null, tmpBytes: null },
      syscalls: 'none',
      disk: {
        ...disk,
        writtenDir,
        seed: {
          'user-data': userData,
          'meta-data': 'instance-id: one\n',
          'vendor-data': vendor,
          word: 'mellon\n',
        },
      },
      ports: [port],
      network: null,
      recordDir,
      outputBytesMax: 2 ** 20,
    })
    try {
      const said = async (): Promise<string> =>
        (await Array.fromAsync(driver.output(recordDir))).map((line) => line.text).join('\n')
      await until('it answers', async () => (await said()).includes('answers, word is mellon'), bootMs)
      await work(sandbox, said)
    } finally {
      await sandbox.kill()
      await driver.remove(recordDir)
      clearInterval(alive)
    }
  }

  function madeDir(name: string): string {
    mkdirSync(`${dir}/${name}`, { mode: 0o700 })
    chownSync(`${dir}/${name}`, hostUid, hostUid)
    return `${dir}/${name}`
  }

  function answer(): Promise<string> {
    return new Promise((resolve, reject) => {
      let said = ''
      connect(port, '127.0.0.1')
        .on('data', (chunk) => (said += String(chunk)))
        .on('error', reject)
        .on('close', () => resolve(said))
    })
  }

  test('qcow2 boots by itself, is asked to end, and finds what it wrote', { timeout }, async () => {
    const written = madeDir('written')
    const disk = { path: `${machineDisk.place}/disk.qcow2`, format: 'qcow2' } as const
    const before = statSync(disk.path)
    await booted(disk, written, async (sandbox) => {
      assert.match(await answer(), /^from \d+\.\d+.*cloud/)
      sandbox.signal('SIGTERM')
      assert.equal((await within(sandbox.exited, 'the end', bootMs)).sentence, 'ended with code 0')
    })
    // cloud-init does once what is done once, because the disk knows the instance.
    await booted(disk, written, async (sandbox, said) => {
      assert.doesNotMatch(await said(), /boots so far/)
      await sandbox.machine().snapshot('up')
      assert.deepEqual(
        (await sandbox.machine().snapshots()).map(({ name }) => name),
        ['up'],
      )
      await sandbox.machine().restore('up')
      assert.match(await answer(), /^from /)
    })
    assert.deepEqual([statSync(disk.path).mtimeMs, statSync(disk.path).size], [before.mtimeMs, before.size])
  })

  test('a kernel that is named boots the system of a raw disk', { timeout }, async () => {
    const { place } = machineDisk
    const kernel = {
      path: `${place}/vmlinuz`,
      initrd: `${place}/initrd.img`,
      commandLine: 'root=/dev/vda1 ro console=ttyS0 quiet',
    }
    await booted({ path: `${place}/disk.raw`, format: 'raw', kernel }, madeDir('raw'), async () => {
      assert.match(await answer(), /^from /)
    })
  })
})
