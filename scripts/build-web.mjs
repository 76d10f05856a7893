// Bundles the library for pages without a bundler to dist/web/: mambakit.js, its parts that load when they are needed, and
// the thread of the WebAssembly backend, beside the .wasm files of dist/wasm/.
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './setup.mjs'

const out = join(root, 'dist/web')

/** The bundle lies less deep than the file that names the .wasm files. */
const wasmFiles = {
  name: 'wasm files',
  setup(build) {
    build.onLoad({ filter: /backend[\\/]wasm[\\/]index\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll('../../../wasm/', '../wasm/'),
    }))
  },
}

export async function buildWeb() {
  const { build } = await import('esbuild')
  rmSync(out, { recursive: true, force: true })
  await build({
    absWorkingDir: root,
    entryPoints: { mambakit: 'dist/src/index.js', 'thread.browser': 'dist/src/backend/wasm/thread.browser.js' },
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    chunkNames: '[name]-[hash]',
    outdir: out,
    plugins: [wasmFiles],
    logLevel: 'warning',
  })
}
