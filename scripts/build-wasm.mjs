// Builds the kernels as WebAssembly with the Clang of @yowasp/clang: {simd, relaxed} x {unshared, shared} memory, to
// dist/wasm/<kind>.wasm. Objects are compiled in two worker threads, since loading Clang takes seconds.
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { hashOf, kernelSources, readSources, runJobs, trimCache, withHeaders, writeWhole } from './build-cache.mjs'
import { root } from './setup.mjs'

const common = [
  '--target=wasm32',
  '-O3',
  '-std=c++17',
  '-nostdlib',
  '-ffreestanding',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-fvisibility=hidden',
  '-Wall',
  '-Wextra',
  // Objects with these features link into both kinds of memory.
  '-matomics',
  '-mbulk-memory',
  '-msimd128',
  '-DMK_ISA=wasm',
  '-DMK_LANES=4',
]
const simdKinds = { simd: [], relaxed: ['-mrelaxed-simd', '-DMK_RELAXED_SIMD'] }
const memoryKinds = { unshared: [], shared: ['-DMK_SHARED'] }
const stackBytes = 1 << 18
const linkFlags = {
  unshared: [],
  shared: ['--shared-memory'],
}

export async function buildWasm() {
  const cache = join(root, 'dist/wasm/cache')
  mkdirSync(cache, { recursive: true })
  const version = JSON.parse(readFileSync(join(root, 'node_modules/@yowasp/clang/package.json'), 'utf8')).version
  const sources = readSources()
  const objectOf = (source, flags) => {
    const all = [...common, ...flags]
    const names = [...withHeaders(sources, source)]
    return { source, flags: all, names, name: `${hashOf(version, ...all, ...names.map((n) => sources[n]))}.o` }
  }
  const builds = Object.entries(simdKinds).flatMap(([simd, simdFlags]) =>
    Object.entries(memoryKinds).map(([memory, memoryFlags]) => {
      const objects = [
        objectOf('wasm.cc', [...simdFlags, ...memoryFlags]),
        ...kernelSources(sources).map((source) => objectOf(source, simdFlags)),
      ]
      const flags = [
        '--no-entry',
        '--import-memory',
        '--max-memory=4294967296',
        `--initial-memory=${1 << 20}`,
        '-z',
        `stack-size=${stackBytes}`,
        '--stack-first',
        '--strip-all',
        '--export=__stack_pointer',
        '--export=__heap_base',
        ...linkFlags[memory],
      ]
      const name = `${hashOf(version, ...flags, ...objects.map((object) => object.name))}.wasm`
      return { output: `${simd}-${memory}.wasm`, objects, flags, name }
    }),
  )
  const missing = new Map(
    builds
      .flatMap(({ objects }) => objects)
      .filter(({ name }) => !existsSync(join(cache, name)))
      .map((o) => [o.name, o]),
  )
  const unlinked = builds.filter(({ name }) => !existsSync(join(cache, name)))
  if (missing.size > 0) console.log(`compiling WebAssembly kernels: ${missing.size} objects`)
  const compilers = []
  const compile = (lane, message) => {
    // Clang reports on its standard output how far it is with loading itself; nobody reads that.
    compilers[lane] ??= new Worker(new URL('./wasm-compiler.mjs', import.meta.url), { stdout: true })
    return new Promise((resolve, reject) => {
      const compiler = compilers[lane]
      compiler.removeAllListeners()
      compiler.once('error', reject)
      compiler.once('message', ({ output, error }) => (error ? reject(new Error(error)) : resolve(output)))
      compiler.postMessage(message)
    })
  }
  const free = [0, 1]
  const inLane = async (message, to) => {
    const lane = free.pop()
    writeWhole(join(cache, to), await compile(lane, message))
    free.push(lane)
  }
  try {
    const jobs = [...missing.values()].map(({ source, flags, names, name }) => () => {
      // The compiler's file system knows no '..', so all files lie in one folder.
      const files = Object.fromEntries(
        names.map((path) => [flat(path), sources[path].replace(/^#include "\.\.\//gm, '#include "')]),
      )
      return inLane({ tool: 'clang', args: [...flags, '-c', flat(source), '-o', 'out'], files }, name)
    })
    await runJobs(jobs, 2)
    const links = unlinked.map(({ objects, flags, name }) => () => {
      const files = Object.fromEntries(objects.map((object) => [object.name, readFileSync(join(cache, object.name))]))
      return inLane({ tool: 'link', args: [...flags, ...Object.keys(files), '-o', 'out'], files }, name)
    })
    await runJobs(links, 1)
  } finally {
    for (const compiler of compilers) await compiler?.terminate()
  }
  for (const { output, name } of builds) {
    const path = join(root, 'dist/wasm', output)
    const built = readFileSync(join(cache, name))
    if (!existsSync(path) || !readFileSync(path).equals(built)) writeWhole(path, built)
  }
  trimCache(cache, new Set(builds.flatMap(({ name, objects }) => [name, ...objects.map((object) => object.name)])))
}

const flat = (path) => path.slice(path.lastIndexOf('/') + 1)
