import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { sendRange, TestHub } from '../../test/hubServer.js'
import { downloadSnapshot } from './download.node.js'
import { HubError, parseHubId, type Want } from './hub.js'
import { type HubSettings, hubSettings } from './hub-settings.node.js'

const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3))
const files = {
  'config.json': '{"model_type":"mamba"}',
  'tokenizer.json': '{}',
  'model.safetensors': weights,
  'pytorch_model.bin': Buffer.alloc(2000),
  'README.md': 'read me',
  'training.log': 'long',
}
const isGet = (request: IncomingMessage, name: string) => request.method === 'GET' && request.url!.endsWith(`/${name}`)

describe('a download from the hub', () => {
  let hub: TestHub
  let folder = ''
  const told: string[] = []
  const settings = (changes: Partial<HubSettings> = {}): HubSettings => ({
    ...hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder }),
    retryDelay: 1,
    ...changes,
  })
  const download = (
    changes: Partial<HubSettings> = {},
    { want = 'model', id = 'owner/name', signal }: { want?: Want; id?: string; signal?: AbortSignal } = {},
  ) =>
    downloadSnapshot(parseHubId(id)!, want, {
      settings: settings(changes),
      signal,
      announce: (line) => told.push(line),
    })
  const cache = () => join(folder, 'hub', 'models--owner--name')
  const gets = (name: string) => hub.seen.filter(({ method, path }) => method === 'GET' && path.endsWith(`/${name}`))
  const refused = async (attempt: Promise<unknown>, message: RegExp, status?: number) => {
    await assert.rejects(attempt, (error) => {
      assert.ok(error instanceof HubError, String(error))
      assert.match(error.message, message)
      assert.ok(error.message.startsWith('owner/name: ') && !error.message.includes('\n'), error.message)
      if (status !== undefined) assert.equal(error.status, status)
      return true
    })
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-hub-'))
    hub = await TestHub.start(files)
    told.length = 0
  })
  afterEach(async () => {
    await hub.close()
    await rm(folder, { recursive: true })
  })

  test('brings what is needed, in the layout of huggingface_hub, and asks for no file twice', async () => {
    const snapshot = await download()
    assert.equal(snapshot, join(cache(), 'snapshots', hub.commit))
    assert.deepEqual((await readdir(snapshot)).sort(), ['config.json', 'model.safetensors', 'tokenizer.json'])
    assert.deepEqual(await readFile(join(snapshot, 'model.safetensors')), weights)
    assert.equal(await readFile(join(cache(), 'refs', 'main'), 'utf8'), hub.commit)
    for (const name of await readdir(snapshot)) {
      assert.ok((await lstat(join(snapshot, name))).isSymbolicLink())
      assert.match(await readlink(join(snapshot, name)), /^\.\.\/\.\.\/blobs\/[0-9a-f]{40,64}$/)
    }
    assert.equal((await readdir(join(cache(), 'blobs'))).length, 3, 'no file is left incomplete or locked')
    const before = hub.seen.length
    assert.equal(await download(), snapshot)
    assert.deepEqual(
      hub.seen.slice(before).map(({ path }) => path),
      ['/api/models/owner/name/revision/main'],
    )
    assert.equal(await download({}, { id: `owner/name@${hub.commit}` }), snapshot)
    assert.equal(hub.seen.length, before + 1, 'a commit in the cache needs no question')
  })

  test('brings the tokenizer or the configuration alone where that is asked for', async () => {
    const snapshot = await download({}, { want: 'tokenizer' })
    assert.deepEqual(await readdir(snapshot), ['tokenizer.json'])
    await download({}, { want: 'config', id: 'owner/name@v1' })
    assert.deepEqual((await readdir(snapshot)).sort(), ['config.json', 'tokenizer.json'])
    assert.equal(await readFile(join(cache(), 'refs', 'v1'), 'utf8'), hub.commit)
  })

  test('gives the token to the hub alone, not to where it redirects', async () => {
    await download({ token: 'hf_secret' })
    const byHost = (host: string) =>
      new Set(hub.seen.filter((each) => each.host === host).map((each) => each.authorization))
    assert.deepEqual([...byHost('hub')], ['Bearer hf_secret'])
    assert.deepEqual([...byHost('storage')], [undefined])
  })

  test('that breaks goes on where it stopped, within a call and in the next', async () => {
    let breaks = 3
    hub.fault = (request, response, body) => {
      if (!isGet(request, 'model.safetensors') || request.headers.host!.startsWith('127')) return false
      if (breaks-- <= 0) return false
      const begin = Number(/\d+/.exec(request.headers.range ?? '0')![0])
      response.writeHead(begin > 0 ? 206 : 200, {
        'content-length': body.length - begin,
        'content-range': `bytes ${begin}-${body.length - 1}/${body.length}`,
      })
      response.write(body.subarray(begin, begin + 50_000), () => setTimeout(() => response.destroy(), 20))
      return true
    }
    const snapshot = await download()
    assert.deepEqual(await readFile(join(snapshot, 'model.safetensors')), weights)
    const ranges = hub.seen.filter(({ host }) => host === 'storage').map(({ range }) => range)
    assert.equal(ranges[0], undefined)
    assert.ok(ranges.length === 4 && ranges.slice(1).every((range) => /^bytes=\d+-$/.test(range!)), `${ranges}`)

    await rm(cache(), { recursive: true })
    breaks = 1
    const controller = new AbortController()
    const whole = hub.fault
    hub.fault = (request, response, body) => {
      const answered = whole(request, response, body)
      if (answered) setTimeout(() => controller.abort(), 10)
      return answered
    }
    await assert.rejects(download({}, { signal: controller.signal }), { name: 'AbortError' })
    const [incomplete] = (await readdir(join(cache(), 'blobs'))).filter((name) => name.endsWith('.incomplete'))
    const { size } = await stat(join(cache(), 'blobs', incomplete))
    assert.ok(size > 0 && size < weights.length)
    hub.seen.length = 0
    await download()
    assert.equal(hub.seen.find(({ host }) => host === 'storage')!.range, `bytes=${size}-`)
    assert.deepEqual(await readFile(join(snapshot, 'model.safetensors')), weights)
  })

  test('starts anew where the server gives no ranges', async () => {
    await mkdir(join(cache(), 'blobs'), { recursive: true })
    const { createHash } = await import('node:crypto')
    const etag = createHash('sha256').update(weights).digest('hex')
    await writeFile(join(cache(), 'blobs', `${etag}.incomplete`), weights.subarray(0, 1000))
    hub.fault = (request, response, body) => {
      if (request.headers.range === undefined) return false
      sendRange(response, body, undefined)
      return true
    }
    const snapshot = await download()
    assert.deepEqual(await readFile(join(snapshot, 'model.safetensors')), weights)
  })

  test('gives up after several breaks without a byte, and says that it can go on', async () => {
    hub.fault = (request, response) => {
      if (!isGet(request, 'model.safetensors')) return false
      response.destroy()
      return true
    }
    await refused(download(), /model\.safetensors: the connection broke 5 times at byte 0 \(.+\); run again to go on/)
    hub.fault = (request, response, body) => {
      if (!isGet(request, 'model.safetensors') || request.headers.host!.startsWith('127')) return false
      // Says nothing after the first bytes.
      response.writeHead(206, { 'content-range': `bytes 0-9/${body.length}`, 'content-length': body.length })
      response.flushHeaders()
      return true
    }
    await refused(download({ stall: 30 }), /broke 5 times at byte 0 \(nothing came for 0\.03 s\)/)
  })

  test('with a wrong hash is deleted and refused; so is one that is too long', async () => {
    hub.etags.set('model.safetensors', 'a'.repeat(64))
    await refused(
      download(),
      /model\.safetensors: expected sha256 a{64}, got [0-9a-f]{64}; what was downloaded is deleted/,
    )
    assert.ok((await readdir(join(cache(), 'blobs'))).every((name) => !name.startsWith('aaa')))
    assert.ok(!existsSync(join(cache(), 'refs', 'main')), 'no name leads to a snapshot that is not whole')
    hub.etags.clear()
    hub.etags.set('config.json', 'b'.repeat(40))
    await rm(cache(), { recursive: true })
    await refused(download(), /config\.json: expected git hash b{40}, got [0-9a-f]{40}/)
    hub.etags.clear()
    hub.fault = (request, response, body) => {
      if (!isGet(request, 'model.safetensors') || request.headers.host!.startsWith('127')) return false
      response.writeHead(200).end(Buffer.concat([body, body]))
      return true
    }
    await refused(download(), /model\.safetensors: expected 300000 bytes, got more/)
  })

  test('is refused by what the hub answers', async () => {
    const answers: [number, RegExp][] = [
      [401, /the hub asks for a token \(no such model, or a private or gated one\); check the id, or set HF_TOKEN/],
      [403, /the token gives no access; ask for it on the page of the model/],
      [404, /no such model, revision \("main"\) or file on the hub/],
      [418, /the hub answers HTTP 418/],
      [503, /the hub answers HTTP 503/],
    ]
    for (const [status, message] of answers) {
      hub.fault = (_, response) => {
        response.writeHead(status).end('{}')
        return true
      }
      await refused(download(), message, status)
    }
    hub.fault = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html>')
      return true
    }
    await refused(download(), /expected a file, got a web page \(HTML\) from .+; check HF_ENDPOINT and the proxy/)
    hub.fault = (_, response) => {
      response.writeHead(200).end('<html>')
      return true
    }
    await refused(download(), /got a web page \(HTML\)/)
    hub.fault = (_, response) => {
      response.writeHead(200).end('[1, 2')
      return true
    }
    await refused(download(), /expected JSON from .+, got "\[1, 2"/)
    hub.fault = (_, response) => {
      response.writeHead(200).end('{"sha": "main", "siblings": []}')
      return true
    }
    await refused(download(), /expected the hub to name a commit and its files/)
    hub.fault = (_, response) => {
      response.writeHead(302, { location: '/again' }).end()
      return true
    }
    await refused(download(), /more than 10 redirects/)
    hub.fault = (_, response) => {
      response.writeHead(302, { location: 'file:///etc/passwd' }).end()
      return true
    }
    await refused(download(), /redirects to file:; expected http or https/)
    assert.deepEqual(existsSync(cache()) ? await readdir(cache()) : [], [])
  })

  test('waits where the hub is asked too often, as long as it says, but not for ever', async () => {
    let times = 2
    hub.fault = (_, response) => {
      if (times-- <= 0) return false
      response.writeHead(429, { 'retry-after': times === 1 ? '1' : new Date(Date.now() - 5000).toUTCString() }).end()
      return true
    }
    const started = performance.now()
    await download()
    assert.ok(performance.now() - started >= 990)
    assert.deepEqual(told, ['owner/name: the hub answers HTTP 429; trying again in 1 s'])
    hub.fault = (_, response) => {
      response.writeHead(429, { 'retry-after': '86400' }).end()
      return true
    }
    await refused(download(), /the hub is asked too often; wait a while, or set HF_TOKEN/, 429)
    const controller = new AbortController()
    hub.fault = (_, response) => {
      response.writeHead(429, { 'retry-after': '60' }).end()
      setTimeout(() => controller.abort(), 20)
      return true
    }
    await assert.rejects(download({}, { signal: controller.signal }), { name: 'AbortError' })
  })

  test('never leaves its folder, whatever the hub names', async () => {
    for (const name of ['../../evil.json', '/etc/evil', 'a\\..\\evil', 'a/../b', 'a//b', '']) {
      hub.extraNames = [name]
      await refused(download(), /the hub names a file that points elsewhere: "/)
    }
    hub.extraNames = ['nested/ok.txt']
    for (const etag of ['../../evil', '..', 'a/b', ' ']) {
      hub.etags.set('config.json', etag)
      await refused(download(), /config\.json: expected a tag of the file, got "/)
    }
    assert.deepEqual(await readdir(folder), [])
  })

  test('of a repository without a model says what is there', async () => {
    await hub.close()
    hub = await TestHub.start({ 'config.json': '{}', 'model.gguf': 'GGUF' })
    await refused(
      download(),
      /holds no weights that can be read \(safetensors or PyTorch\); it has "config\.json", "model\.gguf"/,
    )
    await refused(download({}, { want: 'tokenizer' }), /holds no tokenizer\.json; it has/)
    await hub.close()
    hub = await TestHub.start({})
    await refused(download(), /holds no config\.json; it has no file at all/)
  })

  test('brings every shard that an index names, and no file that it must not name', async () => {
    const index = (name: string) => JSON.stringify({ weight_map: { a: 'one.safetensors', b: name } })
    const start = async (name: string) => {
      await hub.close()
      hub = await TestHub.start({
        'config.json': '{}',
        'model.safetensors.index.json': index(name),
        'one.safetensors': weights,
        'two.safetensors': 'x',
        'other.safetensors': 'x',
      })
    }
    await start('two.safetensors')
    const snapshot = await download()
    assert.deepEqual((await readdir(snapshot)).sort(), [
      'config.json',
      'model.safetensors.index.json',
      'one.safetensors',
      'two.safetensors',
    ])
    await rm(join(snapshot, 'two.safetensors'))
    await assert.rejects(
      download({ offline: true }),
      /HF_HUB_OFFLINE is set/,
      'a snapshot with a missing shard is not whole',
    )
    await rm(cache(), { recursive: true })
    await start('three.safetensors')
    await refused(download(), /model\.safetensors\.index\.json names "three\.safetensors", which the hub does not have/)
    await rm(cache(), { recursive: true })
    await start('../two.safetensors')
    await assert.rejects(download(), /expected a file beside the index, got "\.\.\/two\.safetensors"/)
  })

  test('offline takes the cache alone; without a network the cache serves too', async () => {
    await refused(download({ offline: true }), /not in the cache .+, and HF_HUB_OFFLINE is set; download it first/)
    assert.equal(hub.seen.length, 0)
    const snapshot = await download()
    const before = hub.seen.length
    assert.equal(await download({ offline: true }), snapshot)
    assert.equal(hub.seen.length, before)
    const { endpoint } = hub
    hub.fault = (_, response) => {
      response.destroy()
      return true
    }
    assert.equal(await download(), snapshot)
    assert.match(told.join(), new RegExp(`${endpoint} cannot be reached \\(.+\\); using what is in the cache`))
    await rm(cache(), { recursive: true })
    await refused(download(), /cannot be reached/)
  })

  test('is made once where several ask for it at the same time, and a dead one does not block it', async () => {
    const snapshots = await Promise.all([download(), download(), download()])
    assert.equal(new Set(snapshots).size, 1)
    assert.equal(gets('model.safetensors').filter(({ host }) => host === 'storage').length, 1)
    await rm(cache(), { recursive: true })
    const { createHash } = await import('node:crypto')
    const etag = createHash('sha256').update(weights).digest('hex')
    await mkdir(join(cache(), 'blobs'), { recursive: true })
    // A process that is gone: no system gives out this number.
    await writeFile(join(cache(), 'blobs', `${etag}.incomplete.lock`), `${hostname()} ${2 ** 22 + 1}`)
    assert.equal(await download(), snapshots[0])
  })
})

