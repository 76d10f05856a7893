import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Hono } from 'hono'
import { type Behaviour, TestSmtpServer } from '../../../test/smtpServer.js'
import { readEntries } from '../../papers/entries.node.js'
import type { Entry } from '../../papers/entry.js'
import { Journal, JournalError } from '../mail/journal.js'
import { type DigestReport, runDigest } from '../mail/runDigest.js'
import { type Record, Subscribers } from '../mail/subscribers.js'
import { studioApp } from './app.js'
import { RateLimit } from './rateLimit.js'
import { Subscription } from './subscription.js'

const secret = Buffer.alloc(32, 1)
const site = 'http://papers.example/list/'
const from = 'papers@papers.example'
const bin = fileURLToPath(new URL('../../../../bin/mambakit.mjs', import.meta.url))

let folder = ''
let pages = ''
let catalogue: readonly Entry[] = []
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mambakit-studio-'))
  pages = await mkdtemp(join(folder, 'pages-'))
  await writeFile(join(pages, 'index.html'), '<!doctype html><title>page</title>')
  catalogue = await readEntries()
})
after(() => rm(folder, { recursive: true }))

/** A studio with its mail server, as `mambakit studio --smtp` puts them together. */
class Studio implements AsyncDisposable {
  entries = catalogue

  private constructor(
    readonly smtp: TestSmtpServer,
    readonly subscribers: Subscribers,
    readonly file: string,
    public app: Hono,
  ) {}

  static async start(behaviour: Behaviour = {}): Promise<Studio> {
    const file = join(await mkdtemp(join(folder, 'data-')), 'subscribers.jsonl')
    const smtp = await TestSmtpServer.start(behaviour)
    const subscribers = await Subscribers.open(file)
    const timeouts = { connect: 1000, answer: 1000 }
    const subscription = new Subscription({ server: smtp.address, from, secret, subscribers, timeouts }, site)
    const app = await studioApp({ pages, entries: async () => studio.entries, site, subscription, trustProxy: true })
    const studio: Studio = new Studio(smtp, subscribers, file, app)
    return studio
  }

  get(path: string, headers: { [name: string]: string } = {}): Promise<Response> {
    return Promise.resolve(this.app.request(`http://papers.example${path}`, { headers }))
  }

  subscribe(address: unknown, headers: { [name: string]: string } = {}): Promise<Response> {
    return Promise.resolve(
      this.app.request('http://papers.example/subscribe', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ address }),
      }),
    )
  }

  /** Posts to a link of a mail, as its button or a mail program does. */
  post(link: string, body = ''): Promise<Response> {
    assert.ok(link.startsWith(site), link)
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const address = link.replace(site, 'http://papers.example/')
    return Promise.resolve(this.app.request(address, { method: 'POST', headers, body }))
  }

  /** Subscribes and confirms. */
  async enlist(address: string): Promise<void> {
    const asker = { 'x-forwarded-for': address }
    assert.equal((await this.subscribe(address, asker)).status, 200)
    assert.equal((await this.post(linkIn(this.smtp.to(address).at(-1)!.text))).status, 200)
  }

  digest(options: { connections?: number; signal?: AbortSignal } = {}): Promise<DigestReport> {
    const { subscribers, entries, smtp } = this
    const timeouts = { connect: 1000, answer: 1000 }
    return runDigest({ subscribers, entries, secret, server: smtp.address, from, connections: 4, timeouts, ...options })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.smtp[Symbol.asyncDispose]()
    await this.subscribers.close()
  }
}

function linkIn(text: string): string {
  return /http:\/\/papers\.example\/list\/\S+/.exec(text)![0]
}

