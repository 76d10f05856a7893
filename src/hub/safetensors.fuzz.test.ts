import { test } from 'node:test'
import { assertCoverage, fuzzSafetensors } from './safetensors.fuzz.js'

test('3,000 mutants of a safetensors file are read soundly or refused by name', async () => {
  assertCoverage(await fuzzSafetensors(3000, 20251125))
})
