// The papers page in a browser: as a static site below a path of a plain file server, and served by `mambakit studio`.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { AxeResults } from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { catalogueEntry, type Entry } from '../src/papers/entry.js'
import { papers } from '../src/papers/index.js'
import { checkedPaper, listEntry } from '../src/papers/listPaper.js'
import { browserSkip, FileServer, openBrowser, visit } from './browser.js'
import { TestSmtpServer } from './smtpServer.js'

const site = fileURLToPath(new URL('../studio', import.meta.url))
const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** A list with every state, a result with its interval, and a paper that tries to break the page. */
const [first, second, third, fourth] = papers.map((paper) => ({ ...paper, load: async () => ({}) }))
const result = {
  command: 'mambakit reproduce decision-mamba --full',
  commit: '0123456789',
  seeds: [1, 2, 3],
  claim: 'The method beats its baseline.',
  measurements: { method: 0.7312, baseline: 0.61 },
  interval: [0.05, 0.19] as const,
  threshold: 0.02,
  date: '2026-05-05',
}
/** As a result file gives it. */
const withCriteria = {
  ...result,
  criteria: [
    {
      name: 'method',
      interval: [0.7, 0.76],
      measured: '73.0 %',
      range: '70.0 to 76.0',
      claimed: '≥ 70.0 %',
      state: 'open',
      decides: true,
    },
    {
      name: 'baseline',
      interval: [-0.19, -0.05],
      measured: '-12.0 %',
      range: '-19.0 to -5.0',
      claimed: '≤ 50.0 %',
      state: 'fails',
      decides: false,
    },
  ] as const,
}
const hostile = listEntry(
  checkedPaper(
    {
      title: `<img src=x onerror=alert(1)> \u202e${'W'.repeat(10_000)}`,
      authors: ['<b>A</b>'],
      date: '2026-06-01',
      abstract: `<script>alert(2)</script> ${'unbroken'.repeat(200)}`,
      categories: ['<i>x</i>'],
      links: [{ label: '"><img src=y onerror=alert(3)>', href: 'https://example.org/"><script>' }],
    },
    'test',
  ).paper,
)
const mixed: Entry[] = [
  catalogueEntry(first, { ...result, verdict: 'reproduced' }),
  catalogueEntry(second, { ...withCriteria, verdict: 'not reproduced' }),
  catalogueEntry(third, { ...result, verdict: 'undecided', interval: undefined }),
  catalogueEntry(fourth, null),
  ...papers.slice(4).map((paper) => catalogueEntry(paper, null)),
  hostile,
]

let browser: Browser
before(async () => {
  if (!browserSkip) browser = await openBrowser()
})
after(async () => {
  await browser?.close()
})

const opened = async (page: Page, address: string) => {
  await page.goto(address)
  await page.waitForSelector('.row, .paper')
}

