import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { baseTokenizer } from './bases.js'
import { openTokenFiles } from './tokens.node.js'

const folder = mkdtempSync(join(tmpdir(), 'mambakit-tokens-'))
after(() => rmSync(folder, { recursive: true }))
const put = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

test('FASTA files, packed ones too, become one row of bases whose end is held out', async () => {
  put('a.fna', '>a\nACGTACGTAC\n')
  put('b.fa.gz', gzipSync('>b\nNNNNNNNNNN\n'))
  const { train, heldOut, files } = await openTokenFiles('bases', [folder], { heldOutFraction: 0.2 })
  assert.deepEqual([train.vocabSize, train.length, heldOut.length, files.length], [5, 16, 4, 2])
  assert.deepEqual([...(await train.read(6, 6))], [2, 3, 0, 1, 4, 4])
  assert.deepEqual([...(await heldOut.read(0, 4))], [4, 4, 4, 4])
})

test('files that are not what they are taken for are named', async () => {
  const refuse = (kind: 'bases' | 'mulaw', path: string, message: RegExp) =>
    assert.rejects(openTokenFiles(kind, [path]), message)
  await refuse('bases', put('notes.fa', 'Dear diary'), /notes\.fa: line 1: expected FASTA/)
  await refuse('bases', put('broken.gz', 'x'), /broken\.gz: expected a gzip file/)
  await refuse('mulaw', put('tune.wav', 'RIFF'), /tune\.wav: expected a WAV file/)
  await refuse('mulaw', join(folder, 'none.wav'), /none\.wav: no such file or folder/)
})

test('bases are written as letters and read back, with or without a header', () => {
  const tokens = baseTokenizer.encode('acGTn')
  assert.deepEqual([...tokens], [0, 1, 2, 3, 4])
  assert.equal(baseTokenizer.decode(tokens), 'ACGTN')
  assert.deepEqual([...baseTokenizer.encode('>head\nAC\n')], [0, 1])
  assert.equal(baseTokenizer.encode(' \n').length, 0)
  assert.throws(() => baseTokenizer.encode('hello'), /text: line 2: expected bases \(A, C, G, T, N\), got 'e'/)
  assert.throws(() => baseTokenizer.decode([5]), /expected a base token in \[0, 5\), got 5/)
})
