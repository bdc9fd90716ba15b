/**
 * A service that keeps its state itself, in memory and a file, and takes part in checkpoints and returns as a database does:
 * its hooks are the same program with another word. Python stands for any language; there is no library in it.
 *
 *     curl -X POST http://notes.localhost:8000/buy-milk     keeps a note
 *     curl http://notes.localhost:8000/                     lists them
 */
import { app, service } from 'stead'

export default app('notes', () => {
  const notes = service('notes', {
    from: './notes',
    run: ['python3', 'notes.py', 'serve'],
    http: 3000,
    state: {
      quiesce: ['python3', 'notes.py', 'hold'],
      checkpoint: ['python3', 'notes.py', 'flush'],
      restore: ['python3', 'notes.py', 'reopen'],
      verify: ['python3', 'notes.py', 'check'],
    },
  })
  return { parts: { notes }, public: { 'notes.localhost': notes } }
})
