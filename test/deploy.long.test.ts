/**
 * `stead deploy ssh://...` against a real OpenSSH: from nothing to a running app, what a second deploy sends, what a cut in
 * each step leaves, what is refused and how it is said, and people who come in by their keys.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { ask, eventually, type Result } from './command-line.ts'
import { appFile, server, web } from './small-app.ts'
import { needsSshServer, SshServer } from './ssh-server.ts'

const skip = needsSshServer()
/** Of all tests of a suite together, on a machine that does other things too. */
const timeout = 20 * 60_000

function failedWith({ code, stdout, stderr }: Result, says: RegExp): void {
  assert.equal(code, 1, `${stdout}${stderr}`)
  assert.match(stderr, says)
  assert.ok(!stderr.includes('    at '), stderr)
}

function succeeded({ code, stdout, stderr }: Result): void {
  assert.equal(code, 0, `${stdout}${stderr}`)
}

/** An app whose one service has a large file beside its code. */
function writeApp(box: SshServer, extra: string, largeBytes = 0): void {
  box.client.write({ 'app.ts': appFile(web()), 'web/server.js': `${server}\n// ${extra}` })
  if (largeBytes > 0) writeFileSync(join(box.client.appDir, 'web', 'large'), randomBytes(largeBytes))
}

/** Waits until no release is being rolled out there. */
async function rolledOut({ client, url }: SshServer): Promise<void> {
  await eventually(
    'the rollout ends',
    async () => JSON.parse((await client.stead('releases', '--app', `${url}/small`, '--json')).stdout) as Releases,
    ({ releases }) => releases.every(({ state }) => state !== 'rolling-out'),
  )
}

interface Releases {
  readonly releases: readonly { readonly state: string }[]
}

const answers = async (box: SshServer): Promise<string> =>
  (await ask(box.httpPort, '/', { host: 'small.localhost' })).body

