// The speeds that the papers page is to reach, measured and printed; only what must be true on any machine is asserted.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readEntries } from '../src/papers/entries.node.js'
import type { Entry } from '../src/papers/entry.js'
import { runDigest } from '../src/serve/mail/runDigest.js'
import { Subscribers } from '../src/serve/mail/subscribers.js'
import { browserSkip, FileServer, openBrowser, visit } from './browser.js'
import { TestSmtpServer } from './smtpServer.js'

const site = fileURLToPath(new URL('../studio', import.meta.url))

/** Papers with abstracts of 180 words, made of the words of the catalogue and some thousands of rare ones. */
async function manyPapers(n: number): Promise<Entry[]> {
  const catalogue = await readEntries()
  const words = catalogue.flatMap(({ title, summary, claim = '' }) => `${title} ${summary} ${claim}`.split(/\s+/))
  let state = 1
  const random = (below: number) => {
    state = (state * 1103515245 + 12345) % 2147483648
    return Math.floor((state / 2147483648) * below)
  }
  const word = () => (random(30) === 0 ? `term${random(20_000).toString(36)}` : words[random(words.length)])
  const text = (length: number) => Array.from({ length }, word).join(' ')
  return Array.from({ length: n }, (_, i) => ({
    ...catalogue[i % catalogue.length],
    id: `my-${i}`,
    title: text(10),
    summary: text(180),
    claim: undefined,
  }))
}

test('a keystroke among 10,000 papers', { skip: browserSkip }, async (t) => {
  const papers = await manyPapers(10_000)
  await using server = await FileServer.start(site, '/', { 'papers.json': JSON.stringify(papers) })
  const browser = await openBrowser()
  const { page } = await visit(browser, { serviceWorkers: 'block' })
  await page.goto(server.address)
  const box = page.getByRole('searchbox')
  await box.fill('mamba')
  await page.waitForFunction(() => /of 10000 papers/.test(document.querySelector('.count')?.textContent ?? ''), null, {
    timeout: 120_000,
  })
  // The page has the engine compile its search meanwhile.
  await page.waitForTimeout(1000)
  const times = await page.evaluate(async () => {
    const field = document.querySelector<HTMLInputElement>('input[type=search]')!
    const measured: number[] = []
    for (const query of ['selective state space', 'grpah mamba', 'transfomer attention', 'vision segmentation'])
      for (let length = 1; length <= query.length; length++) {
        await new Promise(requestAnimationFrame)
        const start = performance.now()
        field.value = query.slice(0, length)
        field.dispatchEvent(new Event('input', { bubbles: true }))
        // Drawing is put off to a microtask; then the layout is asked for. A timer would wait for 4 ms.
        await new Promise((next) => {
          const { port1, port2 } = new MessageChannel()
          port1.onmessage = next
          port2.postMessage(null)
        })
        document.body.getBoundingClientRect()
        measured.push(performance.now() - start)
      }
    return measured.sort((a, b) => a - b)
  })
  const at = (share: number) => times[Math.floor(share * (times.length - 1))].toFixed(1)
  t.diagnostic(
    `search, drawing and layout: median ${at(0.5)} ms, 95 % ${at(0.95)} ms, most ${at(1)} ms; a frame is 16.7 ms`,
  )
  assert.ok((await page.locator('.row').count()) > 0)
  await browser.close()
})

test('a digest to 1,000 addresses', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-speed-'))
  const delay = 50
  const connections = 8
  await using smtp = await TestSmtpServer.start({ mail: () => new Promise((done) => setTimeout(done, delay, null)) })
  const subscribers = await Subscribers.open(join(folder, 'subscribers.jsonl'))
  const all = Array.from({ length: 1000 }, (_, i) => `reader${i}@x.org`)
  await Promise.all(
    all.map(async (address) => {
      await subscribers.record({ is: 'requested', address, nonce: 'n', site: 'http://x.org/' })
      await subscribers.record({ is: 'confirmed', address, nonce: 'n' })
    }),
  )
  const entries = await readEntries()
  const start = performance.now()
  const secret = Buffer.alloc(32, 1)
  const report = await runDigest({ subscribers, entries, secret, server: smtp.address, from: 'me@x.org', connections })
  const seconds = (performance.now() - start) / 1000
  const least = (all.length * delay) / connections / 1000
  t.diagnostic(
    `${seconds.toFixed(1)} s; the server's ${delay} ms a mail over ${connections} connections alone take ${least} s`,
  )
  assert.equal(report.sent, 1000)
  assert.deepEqual(smtp.taken.map(({ to }) => to).sort(), all.toSorted())
  assert.ok(smtp.mostInFlight >= connections / 2)
  await subscribers.close()
  rmSync(folder, { recursive: true })
})