/** Findings of axe that are serious or worse. */
async function serious(page: Page): Promise<string[]> {
  await page.evaluate(axe)
  const { violations } = (await page.evaluate('axe.run()')) as AxeResults
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`)
}

describe('the papers page as a static site', { skip: browserSkip }, () => {
  test('every page loads without an error, with no request to anywhere else, within 300 kB', async () => {
    await using server = await FileServer.start(site, '/deep/path/')
    const { context, page, faults, requests } = await visit(browser, { serviceWorkers: 'block' })
    await opened(page, server.address)
    await page.waitForLoadState('networkidle')
    const loaded = new Set(requests.map((address) => address.replace(/#.*/, '')))
    let bytes = 0
    for (const address of loaded) {
      assert.ok(address.startsWith(server.address), address)
      bytes += gzipSync(readFileSync(join(site, address.slice(server.address.length) || 'index.html'))).length
    }
    assert.ok(loaded.size >= 6 && bytes < 300_000, `${bytes} bytes in ${loaded.size} files`)
    for (const { slug, title } of papers) {
      await page.goto(`${server.address}#/paper/${slug}`)
      await page.waitForFunction((text) => document.querySelector('h1')?.textContent === text, title)
      assert.match((await page.locator('pre').textContent()) ?? '', new RegExp(`^@misc\\{${slug},`))
    }
    await page.goto(`${server.address}#/paper/nothing`)
    await page.getByRole('heading', { name: 'No such paper' }).waitFor()
    assert.deepEqual(faults, [])
    await context.close()
  })

  test('works offline after one visit, isolated for shared memory after one reload', async () => {
    await using server = await FileServer.start(site, '/sub/')
    const { context, page, faults } = await visit(browser)
    let loads = 0
    page.on('load', () => loads++)
    await opened(page, server.address)
    await page.waitForFunction(() => crossOriginIsolated && document.querySelector('.row'))
    await page.waitForTimeout(300)
    assert.equal(loads, 2, 'one load and one reload')
    const { address } = server
    await server[Symbol.asyncDispose]()
    await context.setOffline(true)
    await page.goto(`${address}#/paper/mamba`)
    await page.reload()
    await page.getByRole('heading', { level: 1, name: /^Mamba: Linear-Time/ }).waitFor()
    await page.getByRole('link', { name: 'All papers' }).click()
    await page.waitForFunction(() => document.querySelectorAll('.row').length === 33)
    assert.equal(await page.evaluate(() => document.fonts.check('16px "Source Serif 4"')), true)
    assert.deepEqual(faults, [])
    await context.close()
  })

  test('does not reload under the hands of who is at work', async () => {
    await using server = await FileServer.start(site, '/')
    const { context, page } = await visit(browser)
    let loads = 0
    page.on('load', () => loads++)
    await page.addInitScript(() =>
      addEventListener('DOMContentLoaded', () => dispatchEvent(new KeyboardEvent('keydown', { key: 'g' }))),
    )
    await page.goto(server.address)
    await page.waitForFunction(() => navigator.serviceWorker.controller && document.querySelector('.row'))
    await page.waitForTimeout(300)
    assert.equal(loads, 1)
    await context.close()
  })

  test('search finds with a typo, filters narrow, and the address keeps them', async () => {
    await using server = await FileServer.start(site, '/', { 'papers.json': JSON.stringify(mixed) })
    const { context, page, faults } = await visit(browser, { serviceWorkers: 'block' })
    await opened(page, server.address)
    const titles = () => page.locator('.row .name').allTextContents()
    const search = page.getByRole('searchbox')
    await page.keyboard.press('/')
    assert.equal(await search.evaluate((box) => box === document.activeElement), true)
    await search.pressSequentially('grpah mamba')
    assert.match((await titles())[0], /^Graph Mamba/)
    assert.deepEqual(
      await page.locator('h1, h2, h3').evaluateAll((all) => all.map(({ tagName }) => tagName).slice(0, 2)),
      ['H1', 'H2'],
    )
    await search.fill('')
    assert.equal(await page.getByRole('status').first().textContent(), '34 papers')
    await page.getByRole('combobox', { name: 'Domain' }).selectOption('remote sensing')
    assert.equal((await titles()).length, 4)
    await page.getByRole('combobox', { name: 'Order' }).selectOption('name')
    assert.deepEqual(
      await titles(),
      (await titles()).toSorted((a, b) => a.localeCompare(b)),
    )
    await page.waitForFunction(() => location.hash === '#/?domain=remote+sensing&sort=name')
    await page.reload()
    await page.waitForSelector('.row')
    assert.equal((await titles()).length, 4)
    await page.getByRole('combobox', { name: 'Domain' }).selectOption('')
    await page.getByRole('combobox', { name: 'State' }).selectOption('reproduced')
    assert.equal((await titles()).length, 1)
    await search.fill('nothing like this')
    await page.getByRole('button', { name: 'Show all papers' }).click()
    assert.equal(await page.getByRole('status').first().textContent(), '34 papers')
    assert.deepEqual(faults, [])
    await context.close()
  })

  test('a hostile paper is shown as text, in any width and theme, with no serious finding of axe', async () => {
    await using server = await FileServer.start(site, '/', { 'papers.json': JSON.stringify(mixed) })
    for (const [width, colorScheme] of [
      [390, 'light'],
      [1024, 'dark'],
      [1680, 'light'],
    ] as const) {
      const { context, page, faults } = await visit(browser, {
        viewport: { width, height: 900 },
        colorScheme,
        serviceWorkers: 'block',
      })
      for (const place of ['', `#/paper/${hostile.id}`, '#/paper/decision-mamba', `#/paper/${second.slug}`]) {
        await opened(page, server.address + place)
        const overflow = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        )
        assert.ok(overflow <= 0, `${place} at ${width} scrolls sideways by ${overflow}`)
        assert.equal(await page.locator('main img, main script, main b, main i').count(), 0)
        assert.deepEqual(await serious(page), [], `${place} at ${width}, ${colorScheme}`)
      }
      assert.deepEqual(faults, [])
      await context.close()
    }
  })

  test('a result shows claim, measured values, interval with its plot, and verdict', async () => {
    await using server = await FileServer.start(site, '/', { 'papers.json': JSON.stringify(mixed) })
    const { context, page } = await visit(browser, { serviceWorkers: 'block' })
    await opened(page, `${server.address}#/paper/decision-mamba`)
    const text = (await page.locator('.paper').textContent()) ?? ''
    for (const part of [
      'Reproduced: The method beats',
      '0.7312',
      '0.61',
      'mambakit reproduce decision-mamba --full',
      '3 seeds, commit 0123456',
    ])
      assert.ok(text.includes(part), part)
    const plot = page.getByRole('img', { name: /95 % interval from 0\.05 to 0\.19; the claim needs 0\.02/ })
    const box = await plot.locator('.interval').boundingBox()
    assert.ok(box && box.width > 100)
    await opened(page, `${server.address}#/paper/${second.slug}`)
    const rows = await page.locator('.paper tbody tr').allTextContents()
    assert.deepEqual(rows, [
      'method≥ 70.0 %73.0 %70.0 to 76.0open',
      'baseline≤ 50.0 % (beside the claim)-12.0 %-19.0 to -5.0fails',
    ])
    await page.getByRole('img', { name: /^baseline: 95 % interval from 0\.05 to 0\.19/ }).waitFor()
    await opened(page, `${server.address}#/paper/motion-mamba`)
    assert.match(
      (await page.locator('.paper').textContent()) ?? '',
      /The model runs here\. Its claim has not been measured yet/,
    )
    await context.close()
  })

  test('everything is reached by keyboard, and the theme is kept', async () => {
    await using server = await FileServer.start(site, '/')
    const { context, page } = await visit(browser, { serviceWorkers: 'block' })
    await opened(page, server.address)
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate(() => document.activeElement?.id), 'main')
    for (let i = 0; i < 5; i++) await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: /^Nemotron Elastic/ }).waitFor()
    await page.getByRole('button', { name: 'Theme: system' }).press('Enter')
    await page.getByRole('button', { name: 'Theme: light' }).press('Enter')
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const dark = await ground()
    await page.reload()
    assert.equal(await ground(), dark)
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark')
    await context.close()
  })
})

