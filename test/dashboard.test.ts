/**
 * The dashboard in a browser: against the real command line, and against an app of sixty parts and one with hostile names
 * that no platform would run.
 */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { seededRandom, systemClock } from '../src/base/index.ts'
import { type Dashboard, serveDashboard } from '../src/dashboard/index.ts'
import { everybody, reader, type Synthetic, synthetic } from '../src/dashboard/synthetic.test-helper.ts'
import type { Caller } from '../src/operator/index.ts'
import { needsChromium, openBrowser, openPage } from './browser.ts'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { appFile, server, web } from './small-app.ts'

const skip = needsChromium()

/** Runs in the page: keeps the length of what held it up for more than 50 ms. */
const longTasks = `
  window.tasks = []
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({ type: 'longtask', buffered: true })`

const node = (page: Page, name: string) => page.getByRole('button', { name: new RegExp(`^${name}, `) })

suite('the dashboard in a browser', { skip }, () => {
  let browser: Browser
  before(async () => {
    if (skip === false) browser = await openBrowser()
  })
  after(() => browser?.close())

  test('a running app: let in once, seen live, broken, healed by itself, and a line that is lost is said to be', async () => {
    await using bench = new Workbench()
    const worker = `const files = bucket('files')
      const worker = service('worker', { from: './worker', run: ['node', 'worker.js'], use: { web, files } })`
    bench.write({
      'app.ts': appFile(`${web()}\n${worker}`, `{ parts: { web, worker }, public: { 'small.localhost': web } }`),
      'web/server.js': server,
      'worker/worker.js': `let count = 0; setInterval(() => console.log('tick ' + ++count), 200)`,
    })
    const [port, wayIn] = [await freePort(), await freePort()]
    const up = bench.up('--port', String(wayIn), '--dashboard-port', String(port))
    await up.until(/small runs, after/)
    assert.doesNotMatch(up.output(), /#login=/, 'what is not a terminal is not told the way in')
    const { url } = JSON.parse((await bench.stead('dashboard', '--json')).stdout) as { url: string }

    await using seen = await openPage(browser)
    const { page, complaints } = seen
    await page.goto(url)
    await node(page, 'web').waitFor()
    assert.ok(!page.url().includes('login'), 'the token is gone from the address')
    await page.getByText('All 3 parts are well.').waitFor()
    await page.getByText('live', { exact: true }).waitFor()
    assert.equal(await page.title(), 'small · Stead')
    await using stranger = await openPage(browser)
    await stranger.page.goto(url)
    await stranger.page.getByText('That did not let you in').waitFor()
    assert.match((await bench.stead('dashboard')).stdout, /^http:\/\/127\.0\.0\.1:\d+\/#login=[\w-]{32}&app=small\n$/)

    // What a bucket holds, and how it is used.
    await node(page, 'files').click()
    const inspector = page.locator('.inspector')
    await inspector.getByText('Objects', { exact: true }).waitFor()
    await inspector.getByText('Bytes per second').waitFor()
    const requests = inspector.locator('.plot', { hasText: 'refused or failed' })
    assert.equal(await requests.locator('.plot-key').count(), 3, 'it is said which line is which')
    await page.keyboard.press('Escape')

    // What the parts print, chosen and held.
    await page
      .locator('.row', { hasText: /tick \d/ })
      .first()
      .waitFor()
    await page.getByPlaceholder('Only lines that contain').fill('nothing prints this')
    await eventually(
      'no line fits',
      () => page.locator('.row').count(),
      (count) => count === 0,
    )
    await page.getByPlaceholder('Only lines that contain').fill('')
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByRole('button', { name: /Go on \(\d+ new\)/ }).click()

    // By the keyboard alone: choose a part, break it.
    await node(page, 'web').focus()
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Kill web' }).focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.getByText('Kill web?').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    // The shortest lease that a page offers is longer than a test likes to wait.
    await page.route('**/faults', (route, request) => {
      const asked = request.postDataJSON() as Record<string, unknown>
      return route.continue({ postData: JSON.stringify({ ...asked, leaseMs: 4000 }) })
    })
    await page.getByRole('button', { name: 'Kill web' }).click()
    await dialog.getByRole('button', { name: 'Break it' }).click()
    await page.getByText('On purpose: web is killed and kept down.').waitFor()
    await page.getByText(/1 of 3 parts is not well: web/).waitFor()
    await page.getByText('1 program killed').first().waitFor()
    for (let count = 0; count < 3; count += 1)
      assert.equal((await ask(wayIn, '/', { host: 'small.localhost' })).status, 503)
    await page.getByText('1 program killed, 3 requests failed').waitFor()
    await page.getByText('Broken a while ago').waitFor()
    await page.getByText('All 3 parts are well.').waitFor()
    const uptime = (await node(page, 'web').getAttribute('aria-label')) ?? ''
    assert.match(uptime, /up \d\d?\.\d+ %/, 'the figure has moved')

    await page.unroute('**/faults')

    // An edge: what was open is reset, and it is healed by hand.
    await node(page, 'worker').click()
    await page.getByRole('button', { name: 'Cut the way to web' }).click()
    await dialog.getByLabel('2 minutes').check()
    await dialog.getByRole('button', { name: 'Break it' }).click()
    await page.locator('.edge-cut').first().waitFor({ state: 'attached' })
    await page.getByRole('button', { name: 'Heal it now' }).click()
    await page.locator('.edge-cut').first().waitFor({ state: 'detached' })
    assert.deepEqual(complaints, [], 'nothing that the policy for content forbids, and no error')

    await up.stop('SIGKILL')
    await page.getByText('line lost, trying again').waitFor()
    const again = bench.up('--port', String(wayIn), '--dashboard-port', String(port))
    // It finds all that runs again first.
    await page.getByText('live', { exact: true }).waitFor({ timeout: 90_000 })
    await page.getByText('All 3 parts are well.').waitFor({ timeout: 90_000 })
    await again.until(/small runs, after/)
  })

  suite('of a platform that is made up', () => {
    let platform: Synthetic
    let dashboard: Dashboard
    const serve = async (made: Synthetic): Promise<void> => {
      platform = made
      const random = seededRandom(9)
      dashboard = await serveDashboard({
        port: 0,
        operations: platform.operations,
        gate: null,
        clock: systemClock,
        random,
        sessionsPath: null,
      })
    }
    const address = (caller: Caller = everybody): string => dashboard.login(caller).url

    test('sixty parts: all drawn, brought up to date, none in the way of another; on a phone too', async (t) => {
      await serve(synthetic({ count: 60 }))
      await using _served = dashboard
      for (const viewport of [
        { width: 1280, height: 900 },
        { width: 390, height: 844 },
      ]) {
        await using seen = await openPage(browser, { viewport })
        const { page, complaints } = seen
        await page.addInitScript({ content: longTasks })
        await page.goto(address())
        await page.locator('button.node').nth(59).waitFor({ state: 'attached' })
        const paint = await page.evaluate<number>(`performance.getEntriesByName('first-contentful-paint')[0].startTime`)
        for (let round = 1; round <= 4; round += 1) {
          platform.move((status) => ({
            ...status,
            parts: status.parts.map((part, index) => ({
              ...part,
              phase: index === round ? ('unready' as const) : ('ready' as const),
              memoryBytes: 30_000_000 + index * round * 100_000,
            })),
          }))
          await page.getByText(`1 of 60 parts is not well: part-${round}`, { exact: true }).waitFor()
        }
        const tasks = await page.evaluate<number[]>('window.tasks')
        t.diagnostic(
          `${viewport.width} px: first paint ${Math.round(paint)} ms, long tasks ${tasks.map(Math.round).join(', ')} ms`,
        )
        // A window that is made narrow, too: what was drawn for the wide one must not hold the page open.
        await page.setViewportSize({ width: 390, height: 844 })
        await eventually(
          'the page is not wider than the screen',
          () => page.evaluate<number>('document.documentElement.scrollWidth - innerWidth'),
          (wide) => wide <= 0,
        )
        assert.deepEqual(complaints, [])
      }
    })

    test('hostile names and lines are text, and a caller without a right does not see what it is for', async () => {
      const hostile = [`"><img src=x onerror=alert(1)>`, `</script><script>alert(2)</script>`, `javascript:alert(3)`]
      await serve(synthetic({ count: 3, names: hostile }))
      await using _served = dashboard
      await using seen = await openPage(browser)
      await seen.page.goto(address())
      for (const name of hostile) await seen.page.locator('.node-name', { hasText: name }).waitFor()
      await seen.page.locator('.row', { hasText: '<b>bold</b>' }).first().waitFor()
      await seen.page
        .getByRole('button', { name: /a single point of failure/ })
        .nth(1)
        .waitFor()
      await seen.page.getByText('KEY_1 <b>stands</b> in plain text.').waitFor()
      await seen.page.getByText('and 3 more: stead check').waitFor()
      await seen.page.locator('.figure', { hasText: '99.471 %' }).getByText('down 1 d 22 h a year').waitFor()
      await seen.page.locator('button.node').first().click()
      await seen.page.getByRole('button', { name: /^Kill/ }).waitFor()
      assert.equal(await seen.page.locator('img, b:has-text("bold"), script:not([src])').count(), 0)
      platform.move((status) => ({ ...status, release: 2 }))
      await seen.page.getByText('the design of release 2').waitFor()
      assert.deepEqual(platform.asked, ['checkup of release 1', 'checkup of release 2'], 'once for each release')
      assert.deepEqual(seen.complaints, [])

      await using other = await openPage(browser)
      await other.page.goto(address(reader))
      await other.page.locator('button.node').first().click()
      await other.page.locator('.inspector').waitFor()
      await other.page.getByRole('heading', { name: 'Check' }).waitFor()
      assert.equal(await other.page.getByRole('button', { name: /^(Kill|Cut|Show its output)/ }).count(), 0)
      assert.equal(await other.page.getByRole('heading', { name: 'Output' }).count(), 0)
    })

    test('a queue: what waits and what is dead, on its node and in its panel, also on a phone', async () => {
      await serve(synthetic({ count: 2 }))
      await using _served = dashboard
      const fill = (ready: number, dead: number): void =>
        platform.move((status) => ({
          ...status,
          parts: status.parts.map((part, index) => {
            const metrics = { queue_ready: ready, queue_oldest_seconds: 75, queue_held: 2, queue_dead: dead }
            return index === 0 ? { ...part, metrics } : part
          }),
        }))
      for (const viewport of [
        { width: 1280, height: 900 },
        { width: 390, height: 844 },
      ]) {
        await using seen = await openPage(browser, { viewport })
        const { page } = seen
        await page.goto(address())
        fill(12, 0)
        await page.getByRole('button', { name: /^part-0, .*12 wait/ }).click()
        const panel = page.locator('.inspector')
        await panel.getByText('12, the oldest for 1 min').waitFor()
        await panel.getByText('2 in hand').waitFor()
        fill(0, 3)
        await page.getByRole('button', { name: /^part-0, .*3 dead/ }).waitFor()
        await panel.locator('.facts .tone-bad', { hasText: '3' }).waitFor()
        await page.setViewportSize({ width: 390, height: 844 })
        await eventually(
          'the page is not wider than the screen',
          () => page.evaluate<number>('document.documentElement.scrollWidth - innerWidth'),
          (wide) => wide <= 0,
        )
        assert.deepEqual(seen.complaints, [])
      }
    })

    test('an instance: who is attached, where it stands, what takes its time, in the page; also on a phone', async () => {
      await serve(synthetic({ count: 2 }))
      await using _served = dashboard
      const sinceMs = systemClock.nowMs() - 180_000
      platform.move((status) => ({
        ...status,
        parts: status.parts.flatMap((part, index) => {
          if (index > 0) return [part]
          const debuggers = [{ by: 'ada', sinceMs, stands: true, traffic: 'drain' as const }]
          return [part, { ...part, instance: `${part.instance}2`, heldSinceMs: sinceMs, debuggers }]
        }),
      }))
      for (const options of [{}, { colorScheme: 'dark' as const, viewport: { width: 390, height: 844 } }]) {
        await using seen = await openPage(browser, options)
        const { page } = seen
        await page.goto(address())
        await page.getByRole('button', { name: 'Debug shop.part-0.12' }).click()
        const own = page.locator('.look-into').nth(1)
        await own.getByText('The debugger of ada').waitFor()
        await own.getByText('stead debug part-0/12 --app shop --write').waitFor()
        await own.getByRole('button', { name: 'Where does it stand?' }).click()
        await own.getByText('handle <b>').waitFor()
        await own.getByRole('button', { name: 'What works?' }).click()
        const box = own.locator('.flame-box', { hasText: 'render' })
        await box.click()
        await own.getByText(/render \/app\/page\.js:12: 2\.40 s, 66\.7 %/).waitFor()
        await own.getByRole('button', { name: 'The whole' }).click()
        await own.locator('.flame-box', { hasText: 'store' }).waitFor()
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
        assert.ok(wide <= 0, 'the page is not wider than the screen')
        assert.deepEqual(seen.complaints, [])
      }
      assert.ok(platform.asked.includes('profile of part-0'))
    })

    test('several apps: an overview first, then one of them, and back', async () => {
      await serve(synthetic({ apps: ['blog', 'shop'] }))
      await using _served = dashboard
      await using seen = await openPage(browser)
      await seen.page.goto(address())
      await seen.page.getByRole('heading', { name: '2 apps' }).waitFor()
      await seen.page.getByRole('link', { name: /^blog/ }).click()
      await seen.page.getByRole('heading', { name: 'blog', level: 1 }).waitFor()
      await seen.page.getByLabel('App', { exact: true }).selectOption('shop')
      await seen.page.getByRole('heading', { name: 'shop', level: 1 }).waitFor()
      await seen.page.goBack()
      await seen.page.getByRole('heading', { name: '2 apps' }).waitFor()
      await seen.page.getByRole('button', { name: 'Log out' }).click()
      await seen.page.getByText('Nobody is logged in here').waitFor()
      assert.deepEqual(seen.complaints, [])
    })
  })
})
