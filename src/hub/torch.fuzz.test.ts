import { test } from 'node:test'
import { assertFaults, fuzzShardIndex, fuzzTorch, indexFaults, torchFaults } from './torch.fuzz.js'

test('5,000 mutants of PyTorch files are read soundly or refused by name', async () => {
  assertFaults(await fuzzTorch(5000, 20261125), torchFaults)
})

test('2,000 mutants of an index of shards are read soundly or refused by name', async () => {
  assertFaults(await fuzzShardIndex(2000, 20261125), indexFaults)
})
