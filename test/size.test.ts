// The size budget: what a page loads for a language model that generates, as a bundler emits it.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
const wasm = join(root, 'dist/wasm')

/** What a page loads for a model on WebAssembly; other devices, papers and tokenizers are chunks for whoever asks for them. */
const entries = ['<stdin>', 'dist/src/backend/wasm/index.js']

test('the core is at most 100 kB of JavaScript, gzipped, and WGSL is not in it', async () => {
  const { outputFiles, metafile } = await build({
    stdin: {
      contents: `import { MambaLM, generate } from 'mambakit'; console.log(MambaLM, generate)`,
      resolveDir: root,
    },
    absWorkingDir: root,
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    outdir: 'bundle',
    write: false,
    metafile: true,
  })
  const loaded = new Set<string>()
  const load = (path: string) => {
    if (loaded.has(path)) return
    loaded.add(path)
    for (const { path: next, kind } of metafile.outputs[path].imports) if (kind === 'import-statement') load(next)
  }
  for (const [path, { entryPoint }] of Object.entries(metafile.outputs))
    if (entryPoint && entries.includes(entryPoint)) load(path)
  const core = outputFiles.filter(({ path }) => loaded.has(relative(root, path)))
  const inputs = core.flatMap(({ path }) => Object.keys(metafile.outputs[relative(root, path)].inputs))
  for (const needed of ['models/mamba-lm.js', 'backend/wasm/index.js']) assert.ok(inputs.includes(`dist/src/${needed}`))
  assert.deepEqual(
    inputs.filter((input) => input.endsWith('.wgsl.js')),
    [],
  )
  const bytes = core.reduce((sum, { contents }) => sum + gzipSync(contents).length, 0)
  assert.ok(bytes <= 100e3, `${bytes} bytes`)
})

test('each WebAssembly build is at most 0.5 MB gzipped', () => {
  const builds = readdirSync(wasm).filter((name) => name.endsWith('.wasm'))
  assert.ok(builds.length > 0)
  for (const name of builds) {
    const bytes = gzipSync(readFileSync(join(wasm, name))).length
    assert.ok(bytes <= 0.5e6, `${name}: ${bytes} bytes`)
  }
})
