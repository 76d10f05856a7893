import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { TestHub } from '../../test/hubServer.js'
import { byteTokenizer } from '../data/tokenizer.js'
import { hubCacheName } from '../hub/hub.web.js'
import { mambaDefaults } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { useDevice } from './device.js'
import { LanguageModel } from './language-model.js'
import { loadModel } from './load.web.js'
import { saveModel } from './save.node.js'

/** The part of the Cache API that is used, in memory: Node has none. */
class MemoryCaches {
  readonly kept = new Map<string, Map<string, Response>>()
  async open(name: string) {
    const cache = this.kept.get(name) ?? new Map<string, Response>()
    this.kept.set(name, cache)
    return {
      match: async (url: string) => cache.get(url)?.clone(),
      put: async (url: string, response: Response) => {
        const body = await response.arrayBuffer()
        cache.set(url, new Response(body, { headers: response.headers }))
      },
    }
  }
}

describe('loading in a page', () => {
  let hub: TestHub
  const caches = new MemoryCaches()
  const told: string[] = []
  const options = () => ({ endpoint: hub.endpoint, announce: (line: string) => told.push(line) })
  /** An id is tried as an address of the page first, which Node's fetch has none of. */
  const realFetch = globalThis.fetch
  before(async () => {
    await useDevice('cpu', { announce: () => {} })
    const folder = await mkdtemp(join(tmpdir(), 'mambakit-web-'))
    const config = { ...mambaDefaults, dModel: 8, nLayer: 2, vocabSize: 256, layout: 'huggingface' as const }
    const model = new LanguageModel(new MambaLM(config).initialize({ seed: 3 }), byteTokenizer)
    await saveModel(model, join(folder, 'm'), { shardBytes: 4000 })
    const names = await readdir(join(folder, 'm'))
    const files = await Promise.all(names.map(async (name) => [name, await readFile(join(folder, 'm', name))] as const))
    await rm(folder, { recursive: true })
    hub = await TestHub.start(Object.fromEntries(files))
    Object.assign(globalThis, {
      caches,
      fetch: async (input: string, init?: RequestInit) =>
        input.startsWith('http') ? realFetch(input, init) : new Response('', { status: 404 }),
    })
  })
  after(async () => {
    Reflect.deleteProperty(globalThis, 'caches')
    globalThis.fetch = realFetch
    await hub.close()
  })

  test('takes a model by its hub id, keeps it, and needs the hub no more', async () => {
    const progress: string[] = []
    const first = await loadModel('owner/name', { ...options(), onProgress: ({ file }) => progress.push(file) })
    assert.ok(progress.includes('model-00001-of-00005.safetensors'), progress.join())
    const [{ text }] = await first.generateBatch(['x'], { maxTokens: 4, temperature: 0 })
    first.dispose()
    assert.ok(caches.kept.get(hubCacheName)!.size > 5)
    const before = hub.seen.length
    const again = await loadModel('owner/name', options())
    again.dispose()
    assert.deepEqual(
      hub.seen.slice(before).map(({ path }) => path),
      ['/api/models/owner/name/revision/main?blobs=true'],
    )
    hub.fault = (_, response) => {
      response.destroy()
      return true
    }
    const offline = await loadModel('owner/name', options())
    assert.equal((await offline.generateBatch(['x'], { maxTokens: 4, temperature: 0 }))[0].text, text)
    offline.dispose()
    assert.match(told.join(), /cannot be reached; using what is in the cache/)
    hub.fault = () => false
  })

  test('keeps nothing whose hash is wrong, large or small', async () => {
    for (const [name, kind, digits] of [
      ['model-00002-of-00005.safetensors', 'sha256', 64],
      ['config.json', 'git hash', 40],
    ] as const) {
      caches.kept.clear()
      hub.etags.set(name, 'f'.repeat(digits))
      const expected = new RegExp(
        `owner/name: ${name}: expected ${kind} f{${digits}}, got [0-9a-f]{${digits}}; nothing`,
      )
      await assert.rejects(loadModel('owner/name', options()), expected)
      assert.ok(![...caches.kept.get(hubCacheName)!.keys()].some((url) => url.endsWith(name)))
      Reflect.deleteProperty(globalThis, 'caches')
      await assert.rejects(loadModel('owner/name', options()), expected)
      Object.assign(globalThis, { caches })
      hub.etags.clear()
    }
    const good = await loadModel('owner/name', options())
    good.dispose()
  })

  test('takes one from the address of a folder, shards and all', async () => {
    const model = await loadModel(`${hub.endpoint}/owner/name/resolve/${hub.commit}`)
    assert.equal(model.tokenizer, byteTokenizer)
    model.dispose()
    await assert.rejects(loadModel(`${hub.endpoint}/nowhere`), /nowhere\/config\.json: not found; expected the address/)
  })

  test('says what the hub answers', async () => {
    await assert.rejects(
      loadModel('owner/other', options()),
      /owner\/other: no such model, revision \("main"\) or file/,
    )
    hub.fault = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')
      return true
    }
    await assert.rejects(loadModel('owner/name', options()), /expected a file, got a web page \(HTML\)/)
    hub.fault = () => false
  })
})
