import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { replaceFile, writeAll } from './atomic.node.js'

const text = (content: string) => new TextEncoder().encode(content)

describe('replacing a file', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-atomic-'))
  })
  after(() => rm(folder, { recursive: true }))

  test('a killed writer leaves the old file whole, and the next one clears what it left', async () => {
    const path = join(folder, 'checkpoint')
    await writeFile(path, 'old')
    const script = `
      import { replaceFile, writeAll } from ${JSON.stringify(new URL('./atomic.node.js', import.meta.url).href)}
      await replaceFile(process.argv[1], async (handle) => {
        await writeAll(handle, new Uint8Array(100_000))
        console.log('half')
        setInterval(() => {}, 1000)
        await new Promise(() => {})
      })`
    const writer = spawn(process.execPath, ['--input-type=module', '-e', script, path])
    await once(writer.stdout, 'data')
    const during = await readdir(folder)
    assert.equal(during.length, 2)
    await replaceFile(path, (handle) => writeAll(handle, text('newer')))
    assert.deepEqual(await readdir(folder), during, 'the file of a living writer was removed')
    writer.kill('SIGKILL')
    await once(writer, 'close')
    assert.equal(await readFile(path, 'utf8'), 'newer')
    await replaceFile(path, (handle) => writeAll(handle, text('newest')))
    assert.deepEqual(await readdir(folder), ['checkpoint'])
    assert.equal(await readFile(path, 'utf8'), 'newest')
  })

  test('two writers at once leave one of two whole files', async () => {
    const path = join(folder, 'shared')
    const contents = ['a', 'b', 'c'].map((letter) => letter.repeat(50_000))
    await Promise.all(contents.map((content) => replaceFile(path, (handle) => writeAll(handle, text(content)))))
    assert.ok(contents.includes(await readFile(path, 'utf8')))
  })
})
