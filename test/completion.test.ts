/** Completion in real shells: commands, options, apps and parts as they are at that moment. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { freePort, Workbench } from './command-line.ts'
import { appFile, web } from './small-app.ts'

const main = join(import.meta.dirname, '../src/cli/main.ts')
const files = {
  'app.ts': appFile(
    `${web()}
     const tidy = job('tidy', { from: './web', run: ['true'], schedule: '0 0 1 1 *' })`,
    `{ parts: { web, tidy }, public: { 'small.localhost': web } }`,
  ),
  'web/server.js': `require('node:http').createServer((q, a) => a.end('ok')).listen(process.env.PORT)
    process.on('SIGTERM', () => process.exit(0))`,
}

/** How each shell is asked for what could come behind the words; the answer, one a line. */
const shells: Readonly<Record<string, (script: string, words: readonly string[]) => string>> = {
  bash: (script, words) => `source ${script}
    COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
    _stead; printf '%s\\n' "\${COMPREPLY[@]}"`,
  fish: (script, words) => `source ${script}; complete --do-complete='${words.join(' ')}'`,
  // Without a line editor: what the function would add is printed instead.
  zsh: (
    script,
    words,
  ) => `compdef() { : }; compadd() { shift; print -l -- "$@" }; _files() { print -l -- \${words[CURRENT]}*(/N) }
    source ${script}; words=(${words.map((word) => `'${word}'`).join(' ')}); CURRENT=${words.length}; _stead`,
}

suite('completion', () => {
  test('offers what there is', async (t) => {
    await using bench = new Workbench()
    bench.write(files)
    const bin = join(bench.dir, 'bin')
    mkdirSync(bin)
    const program = `#!/bin/sh\nexec '${process.execPath}' --disable-warning=ExperimentalWarning '${main}' "$@"\n`
    writeFileSync(join(bin, 'stead'), program, { mode: 0o755 })
    const up = bench.up('--port', String(await freePort()))
    await up.until(/small runs, after/)
    for (const [shell, ask] of Object.entries(shells)) {
      const path = [`/usr/bin/${shell}`, `/bin/${shell}`].find((candidate) => existsSync(candidate))
      await t.test(shell, { skip: path === undefined ? `needs ${shell}` : false }, async () => {
        const script = join(bench.dir, `stead.${shell}`)
        writeFileSync(script, (await bench.stead('completion', shell)).stdout)
        const offered = (...words: string[]): string[] => {
          const env = { ...bench.env, PATH: `${bin}:/usr/bin:/bin`, HOME: bench.dir }
          const options = { env, cwd: bench.appDir, encoding: 'utf8' } as const
          const { stdout, stderr } = spawnSync(path ?? '', ['-c', ask(script, ['stead', ...words])], options)
          assert.equal(stderr, '', words.join(' '))
          return stdout
            .split('\n')
            .map((line) => line.split('\t')[0]?.replace(/\/$/, '') ?? '')
            .filter((line) => line !== '')
            .sort()
        }
        assert.deepEqual(offered('restart', ''), ['tidy', 'web'])
        assert.deepEqual(offered('up', 'w'), ['web'], 'directories')
        assert.deepEqual(offered('logs', '--l'), ['--lines'])
        // What is offered is the same for all: said by one program.
        if (shell !== 'bash') return
        assert.deepEqual(offered('res'), ['restart', 'restore'])
        assert.ok(offered('').includes('logs') && !offered('').includes('complete'))
        assert.deepEqual(offered('run', ''), ['tidy'])
        assert.deepEqual(offered('forward', 'w'), ['web'])
        assert.deepEqual(offered('logs', '--lines', ''), [], 'a number is due')
        assert.deepEqual(offered('logs', '--follow', 'ti'), ['tidy'])
        assert.deepEqual(offered('exec', 'web', '--', 's'), [])
        assert.deepEqual(offered('completion', 'z'), ['zsh'])
      })
    }
    const none = await bench.stead('completion', 'tcsh')
    assert.equal(none.code, 2)
    assert.match(none.stderr, /bash, zsh, fish, not for 'tcsh'/)
  })
})
