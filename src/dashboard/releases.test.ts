/** What a page is told of releases, and what of the right to deploy a page has. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { mayDeploy } from './guard.ts'
import { newsOf, ReleaseViews } from './release-view.ts'
import { storyOf } from './releases.test-helper.ts'

suite('releases for a page', () => {
  const story = storyOf(1_000_000_000_000)

  test('each is compared with the one that served when it was made, without the values of its environment', () => {
    const views = new ReleaseViews().of(story)
    assert.deepEqual(
      views.map(({ before }) => before),
      [null, 1, 2, 2, 4, 4, 6],
    )
    assert.deepEqual(views[1]?.changes, [
      "~ service 'web': env.TOKEN",
      "~ service 'web': replicas: 1 -> 2",
      "~ service 'web': its code",
    ])
    assert.ok(!JSON.stringify(views).includes('never told'))
  })

  test('a rollout says which steps follow, which share goes where, and why it ended', () => {
    const views = new ReleaseViews().of(story)
    const [, , refused, , taken, back, canary] = views.map(({ rollout }) => rollout)
    assert.deepEqual(canary?.toCome, ['watch', 'confirm'])
    assert.deepEqual(canary?.shape, { runs: 'both', newShare: 50, hold: false })
    assert.deepEqual([canary?.endMs, canary?.dataGoesToo], [null, false])
    assert.match(refused?.reason ?? '', /no_such_table/)
    assert.match(taken?.reason ?? '', /code 7/)
    assert.deepEqual([back?.withData, back?.toCome, back?.shape], [true, [], null])
    assert.equal(back?.endMs, back?.steps.at(-1)?.endMs)
  })

  test('the report of a return has its rows by table and its effects by what is known of them', () => {
    const report = new ReleaseViews().of(story)[5]?.report
    assert.deepEqual(
      report?.left.map(({ name, inserted, updated, deleted }) => [name, inserted, updated, deleted]),
      [
        ['public.orders', 12, 3, 0],
        ['public.visits', 4031, 0, 17],
      ],
    )
    assert.deepEqual([report?.sent.length, report?.possiblySent.length, report?.branch], [1, 1, 'left-by-6'])
  })

  test('what has not changed is told once', () => {
    const views = new ReleaseViews()
    const first = views.of(story)
    const all = newsOf(story, new Map(), first, 1)
    assert.equal(all.put.length, 7)
    assert.ok(!JSON.stringify(all.checkpoints).includes('bundles'))
    const held = new Map(first.map((view) => [view.number, view]))
    assert.equal(newsOf(story, held, views.of({ ...story }), 2).put.length, 0)
    const [gone, ...rest] = story.releases
    const changed = { ...story, releases: rest.map((one) => (one.number === 7 ? { ...one, live: true } : one)) }
    const news = newsOf(changed, held, views.of(changed), 3)
    assert.deepEqual(
      [news.put.map(({ number }) => number), news.drop],
      // The first one that is left has nothing to be compared with any more.
      [[2, 7], [gone?.number]],
    )
  })
})

test('pages have of the right to deploy what goes back and what copies; code comes from commands', () => {
  const paged = [
    'POST /v1/apps/shop/rollback',
    'POST /v1/apps/shop/rollout/cancel',
    'PUT /v1/apps/shop/checkpoints/monday',
    'POST /v1/apps/shop/copies/delete',
    'POST /v1/apps/shop/branches',
    'DELETE /v1/apps/shop/branches/try',
    'POST /v1/apps/shop/replay',
    'POST /v1/apps/shop/restore',
  ]
  const commands = [
    'PUT /v1/apps/shop',
    'POST /v1/apps/shop/plan',
    'POST /v1/apps/shop/contents',
    'PUT /v1/apps/shop/bundles/1',
    'PUT /v1/apps/shop/copies/one',
    'POST /v1/apps/shop/copies/adopt',
    'POST /v1/apps/shop/copies/one/verify',
  ]
  const may = (asked: string): boolean => {
    const [method = '', path = ''] = asked.split(' ')
    return mayDeploy(method, path)
  }
  assert.deepEqual(paged.filter(may), paged)
  assert.deepEqual(commands.filter(may), [])
})
