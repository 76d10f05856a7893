import { test } from 'node:test'
import { assertFaults, fuzzShardIndex, fuzzTorch, indexFaults, torchFaults } from './torch.fuzz.js'

test('a million fresh mutants of PyTorch files and indexes are read soundly or refused by name', async (context) => {
  const seed = Date.now() % 2 ** 31
  context.diagnostic(`seed ${seed}`)
  assertFaults(await fuzzTorch(800_000, seed), torchFaults)
  assertFaults(await fuzzShardIndex(200_000, seed), indexFaults)
})
