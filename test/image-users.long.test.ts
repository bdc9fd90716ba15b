/**
 * Servers of Debian as their usual entry points start them: as root, which gives the data away and becomes another user. PostgreSQL
 * and Redis by gosu, nginx by itself; each in an image of their packages, with `users: 'image'`, and refused without.
 */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { needsServersRoot, serversRoot } from './image-tools.ts'
import { needsImages } from './image-tree.ts'
import { needsAll } from './needs.ts'

const entryPoints = {
  postgres: `#!/bin/sh
set -e
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"; chmod 2775 /var/run/postgresql
  find "$PGDATA" \\! -user postgres -exec chown postgres:postgres '{}' +
  chown postgres:postgres /var/run/postgresql
  exec gosu postgres "$0" "$@"
fi
PATH="$PATH:/usr/lib/postgresql/15/bin"
[ -s "$PGDATA/PG_VERSION" ] || initdb --auth=trust --no-sync >/dev/null
exec postgres -c listen_addresses='*' -c fsync=off
`,
  redis: `#!/bin/sh
set -e
mkdir -p /data && cd /data
if [ "$(id -u)" = 0 ]; then
  find . \\! -user redis -exec chown redis '{}' +
  exec gosu redis "$0" "$@"
fi
exec redis-server --port 6379 --dir /data --appendonly yes --protected-mode no
`,
  nginx: `#!/bin/sh
set -e
printf 'server { listen 8080; location / { root /srv/www; } }' >/etc/nginx/sites-enabled/default
mkdir -p /srv/www && echo served >/srv/www/index.html
chown -R www-data:www-data /srv/www && chmod 700 /srv/www
exec nginx -g 'daemon off;'
`,
}

const app = `
import { app, service } from 'stead'
export default app('servers', () => {
  const own = { users: 'image', writable: true, limits: { memory: '400MB' } } as const
  const db = service('db', { ...own, image: 'oci:postgres:1', env: { PGDATA: '/state/data' }, tcp: 5432, state: {} })
  const cache = service('cache', { ...own, image: 'oci:redis:1', tcp: 6379 })
  const web = service('web', { ...own, image: 'oci:nginx:1', http: 8080 })
  return { parts: { db, cache, web }, public: { 'servers.localhost': web } }
})`

suite('images that start as root and become another', { skip: needsAll(needsImages(), needsServersRoot()) }, () => {
  test('PostgreSQL, Redis and nginx as their entry points start them; state stays whose it was', async () => {
    await using bench = new Workbench()
    const build = async (...args: readonly string[]): Promise<void> => {
      const { code, stderr } = await bench.stead('image', 'build', ...args)
      assert.equal(code, 0, stderr)
    }
    await build(serversRoot, 'servers:1', '--owners', 'own')
    for (const [name, script] of Object.entries(entryPoints)) {
      mkdirSync(join(bench.dir, name))
      writeFileSync(join(bench.dir, name, 'entry'), script)
      chmodSync(join(bench.dir, name, 'entry'), 0o755)
      const at = ['--at', '/usr/local/bin', '--entrypoint', '["/usr/local/bin/entry"]']
      await build(join(bench.dir, name), `${name}:1`, '--on', 'servers:1', ...at)
    }
    const port = await freePort()
    bench.write({ 'app.ts': app.replace("users: 'image', ", '') })
    const without = await bench.stead('up', '.')
    assert.match(without.stderr, /asks to run as root/)
    assert.match(without.stderr, /users: 'image'/)

    bench.write({ 'app.ts': app })
    const up = bench.up('--port', String(port))
    await up.until(/servers runs, after/, 120_000)
    const inside = async (part: string, ...argv: readonly string[]): Promise<string> => {
      const { stdout, stderr } = await bench.stead('exec', part, '--', ...argv)
      return stdout.trim() || stderr
    }
    const sql = (text: string): Promise<string> => inside('db', 'gosu', 'postgres', 'psql', '-Atc', text)
    assert.equal(
      await sql('create table kept(x int); insert into kept values (41); select x + 1 from kept'),
      'CREATE TABLE\nINSERT 0 1\n42',
    )
    assert.equal(await inside('db', 'sh', '-c', 'stat -c "%U %a" "$PGDATA"; id -un'), 'postgres 700\nroot')
    assert.equal(await inside('cache', 'redis-cli', 'set', 'a', 'b'), 'OK')
    assert.equal(
      await inside('cache', 'sh', '-c', 'stat -c %U /data/appendonlydir; cat /proc/*/status | grep -c "^Uid:.[1-9]"'),
      'redis\n1',
    )
    assert.equal((await ask(port, '/', { host: 'servers.localhost' })).body, 'served\n')
    const users = await inside(
      'web',
      'sh',
      '-c',
      'for p in /proc/[0-9]*; do stat -c "%U $(cat $p/comm)" $p; done | grep nginx | sort -u',
    )
    assert.equal(users, 'root nginx\nwww-data nginx')

    // Of the host, none of them is anybody that there is.
    const status = (await bench.stead('status', '--json')).stdout
    // The first is the platform's own.
    const pids = [...status.matchAll(/"pid":(\d+)/g)].map(([, pid]) => Number(pid)).slice(1)
    assert.equal(pids.length, 3)
    for (const pid of pids) {
      const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
      assert.ok(uid >= 1_900_000_000, `${pid} runs as ${uid}`)
    }
    const restarted = await bench.stead('restart', 'db')
    assert.equal(restarted.code, 0, restarted.stderr)
    assert.equal(await sql('select x from kept'), '41')
    assert.equal(await inside('db', 'sh', '-c', 'stat -c %U "$PGDATA/PG_VERSION"'), 'postgres')
    await up.stop()
  })
})