describe('subscribing', () => {
  test('two confirm, get one digest each, one unsubscribes by the POST of the header', async () => {
    await using studio = await Studio.start()
    for (const address of ['ann@x.org', 'bob@x.org']) await studio.enlist(address)
    assert.equal((await studio.subscribe('never@x.org', { 'x-forwarded-for': '3' })).status, 200)
    const first = await studio.digest()
    assert.deepEqual([first.sent, first.done, first.resumed], [2, true, false])
    assert.deepEqual(
      ['ann', 'bob', 'never'].map((name) => studio.smtp.to(`${name}@x.org`).length),
      [2, 2, 1],
    )

    const { headers } = studio.smtp.to('ann@x.org')[1]
    assert.equal(headers.get('list-unsubscribe-post'), 'List-Unsubscribe=One-Click')
    const link = headers.get('list-unsubscribe')!.slice(1, -1)
    assert.equal((await studio.post(link, 'List-Unsubscribe=One-Click')).status, 200)
    assert.equal((await studio.post(link, 'List-Unsubscribe=One-Click')).status, 200, 'again does no harm')

    assert.equal((await studio.digest()).subject, null, 'nothing is new')
    studio.entries = [...catalogue, { ...catalogue[0], id: 'my-new', title: 'A new paper', date: '2026-05-01' }]
    const second = await studio.digest()
    assert.deepEqual([second.sent, second.subject], [1, 'mambakit: A new paper'])
    assert.deepEqual(
      ['ann', 'bob'].map((name) => studio.smtp.to(`${name}@x.org`).length),
      [2, 3],
    )
    assert.match(studio.smtp.to('bob@x.org')[2].text, /Page: http:\/\/papers\.example\/list\/#\/paper\/my-new/)
  })

  test('opening a link only shows a button: scanners open every link', async () => {
    await using studio = await Studio.start()
    await studio.subscribe('ann@x.org')
    const link = linkIn(studio.smtp.taken[0].text)
    const page = await studio.get(link.replace(site, '/'))
    assert.match(
      await page.text(),
      /<form method="post"><input type="hidden" name="token" value="[\w.-]+"><button>Subscribe</,
    )
    assert.equal(studio.subscribers.find('ann@x.org')?.state, 'requested')
    const token = new URL(link).searchParams.get('token')!
    await studio.post(`${site}confirm`, `token=${token}`)
    assert.equal(studio.subscribers.find('ann@x.org')?.state, 'confirmed')
  })

  test('forged and used-up links change nothing', async () => {
    await using studio = await Studio.start()
    await studio.enlist('ann@x.org')
    const confirmation = linkIn(studio.smtp.taken[0].text)
    const forged = [
      `${site}unsubscribe?token=x.y`,
      `${site}unsubscribe`,
      confirmation.replace('confirm', 'unsubscribe'),
    ]
    for (const link of forged) {
      const answer = await studio.post(link)
      assert.equal(answer.status, 400)
      assert.match(await answer.text(), /not whole or was not made here; open it again from the mail/)
    }
    assert.equal(studio.subscribers.find('ann@x.org')?.state, 'confirmed')
    const script = await studio.get('/confirm?token="><script>alert(1)</script>')
    assert.doesNotMatch(await script.text(), /<script>/)

    await studio.digest()
    const unsubscribe = linkIn(studio.smtp.to('ann@x.org')[1].text.split('Unsubscribe:')[1])
    await studio.post(unsubscribe)
    const stale = await studio.post(confirmation)
    assert.equal(stale.status, 410)
    assert.match(await stale.text(), /used up or is too old\. Subscribe again/)
    assert.equal(studio.subscribers.find('ann@x.org')?.state, 'unsubscribed')
  })

  test('a link that waited more than three days has to be asked for again', async () => {
    const file = join(await mkdtemp(join(folder, 'old-')), 'subscribers.jsonl')
    const journal = await Journal.open<Record>(file)
    const at = new Date(Date.now() - 4 * 24 * 3600_000).toISOString()
    await journal.append({ is: 'requested', address: 'a@x.org', nonce: 'n', site, at })
    const subscribers = await Subscribers.open(file)
    const server = { host: '127.0.0.1', port: 1, secure: false }
    const subscription = new Subscription({ server, from, secret, subscribers }, site)
    const { signedToken } = await import('../mail/tokens.js')
    const token = signedToken(secret, { purpose: 'confirm', address: 'a@x.org', nonce: 'n' })
    assert.equal((await subscription.confirm(token)).status, 410)
    await Promise.all([journal.close(), subscribers.close()])
  })

  test('says nothing about who is subscribed, except to the owner of the box', async () => {
    await using studio = await Studio.start()
    await studio.enlist('ann@x.org')
    const [known, unknown] = [
      await studio.subscribe('Ann@x.org', { 'x-forwarded-for': '1' }),
      await studio.subscribe('bob@x.org', { 'x-forwarded-for': '2' }),
    ]
    assert.deepEqual([known.status, unknown.status], [200, 200])
    assert.equal((await known.text()).replace('Ann', 'bob'), await unknown.text())
    assert.match(studio.smtp.to('Ann@x.org')[0].headers.get('subject')!, /You are subscribed/)
    assert.equal(studio.subscribers.find('ann@x.org')?.state, 'confirmed')
  })

  test('is limited by asker and by address', async () => {
    await using studio = await Studio.start()
    const statuses: number[] = []
    for (let i = 0; i < 7; i++)
      statuses.push((await studio.subscribe(`a${i}@x.org`, { 'x-forwarded-for': '9.9.9.9' })).status)
    assert.deepEqual(statuses, [200, 200, 200, 200, 200, 429, 429])
    const again: number[] = []
    for (let i = 0; i < 3; i++)
      again.push((await studio.subscribe('one@x.org', { 'x-forwarded-for': `8.8.8.${i}` })).status)
    assert.deepEqual(again, [200, 200, 429])
    assert.equal(studio.smtp.taken.length, 7)
  })

  test('answers bad addresses, foreign pages and a mail server in trouble with a sentence', async () => {
    await using studio = await Studio.start({
      recipient: (to) => (to.startsWith('gone') ? [550, 'no such user'] : null),
    })
    const hostile = await studio.subscribe('a@x.org\r\nBcc: v@y.org')
    assert.equal(hostile.status, 400)
    assert.match(
      await hostile.text(),
      /^Expected a mail address such as you@example\.org, got 'a@x\.org Bcc: v@y\.org'$/,
    )
    assert.equal((await studio.subscribe({})).status, 400)
    assert.equal((await studio.subscribe('a@x.org', { origin: 'http://evil.example' })).status, 403)
    assert.equal((await studio.subscribe('a@x.org', { 'content-type': 'text/plain' })).status, 403)
    assert.equal((await studio.subscribe(`${'a'.repeat(9000)}@x.org`)).status, 413)
    assert.equal((await studio.get('/', { host: 'evil.example' })).status, 421)
    const gone = await studio.subscribe('gone@x.org', { 'x-forwarded-for': '2' })
    assert.equal(gone.status, 422)
    assert.match(await gone.text(), /does not accept this address \(550 no such user\)/)
    assert.equal(studio.smtp.taken.length, 0)
    await new Promise<void>((done) => studio.smtp.smtp.close(() => done()))
    const down = await studio.subscribe('a@x.org', { 'x-forwarded-for': '3' })
    assert.equal(down.status, 502)
    assert.match(await down.text(), /could not be sent\. Try again in a few minutes/)
  })

  test('a full disk is said, and nothing is mailed', async () => {
    await using smtp = await TestSmtpServer.start()
    const subscribers = await Subscribers.open(join(folder, 'full.jsonl'))
    const subscription = new Subscription({ server: smtp.address, from, secret, subscribers }, site)
    const app = await studioApp({ pages, entries: async () => [], site, subscription })
    subscribers.record = () => Promise.reject(new JournalError('full'))
    const answer = await app.request('http://papers.example/subscribe', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"address":"a@x.org"}',
    })
    assert.equal(answer.status, 507)
    assert.match(await answer.text(), /cannot keep anything now.*Nothing was changed; try again later/)
    assert.equal(smtp.taken.length, 0)
    await subscribers.close()
  })
})

