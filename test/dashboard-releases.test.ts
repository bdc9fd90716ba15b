/**
 * The page of releases in a browser: a history with every way in which a release can end, and the real daemon, where a bad
 * release is taken back and a person goes back with the data.
 */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { seededRandom, systemClock } from '../src/base/index.ts'
import { serveDashboard } from '../src/dashboard/index.ts'
import { storyOf } from '../src/dashboard/releases.test-helper.ts'
import { everybody, reader, synthetic } from '../src/dashboard/synthetic.test-helper.ts'
import { needsChromium, openBrowser, openPage } from './browser.ts'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger, writeNumbers } from './ledger-app.ts'

const skip = needsChromium()

const release = (page: Page, number: number) => page.getByRole('button', { name: new RegExp(`^Release ${number}\\b`) })

suite('the page of releases', { skip }, () => {
  let browser: Browser
  before(async () => {
    if (skip === false) browser = await openBrowser()
  })
  after(() => browser?.close())

  test('a history of every kind: drawn, looked into by the keyboard, acted on after asking; on a phone too', async () => {
    let story = storyOf()
    const platform = synthetic({ releases: () => story })
    const how = { gate: null, clock: systemClock, random: seededRandom(9), sessionsPath: null }
    await using dashboard = await serveDashboard({ ...how, port: 0, operations: platform.operations })
    for (const viewport of [
      { width: 1280, height: 900 },
      { width: 390, height: 844 },
    ]) {
      await using seen = await openPage(browser, { viewport })
      const { page, complaints } = seen
      await page.goto(dashboard.login(everybody).url)
      await page.getByRole('link', { name: 'Releases' }).click()
      await page.getByRole('heading', { name: 'Release 7 is being rolled out' }).waitFor()
      await page.getByText('2 of 1388 requests failed').waitFor()
      assert.equal(await page.locator('.rail-dot').count(), 7)
      assert.equal(await page.locator('.rail-halo').count(), 1, 'one is live')
      await release(page, 6).focus()
      await page.keyboard.press('Enter')
      await page.getByText('a mail to ada@example.com').waitFor()
      await page.getByText('Possibly sent: ask whoever got it').waitFor()
      const wide = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
      assert.ok(wide <= 0, 'the page is not wider than the screen')
      assert.deepEqual(complaints, [])
    }

    await using seen = await openPage(browser)
    const { page, complaints } = seen
    await page.goto(dashboard.login(everybody).url)
    await page.getByRole('link', { name: 'Releases' }).click()
    const dialog = page.getByRole('dialog')
    const answered = async (word: string): Promise<void> => {
      await dialog.getByRole('button', { name: word }).click()
      await dialog.waitFor({ state: 'detached' })
    }
    await page.getByRole('button', { name: 'Take it back' }).click()
    await dialog.getByText('Only the code goes back: no write is lost.').waitFor()
    await answered('Let it go on')
    const done = (): string[] => platform.asked.filter((one) => !one.startsWith('checkup'))
    assert.deepEqual(done(), [])
    await page.getByRole('button', { name: 'Take it back' }).click()
    await answered('Take it back')
    await page.getByRole('textbox', { name: 'Name of the checkpoint' }).fill('tuesday')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Restore a moment' }).click()
    await dialog.getByLabel('Moment', { exact: true }).fill('2026-11-29T20:15:30')
    await answered('Restore it beside the live data')
    await page.getByText('at-2026-11-29-20-15-30 is made.').waitFor()
    await page.getByText('mail does not follow').waitFor()
    await page.getByRole('button', { name: 'Delete monday' }).click()
    await answered('Delete it')
    await page.getByRole('button', { name: 'Remove the branch try' }).click()
    await answered('Remove it')
    await release(page, 6).click()
    await page.getByRole('button', { name: 'Bring the inserted rows of db public.orders back' }).click()
    await answered('Bring them back')
    await page.getByText('12 rows brought back').waitFor()

    story = { ...story, releases: story.releases.slice(0, 6), counted: null }
    platform.move((status) => ({ ...status, release: 6 }))
    await page.getByRole('heading', { name: 'Release 7 is being rolled out' }).waitFor({ state: 'detached' })
    await release(page, 4).click()
    await page.getByRole('button', { name: 'Go back to this' }).click()
    await dialog.getByLabel(/^With the data/).check()
    await dialog.getByText('Would be left behind').waitFor()
    await dialog.getByText('db: sequences are not counted').waitFor()
    await answered('Go back with the data')
    assert.deepEqual(done(), [
      'take back',
      'checkpoint tuesday',
      'restore at-2026-11-29-20-15-30 time',
      'delete monday',
      'remove branch try',
      'replay left-by-6 db public.orders',
      'back to 4 with data',
    ])
    assert.deepEqual(complaints, [])

    await using other = await openPage(browser)
    await other.page.goto(dashboard.login(reader).url)
    await other.page.getByRole('link', { name: 'Releases' }).click()
    await release(other.page, 6).click()
    await other.page.getByText('a mail to ada@example.com').waitFor()
    const offered = /^(Take|Go back|Make|Delete|Remove|Restore|Bring|Open)/
    assert.equal(await other.page.getByRole('button', { name: offered }).count(), 0, 'a reader is offered nothing')
  })

  test('on the real daemon: a bad release taken back, a return with the data followed to its report', async (t) => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    useLedger(bench)
    await daemon.deploy('ledger')
    await using load = writeNumbers(port, 1)
    t.after(() => load.stop())
    bench.write({ 'migrations/002_note.sql': 'alter table ledger add column note text;\n' })
    useLedger(bench, 'second')
    const second = await bench.stead('deploy', '.', '--watch', '1s')
    assert.equal(second.code, 0, second.stderr)

    const login = await bench.stead('dashboard', 'ledger', '--json')
    assert.equal(login.code, 0, login.stderr)
    const { url } = JSON.parse(login.stdout) as { url: string }
    await using seen = await openPage(browser)
    const { page, complaints } = seen
    await page.goto(url)
    await page.getByRole('link', { name: 'Releases' }).click()
    await release(page, 2).waitFor()

    // One that is watched for long, and taken back by hand meanwhile.
    useLedger(bench, 'third')
    const third = bench.stead('deploy', '.', '--watch', '10m')
    await page.getByRole('heading', { name: 'Release 3 is being rolled out' }).waitFor()
    await page.locator('.running .step', { hasText: 'Watch it' }).locator('.dot-busy').waitFor()
    await page.getByRole('button', { name: 'Take it back' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('Only the code goes back: no write is lost.').waitFor()
    await dialog.getByRole('button', { name: 'Take it back' }).click()
    assert.equal((await third).code, 1)
    await page.locator('#release-3', { hasText: 'taken back' }).waitFor()

    // A checkpoint of a person's own, on the time line and with the copies.
    await page.getByRole('textbox', { name: 'Name of the checkpoint' }).fill('by-hand')
    await page.getByRole('button', { name: 'Make a checkpoint' }).click()
    await page.getByRole('button', { name: 'Delete by-hand' }).waitFor()
    await page.getByText(/on the disk of the data are in use/).waitFor()

    // Code alone cannot go back past a migration; with the data it is said first what stays behind.
    await release(page, 1).click()
    await page.getByRole('button', { name: 'Go back to this' }).click()
    await dialog.getByText(/Not possible: .*release 2 has changed the schema/).waitFor()
    await dialog.getByText('Would be left behind').waitFor()
    await dialog.locator('tr', { hasText: 'ledger' }).waitFor()
    await dialog.getByRole('button', { name: 'Go back with the data' }).click()
    await page.locator('#release-4', { hasText: 'gone back' }).getByText('Left behind', { exact: true }).waitFor()
    assert.equal(await page.locator('.rail-arc').first().isVisible(), true)
    const { kept } = await load.stop()
    const missing = async (): Promise<number> => {
      const there = new Set(await readNumbers(port))
      return kept.filter((number) => !there.has(number)).length
    }
    assert.ok((await missing()) > 0, 'what was written since is not in the live data')

    await page.getByRole('button', { name: /^Bring the inserted rows of db .*ledger back$/ }).click()
    await dialog.getByRole('button', { name: 'Bring them back' }).click()
    await page.getByText(/\d+ rows? brought back/).waitFor()
    assert.equal(await missing(), 0, 'nothing that was acknowledged is missing')

    await page.getByRole('button', { name: 'Open left-by-4 as a branch' }).first().click()
    await dialog.getByRole('textbox', { name: 'Name' }).fill('try')
    await dialog.getByRole('button', { name: 'Open it' }).click()
    await page
      .getByRole('link', { name: /^try\.ledger\.localhost/ })
      .first()
      .waitFor()
    await page.getByRole('button', { name: 'Remove the branch try' }).click()
    await dialog.getByRole('button', { name: 'Remove it' }).click()
    await page.getByRole('button', { name: 'Remove the branch try' }).waitFor({ state: 'detached' })
    // Browsers note every refusal: here, whether code alone could go back, and what a node is asked while it exchanges data.
    const others = complaints.filter((words) => !/status of [45]\d\d .*(?:rollback\/preview|\/data)$/.test(words))
    assert.deepEqual(others, [])
  })
})