suite('deploy to a bare server', { skip, timeout }, () => {
  let box: SshServer
  before(async () => {
    box = await SshServer.start()
  })
  after(() => box[Symbol.asyncDispose]())

  test('a cut in each step leaves it as it was, and the next try goes on', async () => {
    writeApp(box, 'first', 3_000_000)
    for (const step of [
      'look at the server',
      'pack Stead',
      'send and unpack',
      'see that stead serve runs',
      'bundle the parts',
      'hand it over',
    ]) {
      const deploying = box.startDeploy()
      await deploying.until(new RegExp(`✓ ${step}`), 120_000)
      box.cut()
      await deploying.until(/cut off|was not heard|http:\/\//, 120_000)
      const { code } = await deploying.stop()
      // It may have been quicker than the cut; otherwise it says what happened, once.
      if (code !== 0)
        assert.match(
          deploying.output(),
          /stead: the connection to box was cut off|what became of it was not heard/,
          step,
        )
      if (step === 'look at the server' || step === 'pack Stead')
        assert.ok(!existsSync(join(box.prefix, 'current')), step)
    }
    succeeded(await box.deploy())
    assert.equal(await answers(box), 'ok')
    assert.deepEqual(readdirSync(join(box.prefix, '.incoming')), ['lock'])
    assert.equal(readdirSync(box.prefix).filter((name) => /^\d/.test(name)).length, 1)
  })

  test('a second deploy sends only what changed, and the commands work by the address', async () => {
    writeApp(box, 'second')
    const second = await box.deploy()
    succeeded(second)
    const sent = /send what the server lacks .* (\d+) files?, (\d+) kB/.exec(second.stderr)
    assert.ok(sent !== null && sent[1] === '1' && sent[2] === '1', second.stderr)
    assert.ok(!second.stderr.includes('pack Stead'), second.stderr)
    const status = await box.client.stead('status', `${box.url}/small`, '--json')
    assert.equal((JSON.parse(status.stdout) as { release: number }).release >= 2, true, status.stderr)
    assert.equal((await box.client.stead('logs', 'web', box.url)).code, 0)
    assert.match((await box.client.stead('graph', box.url)).stdout, /small\.localhost/)
    failedWith(await box.client.stead('status', `${box.url}/nosuch`), /no app called nosuch runs on box/)
    const third = await box.deploy()
    assert.match(third.stderr, /send what the server lacks .* nothing/)
  })

  test('jobs are submitted there by the address: what they print, how they end, what they write', async () => {
    writeApp(box, 'jobs')
    succeeded(await box.deploy())
    const job = (...words: string[]): Promise<Result> => box.client.stead('job', ...words, '--on', box.url)
    const run = await box.client.stead(
      'job',
      'run',
      '--cpu',
      '0',
      '--on',
      box.url,
      '--',
      'sh',
      '-c',
      'echo "as $(id -un)"; ls /root; exit 5',
    )
    assert.equal(run.code, 5, run.stderr)
    assert.match(run.stdout, /^as app\n/)
    const dir = join(box.dir, 'data')
    mkdirSync(dir)
    chownSync(dir, 1_850_000_003, 1_850_000_003)
    const program = ['sh', '-c', 'echo "$STEAD_TASK" >"$STEAD_TASK"; echo "task $STEAD_TASK"']
    const array = await box.client.stead('job', 'array', '1-3', '--on', box.url, '--write', dir, '--', ...program)
    succeeded(array)
    const id = array.stdout.trim()
    succeeded(await job('wait', id))
    assert.deepEqual(readdirSync(dir).sort(), ['1', '2', '3'])
    assert.equal((await job('logs', `${id}/2`)).stdout, 'task 2\n')
    box.client.write({
      'sum.sh': '#!/bin/sh\n#SBATCH --job-name=sum\n#SBATCH --time=5\necho "$SLURM_JOB_NAME in $PWD"\n',
    })
    const script = await box.client.stead('job', 'submit', '--on', box.url, 'sum.sh', '--after', id)
    succeeded(script)
    succeeded(await job('wait', script.stdout.trim()))
    assert.equal((await job('logs', script.stdout.trim())).stdout, 'sum in /tmp\n')
    const large = await box.client.stead('job', 'submit', '--on', box.url, '--cpu', '4000', '--', 'true')
    failedWith(large, /needs 4000 cores/)
    const relative = await box.client.stead('job', 'submit', '--on', box.url, '--read', 'data', '--', 'true')
    assert.equal(relative.code, 2)
    assert.match(relative.stderr, /data is no whole path of the server/)
    assert.match((await job('ls', '--all')).stdout, /sum +.*succeeded/)
    // Nothing of it ran here: this machine runs no platform.
    assert.notEqual((await box.client.stead('job', 'ls')).code, 0)
    assert.match((await box.client.stead('audit', '--on', box.url)).stdout, /POST \/v1\/batch\/jobs +done/)
  })

  test('two at once: one is rolled out whole, and who comes while it is hears of it', async () => {
    writeApp(box, 'third')
    const results = await Promise.all([box.deploy(), box.deploy()])
    assert.ok(
      results.some(({ code }) => code === 0),
      results.map(({ stderr }) => stderr).join('\n'),
    )
    for (const result of results)
      if (result.code !== 0) failedWith(result, /is being rolled out by .*: it is in the step .*\n.*Wait for its end/)
    assert.equal(await answers(box), 'ok')
    assert.equal((await box.client.stead('audit', '--verify', '--on', box.url)).code, 0)
  })

  test('Ctrl-C stops it, and nothing is left of it; after the hand-over it only stops looking', async () => {
    writeApp(box, 'fourth', 3_000_000)
    const deploying = box.startDeploy()
    await deploying.until(/✓ look at the server/)
    const { code } = await deploying.stop('SIGINT')
    assert.equal(code, 1, deploying.output())
    assert.match(deploying.output(), /Stopped\. Nothing was left half done/)
    await eventually(
      'the connection is gone',
      async () => box.connections(),
      (count) => count === 0,
    )
    assert.equal(await answers(box), 'ok')
    box.client.write({ 'web/server.js': `setTimeout(() => {${server}}, 5000)` })
    const watched = box.startDeploy()
    await watched.until(/✓ hand it over/)
    assert.equal((await watched.stop('SIGINT')).code, 1, watched.output())
    assert.match(watched.output(), /not followed any more\n *The deployment goes on: see `stead status ssh:\/\/box`/)
    await rolledOut(box)
    succeeded(await box.deploy())
  })

  test('an older Stead there is upgraded when asked, a newer one is left alone', async () => {
    const [own = ''] = readdirSync(box.prefix).filter((name) => /^\d/.test(name))
    const be = (version: string): void => {
      const path = join(box.prefix, own, 'package.json')
      writeFileSync(path, readFileSync(path, 'utf8').replace(/"version": "[^"]*"/, `"version": "${version}"`))
    }
    const { version } = JSON.parse(readFileSync(join(box.prefix, own, 'package.json'), 'utf8')) as { version: string }
    be('999.0.0')
    failedWith(await box.deploy('--upgrade'), /runs Stead 999\.0\.0, and this is .*, which is older/)
    be('0.0.1')
    failedWith(await box.deploy(), /box runs Stead 0\.0\.1, and this is/)
    // What is there becomes a version of its own, as one that was brought long ago.
    renameSync(join(box.prefix, own), join(box.prefix, '0.0.1-old'))
    writeFileSync(join(box.prefix, '0.0.1-old', '.build'), 'old')
    rmSync(join(box.prefix, 'current'))
    symlinkSync('0.0.1-old', join(box.prefix, 'current'))
    const upgraded = await box.deploy('--upgrade')
    succeeded(upgraded)
    assert.match(upgraded.stderr, new RegExp(`put Stead ${version.replaceAll('.', '\\.')} in force`))
    assert.equal(await answers(box), 'ok')
    const platform = await box.client.stead('status', '--all', box.url, '--json')
    assert.equal((JSON.parse(platform.stdout) as { version: string }).version, version)
    // The one before stays, to go back to.
    assert.deepEqual(
      readdirSync(box.prefix)
        .filter((name) => /^\d/.test(name))
        .toSorted(),
      ['0.0.1-old', own],
    )
  })

  test('people come in by their own keys, without a shell, and may what they may', async () => {
    const add = (name: string, role: string, key: string): Promise<Result> =>
      box.client.stead(
        'access',
        'add',
        name,
        '--role',
        role,
        '--app',
        'small',
        '--ssh-key',
        box.publicKeyFile(key),
        '--on',
        box.url,
      )
    succeeded(await add('dev', 'developer', 'other'))
    const dev = box.as('other')
    writeApp(box, 'by dev')
    const deployed = await box.client.as(dev, 'deploy', box.url, '.')
    succeeded(deployed)
    assert.match(deployed.stderr, /the key opens its stead serve, and no shell/)
    succeeded(await box.client.as(dev, 'status', box.url))
    failedWith(await box.client.as(dev, 'down', box.url), /dev may not do this: it needs the right operate on small/)
    failedWith(
      await box.client.as(dev, 'access', 'list', '--on', box.url),
      /it needs the right admin on the platform itself/,
    )
    const shell = execFileSync('ssh', ['-F', join(box.dir, 'config-other'), 'box', 'id'], {
      input: '',
      encoding: 'utf8',
    })
    assert.equal(shell, '')
    const { stdout } = await box.client.stead('audit', '--who', 'dev', '--json', '--on', box.url)
    assert.match(stdout, /"who":"dev","from":"ssh 127\.0\.0\.1","operation":"PUT \/v1\/apps\/:app"/)
    // A change of role holds at once, and so does the end.
    succeeded(await add('dev', 'viewer', 'other'))
    failedWith(
      await box.client.as(dev, 'deploy', box.url, '.'),
      /dev may not do this: it needs the right deploy on small/,
    )
    succeeded(await box.client.stead('access', 'remove', 'dev', '--on', box.url))
    failedWith(await box.client.as(dev, 'status', box.url), /box accepts none of your keys/)
  })

  test('what does not get through is said: key, host key, address, program', async () => {
    failedWith(await box.client.as(box.as('other'), 'status', box.url), /box accepts none of your keys/)
    await box.changeHostKey()
    failedWith(await box.deploy(), /box shows another host key than the one known here/)
    rmSync(join(box.dir, 'known_hosts'))
    failedWith(await box.deploy(), /the host key of box is not known here, and was not accepted/)
    box.trustHostKey()
    await box.hangUp()
    failedWith(await box.deploy(), /box cannot be reached: .*[Cc]onnection refused/)
    await box.listen()
    failedWith(await box.client.as({ STEAD_SSH: 'no-such-ssh' }, 'status', box.url), /there is no program no-such-ssh/)
    failedWith(await box.client.stead('status', 'ssh://-oProxyCommand=x'), /is not the address of a server/)
  })
})

suite('deploy to a server that cannot take it', { skip, timeout }, () => {
  test('a user who is not root goes by sudo, and is told when it may not', async () => {
    await using refusing = await SshServer.start({ user: 'nobody' })
    writeApp(refusing, 'x')
    failedWith(await refusing.deploy(), /the user on box is not root and may not use sudo without a password/)
    assert.ok(!existsSync(refusing.prefix))
    await using box = await SshServer.start({ user: 'sudo' })
    writeApp(box, 'x')
    succeeded(await box.deploy())
    assert.equal(await answers(box), 'ok')
    succeeded(await box.client.stead('status', box.url))
  })

  test('a full disk is said before anything is sent', async () => {
    await using box = await SshServer.start()
    writeApp(box, 'x')
    mkdirSync(box.prefix)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', box.prefix])
    try {
      failedWith(await box.deploy(), /box has \d+ MiB free, and 1024 MiB are needed/)
      assert.deepEqual(readdirSync(box.prefix), [])
    } finally {
      execFileSync('umount', [box.prefix])
    }
  })

  test('a disk that fills while the app is sent is said, and the next try goes on', async () => {
    await using box = await SshServer.start()
    writeApp(box, 'x', 350_000_000)
    const bundles = join(box.state, 'bundles')
    mkdirSync(bundles, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=450m', 'tmpfs', bundles])
    try {
      failedWith(await box.deploy(), /the disk of box is nearly full/)
      rmSync(join(box.client.appDir, 'web', 'large'))
      succeeded(await box.deploy())
      assert.equal(await answers(box), 'ok')
      assert.equal((await box.client.stead('down', box.url, '--delete-data')).code, 0)
    } finally {
      execFileSync('umount', ['-l', bundles])
    }
  })

  test('a daemon that does not come up leaves nothing in force', async () => {
    await using box = await SshServer.start()
    writeApp(box, 'x')
    // Sockets are not put where others may write.
    mkdirSync(box.run)
    chmodSync(box.run, 0o777)
    failedWith(await box.deploy(), /did not come up on box[\s\S]*others may write|may be written by others/)
    assert.ok(!existsSync(join(box.prefix, 'current')))
    assert.equal(box.supervisor(), null)
    chmodSync(box.run, 0o711)
    succeeded(await box.deploy())
    assert.equal(await answers(box), 'ok')
  })
})