describe('settings of the hub', () => {
  test('follow the variables of huggingface_hub', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mambakit-hf-'))
    await writeFile(join(folder, 'token'), 'hf_file\n')
    const of = (env: Record<string, string>) => hubSettings(env)
    assert.match(of({}).cache, /\/\.cache\/huggingface\/hub$/)
    assert.equal(of({}).endpoint, 'https://huggingface.co')
    assert.equal(of({ XDG_CACHE_HOME: '/x' }).cache, '/x/huggingface/hub')
    assert.equal(of({ HF_HOME: folder }).cache, join(folder, 'hub'))
    assert.equal(of({ HF_HOME: folder, HF_HUB_CACHE: '/c' }).cache, '/c')
    assert.equal(of({ HF_HOME: folder }).token, 'hf_file')
    assert.equal(of({ HF_HOME: folder, HF_TOKEN: 'hf_env' }).token, 'hf_env')
    assert.equal(of({ HF_HOME: '/nowhere', HF_TOKEN_PATH: join(folder, 'token') }).token, 'hf_file')
    assert.equal(of({ HF_HOME: '/nowhere' }).token, null)
    assert.equal(of({ HF_ENDPOINT: 'http://mirror:8000/' }).endpoint, 'http://mirror:8000')
    assert.deepEqual(
      ['1', 'true', 'ON', '0', ''].map((HF_HUB_OFFLINE) => of({ HF_HUB_OFFLINE }).offline),
      [true, true, true, false, false],
    )
    assert.throws(() => of({ HF_ENDPOINT: 'mirror' }), /HF_ENDPOINT: expected an address as https:.+, got "mirror"/)
    assert.throws(
      () => of({ HF_TOKEN: 'hf a\u0000' }),
      (error: Error) => /HF_TOKEN: expected/.test(error.message) && !error.message.includes('hf a'),
    )
    await rm(folder, { recursive: true })
  })

  test('ids are owner/name with a revision or without, and nothing else', () => {
    assert.deepEqual(parseHubId('state-spaces/mamba-130m'), { id: 'state-spaces/mamba-130m', revision: 'main' })
    assert.deepEqual(parseHubId('a/b.c@refs/pr/1'), { id: 'a/b.c', revision: 'refs/pr/1' })
    for (const text of [
      'a',
      'a/b/c',
      '../b',
      'a/..',
      './a',
      '/a/b',
      'a/b@',
      'a/b@..',
      'a--b/c',
      'a b/c',
      'https://x/y',
    ])
      assert.equal(parseHubId(text), null, text)
  })
})