describe('a digest', () => {
  test('sets a refused address aside, tries a put-off one again, and gives up on it at the third time', async () => {
    const answers = new Map<string, readonly [number, string]>([
      ['gone@x.org', [550, 'no such user']],
      ['busy@x.org', [451, 'try later']],
    ])
    let refuse = false
    await using studio = await Studio.start({ recipient: (to) => (refuse ? (answers.get(to) ?? null) : null) })
    for (const name of ['gone', 'busy', 'fine']) await studio.enlist(`${name}@x.org`)
    refuse = true
    const first = await studio.digest()
    assert.deepEqual([first.sent, first.done], [1, false])
    assert.deepEqual(first.setAside, [{ address: 'gone@x.org', reason: '550 no such user' }])
    assert.deepEqual(first.deferred, [{ address: 'busy@x.org', reason: '451 try later' }])
    const second = await studio.digest()
    assert.deepEqual([second.sent, second.resumed, second.done], [0, true, false])
    const third = await studio.digest()
    assert.deepEqual([third.setAside.map(({ address }) => address), third.done], [['busy@x.org'], true])
    assert.deepEqual(
      ['gone', 'busy', 'fine'].map((name) => studio.smtp.to(`${name}@x.org`).length),
      [1, 1, 2],
    )
  })

  test('keeps several mails in flight', async () => {
    await using studio = await Studio.start({ mail: () => new Promise((wait) => setTimeout(wait, 40, null)) })
    await enlistMany(studio, 24)
    assert.equal((await studio.digest({ connections: 6 })).sent, 24)
    assert.ok(studio.smtp.mostInFlight >= 4, `${studio.smtp.mostInFlight} in flight`)
    assert.equal(studio.smtp.connections, 6)
  })

  test('stops at the first sign when the server goes down, and goes on later', async () => {
    let down = false
    await using studio = await Studio.start({ recipient: () => (down ? [421, 'closing'] : null) })
    await enlistMany(studio, 12)
    studio.smtp.taken.length = 0
    const controller = new AbortController()
    const stopAtFive = setInterval(() => {
      if (studio.smtp.taken.length >= 5) down = true
    }, 1)
    await assert.rejects(
      studio.digest({ connections: 2, signal: controller.signal }),
      /\d+ of 12 mails were sent; the same command goes on with the rest/,
    )
    clearInterval(stopAtFive)
    down = false
    const rest = await studio.digest()
    assert.deepEqual([rest.resumed, rest.done, rest.uncertain], [true, true, []])
    assert.equal(studio.smtp.taken.length, 12)
    assert.equal(new Set(studio.smtp.taken.map(({ to }) => to)).size, 12)
  })

  test('that the server objects to is not charged to the addresses', async () => {
    await using studio = await Studio.start({ mail: async () => (objecting ? [554, 'looks like spam'] : null) })
    let objecting = false
    await enlistMany(studio, 10)
    objecting = true
    await assert.rejects(
      studio.digest({ connections: 1 }),
      /refuses the digest itself \(554 looks like spam\); nothing more was sent/,
    )
    assert.equal(studio.subscribers.confirmed().length, 10)
    objecting = false
    assert.equal((await studio.digest()).sent, 10)
  })

  test('who unsubscribes meanwhile is left out', async () => {
    await using studio = await Studio.start({ mail: () => new Promise((wait) => setTimeout(wait, 20, null)) })
    await enlistMany(studio, 10)
    const others = await Subscribers.open(studio.file)
    const running = studio.digest({ connections: 1 })
    await others.record({ is: 'unsubscribed', address: 'reader9@x.org' })
    assert.equal((await running).sent, 9)
    assert.equal(studio.smtp.to('reader9@x.org').length, 0)
    await others.close()
  })

  test('is mailed by one process at a time', async () => {
    await using studio = await Studio.start({ mail: () => new Promise((wait) => setTimeout(wait, 50, null)) })
    await enlistMany(studio, 8)
    const others = await Subscribers.open(studio.file)
    const rival = () =>
      runDigest({ subscribers: others, entries: catalogue, secret, server: studio.smtp.address, from, connections: 2 })
    const outcomes = await Promise.allSettled([studio.digest(), rival()])
    const failed = outcomes.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
    assert.equal(failed.length, 1)
    assert.match(failed[0].reason.message, /^process \d+ on .* is mailing the digest already; wait until it has ended$/)
    assert.equal(studio.smtp.taken.length, 8)
    await others.close()
  })

  test('killed in the middle again and again reaches everyone, and nobody twice', async () => {
    await using studio = await Studio.start({ mail: () => new Promise((wait) => setTimeout(wait, 30, null)) })
    const all = 80
    await enlistMany(studio, all)
    await writeFile(join(studio.file, '..', 'secret'), secret.toString('hex'), { mode: 0o600 })
    const { port } = studio.smtp.address
    const args = ['digest', '--subscribers', '--smtp', `smtp://127.0.0.1:${port}`, '--data', join(studio.file, '..')]
    const start = (): ChildProcess =>
      spawn(process.execPath, [bin, ...args, '--list', join(folder, 'no-list.json'), '--from', from], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
    for (const stopAt of [1, 15, 30]) {
      const child = start()
      while (studio.smtp.taken.length < stopAt && child.exitCode === null)
        await new Promise((wait) => setTimeout(wait, 1))
      child.kill('SIGKILL')
      await once(child, 'close')
    }
    assert.ok(studio.smtp.taken.length < all, 'it was killed before its end')
    const last = start()
    let output = ''
    last.stdout!.on('data', (text) => (output += text))
    const [code] = await once(last, 'close')
    assert.equal(code, 0)
    // What a killed process had handed over is still being taken for a moment.
    await new Promise((wait) => setTimeout(wait, 100))
    const times = new Map<string, number>()
    for (const { to } of studio.smtp.taken) times.set(to, (times.get(to) ?? 0) + 1)
    assert.deepEqual(
      [...times.values()].filter((n) => n > 1),
      [],
    )
    const uncertain = new Set([...output.matchAll(/^uncertain: (\S+),/gm)].map(([, address]) => address))
    for (let i = 0; i < all; i++) {
      const address = `reader${i}@x.org`
      assert.ok(times.has(address) || uncertain.has(address), `${address} got nothing and is not named`)
    }
    assert.ok(uncertain.size <= 3 * 8, `${uncertain.size} uncertain: more than were in flight`)
  })
})

/** Confirmed subscribers, without the mails that lead there. */
async function enlistMany({ subscribers }: Studio, n: number): Promise<void> {
  await Promise.all(
    Array.from({ length: n }, async (_, i) => {
      const address = `reader${i}@x.org`
      await subscribers.record({ is: 'requested', address, nonce: `${i}`, site })
      await subscribers.record({ is: 'confirmed', address, nonce: `${i}` })
    }),
  )
}

describe('the server of the page', () => {
  test('gives page, data and feed with the headers that isolate, and nothing else', async () => {
    await using studio = await Studio.start()
    const [page, papers, feed, offers] = await Promise.all(
      ['/', '/papers.json', '/feed.xml', '/studio.json'].map((path) => studio.get(path)),
    )
    assert.match(await page.text(), /<title>page/)
    assert.equal(((await papers.json()) as Entry[]).length, 33)
    assert.match(
      await feed.text(),
      /<link rel="self" type="application\/atom\+xml" href="http:\/\/papers\.example\/list\/feed\.xml"/,
    )
    assert.deepEqual(await offers.json(), { live: true, subscribe: true })
    for (const { headers } of [page, papers]) {
      assert.equal(headers.get('cross-origin-opener-policy'), 'same-origin')
      assert.equal(headers.get('cross-origin-embedder-policy'), 'require-corp')
      assert.match(headers.get('content-security-policy')!, /default-src 'self'/)
    }
    for (const path of ['/nothing', '/../secret', '/%2e%2e/secret', '/index.html/x', '/subscribers.jsonl'])
      assert.equal((await studio.get(path)).status, 404, path)
  })

  test('without a mail server there is nothing to subscribe to', async () => {
    const app = await studioApp({ pages, entries: async () => [], site })
    assert.deepEqual(await (await app.request('http://localhost/studio.json')).json(), { live: true, subscribe: false })
    assert.equal((await app.request('http://localhost/subscribe', { method: 'POST' })).status, 404)
  })
})

test('a rate limit lets through again what has waited', () => {
  let now = 0
  const limit = new RateLimit(2, 1000, () => now)
  assert.deepEqual(
    [limit.allows('a'), limit.allows('a'), limit.allows('a'), limit.allows('b')],
    [true, true, false, true],
  )
  now = 1000
  assert.deepEqual([limit.allows('a'), limit.allows('a'), limit.allows('a')], [true, true, false])
})
