import { test } from 'node:test'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger, writeNumbers } from './ledger-app.ts'
import { writeFileSync } from 'node:fs'
test('explore', { timeout: 300_000 }, async () => {
  await using daemon = await DaemonBench.start()
  const { bench } = daemon
  const say = (...a: unknown[]): void => void process.stdout.write(a.map((x) => typeof x === 'string' ? x : JSON.stringify(x)).join(' ') + '\n')
  const run = async (...args: string[]): Promise<void> => {
    const t = performance.now()
    const r = await bench.stead(...args)
    say(`$ stead ${args.join(' ')}  -> ${r.code} in ${Math.round(performance.now() - t)} ms\n${r.stdout}\n${r.stderr}`)
  }
  useLedger(bench)
  await daemon.deploy('ledger')
  useLedger(bench, 'two')
  await run('deploy', '.', '--watch', '1s')
  void run('rollback', '--with-data', '--app', 'ledger')
  await new Promise((r) => setTimeout(r, 15000))
  say(await daemon.parts('ledger'))
  const { execSync } = await import('node:child_process')
  say(execSync('ps -eo pid,ppid,stat,pcpu,etime,args | grep -v grep | grep -E "server.js|/tmp/st-|runRole|agent" | cut -c1-180').toString())
  writeFileSync('/tmp/relx/agent.pid', String(daemon.pidOf('agent')))
  await run('releases', '--app', 'ledger')
  say(daemon.output())
  writeFileSync('/tmp/relx/done', '')
})
