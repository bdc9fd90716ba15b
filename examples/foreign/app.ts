/**
 * A program that nobody here wrote, as it comes from npm: PostGraphile, which makes a GraphQL interface of whatever is in a
 * PostgreSQL database. It finds the database by DATABASE_URL, as it would anywhere; all there is of ours is this file and
 * the tables.
 */
import { app, postgres, service } from 'stead'

export default app('foreign', () => {
  const db = postgres('db', { migrations: './migrations' })
  const api = service('api', {
    from: './api',
    run: ['node', 'node_modules/postgraphile/cli.js', '--host', '127.0.0.1', '--port', '5000', '--schema', 'public'],
    http: 5000,
    use: { db },
    env: { NODE_ENV: 'production' },
  })
  return { parts: { api }, public: { 'graphql.localhost': api } }
})
