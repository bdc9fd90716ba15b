/**
 * A whole system as a part: a Debian on a disk, with a kernel, an init and a PostgreSQL of its own, as a legacy system may come.
 * cloud-init is told once what to do with it; what the system writes stays over restarts and releases, is in checkpoints, and goes
 * back with a release. `web` uses it like any other part. The README says where the disk comes from.
 */
import { app, service } from 'stead'

/** What is done at the first boot. `env` holds the environment of the part, as it was declared below. */
const userData = `#cloud-config
write_files:
  - path: /etc/postgresql/15/main/conf.d/app.conf
    content: |
      listen_addresses = '*'
  - path: /etc/postgresql/15/main/pg_hba.conf
    content: |
      local all all peer
      # Only parts that use this one reach its port.
      host all app 0.0.0.0/0 trust
  - path: /root/first-boot
    content: |
      . /run/stead/env
      # It has started, or starts, with the files above.
      systemctl start postgresql@15-main
      su postgres -c psql <<SQL
      create role app login;
      grant pg_read_server_files to app;
      create database "$DATABASE" owner app;
      \\c "$DATABASE"
      grant execute on function pg_read_file(text) to app;
      SQL
runcmd:
  - sh /root/first-boot
`

export default app('own-machine', () => {
  const ledger = service('ledger', {
    vm: { disk: './disk.qcow2', seed: { 'user-data': userData } },
    env: { DATABASE: 'ledger' },
    tcp: 5432,
    ready: { tcp: 5432, timeout: '20m' },
    limits: { memory: '512MiB', cpus: 1 },
  })
  const web = service('web', {
    from: './web',
    run: ['node', 'server.js'],
    http: 3000,
    // An emulated database may take its time: that is no fault of this part.
    ready: '/up',
    use: { ledger },
  })
  return { parts: { ledger, web }, public: { 'ledger.localhost': web } }
})