describe('the papers page served by mambakit studio', { skip: browserSkip }, () => {
  test('a new user finds a paper, copies its citation, subscribes, and a digest arrives', async () => {
    const data = mkdtempSync(join(tmpdir(), 'mambakit-page-'))
    await using smtp = await TestSmtpServer.start()
    const mail = ['--smtp', `smtp://127.0.0.1:${smtp.port}`, '--data', data, '--list', join(data, 'list.json')]
    const studio = spawn(process.execPath, [bin, 'studio', '--port', '0', '--no-open', ...mail])
    const [line] = await once(studio.stdout, 'data')
    const address = `${line}`.trim()
    const { context, page, faults } = await visit(browser, { permissions: ['clipboard-read', 'clipboard-write'] })
    try {
      await opened(page, address)
      assert.equal(await page.evaluate(() => crossOriginIsolated), true)
      await page.getByRole('searchbox').pressSequentially('graph')
      await page.getByRole('link', { name: /^Graph Mamba/ }).click()
      await page.getByRole('button', { name: 'Copy BibTeX' }).click()
      await page.getByText('Copied').waitFor()
      assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^@misc\{graph-mamba,[\s\S]*2402\.08678/)
      await page.getByLabel('New papers and results by mail').fill('new@user.org')
      await page.getByRole('button', { name: 'Subscribe' }).click()
      await page.getByText('A mail is on its way to new@user.org').waitFor()
      assert.deepEqual(await serious(page), [])
      await page.goto(/http:\S+confirm\S+/.exec(smtp.to('new@user.org')[0].text)![0])
      assert.deepEqual(await serious(page), [])
      await page.getByRole('button', { name: 'Subscribe' }).click()
      await page.getByRole('heading', { name: 'Subscribed' }).waitFor()
      const digest = spawn(process.execPath, [bin, 'digest', '--subscribers', ...mail])
      const [code] = await once(digest, 'close')
      assert.equal(code, 0)
      assert.equal(smtp.to('new@user.org').length, 2)
      assert.match(smtp.to('new@user.org')[1].text, /Nemotron Elastic/)
      assert.deepEqual(faults, [])
    } finally {
      await context.close()
      studio.kill()
      await once(studio, 'close')
      rmSync(data, { recursive: true })
    }
  })
})
