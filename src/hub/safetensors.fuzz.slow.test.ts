import { test } from 'node:test'
import { assertCoverage, fuzzSafetensors } from './safetensors.fuzz.js'

test('200,000 fresh mutants of a safetensors file are read soundly or refused by name', async (context) => {
  const seed = Date.now() % 2 ** 31
  context.diagnostic(`seed ${seed}`)
  assertCoverage(await fuzzSafetensors(200_000, seed))
})
