// Recorded inputs and outputs of the official implementations, answered by ours on every device. All cases lie in
// ../shared/parity; a few are kept in test/cases, so that this means something without it.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../src/backend/open.js'
import type { Backend } from '../src/backend/types.js'
import { partProbes } from '../src/papers/probes.js'
import { operatorNames } from '../src/pipeline/operators.js'
import { runCase } from '../src/pipeline/run-case.node.js'
import { setDefaultBackend } from '../src/tensor/index.js'
import { differences } from './compare.js'

const project = fileURLToPath(new URL('../..', import.meta.url))
const shared = join(project, '../shared/parity')
const kept = join(project, 'test/cases')
const folder = mkdtempSync(join(tmpdir(), 'mambakit-parity-'))
after(() => rmSync(folder, { recursive: true }))

/** Models whose every case must agree. */
const slugs = Object.keys(partProbes)

function casesBelow(root: string): string[] {
  const cases = slugs.flatMap((slug) => readdirSync(join(root, slug)).map((name) => join(root, slug, name)))
  const operators = readdirSync(join(root, 'operators'))
    .map((name) => join(root, 'operators', name))
    .filter((path) => existsSync(join(path, 'config.json')))
    .filter((path) => operatorNames.includes(JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')).operator))
  return [...cases, ...operators].filter((path) => existsSync(join(path, 'outputs.safetensors')))
}

async function assertCases(backend: Backend, cases: readonly string[]): Promise<void> {
  setDefaultBackend(backend)
  const out = join(folder, `${backend.device}.safetensors`)
  const bad: string[] = []
  for (const path of cases) {
    await runCase(path, join(path, 'inputs.safetensors'), out, backend)
    for (const difference of await differences(out, join(path, 'outputs.safetensors')))
      bad.push(`${path}: ${difference}`)
  }
  assert.deepEqual(bad, [])
}

for (const device of ['reference', 'native', 'wasm', 'webgpu'] as const) {
  const opened = await openDevice(device).catch((error: Error) => error)
  const missing = opened instanceof Error && device === 'webgpu' ? opened.message : false
  const backend = () => {
    if (opened instanceof Error) throw opened
    return opened.backend
  }
  after(async () => {
    if (!(opened instanceof Error)) await opened.backend.close()
  })
  test(`${device} agrees with the kept cases`, { skip: missing }, async () => {
    const cases = casesBelow(kept)
    assert.ok(cases.length >= 3)
    await assertCases(backend(), cases)
  })
  const skip = missing || (existsSync(shared) ? false : 'no ../shared/parity beside the project')
  test(`${device} agrees with every recorded case`, { skip }, async () => {
    const cases = casesBelow(shared)
    assert.ok(cases.length > 40)
    await assertCases(backend(), cases)
  })
}
