// `npm run build`: TypeScript to dist/, the native add-on to dist/native/, WebAssembly to dist/wasm/, the library for pages
// to dist/web/, the web studio to dist/studio/. Compiled kernels are kept under the hash of what they were made from, so
// that a repeat costs nothing. Without a C++ compiler the add-on is left out, with one line saying so.
// `npm run build -- ts native` builds some parts.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { buildNative } from './build-native.mjs'
import { buildStudio } from './build-studio.mjs'
import { buildWasm } from './build-wasm.mjs'
import { buildWeb } from './build-web.mjs'
import { root } from './setup.mjs'

const parts = {
  ts: () => {
    const compiler = join(root, 'node_modules/typescript/bin/tsc')
    if (!existsSync(compiler)) throw new Error('nothing is installed yet; run `npm ci --ignore-scripts` first')
    const { status } = spawnSync(process.execPath, [compiler, '-p', root], { stdio: 'inherit' })
    if (status !== 0) throw new Error('TypeScript did not compile')
  },
  native: async () => {
    const fault = await buildNative()
    if (fault) console.log(`no native add-on: ${fault}; the CPU is used through WebAssembly`)
  },
  wasm: buildWasm,
  web: buildWeb,
  studio: buildStudio,
}

const wanted = process.argv.slice(2)
try {
  for (const [name, build] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await build()
} catch (error) {
  console.error(`build failed: ${error.message}`)
  process.exitCode = 1
}
