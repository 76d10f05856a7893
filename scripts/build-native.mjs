// Builds the Node-API add-on with g++: every kernel source once for each instruction set of the machine's architecture,
// the host sources once, linked to dist/native/mambakit.node.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { hashOf, kernelSources, readSources, runJobs, trimCache, withHeaders, writeWhole } from './build-cache.mjs'
import { root } from './setup.mjs'

const run = promisify(execFile)

/** Flags by instruction set, widest vectors last. `lanes` is the floats in a vector. */
const instructionSets = {
  x64: {
    baseline: { lanes: 4, flags: ['-march=x86-64'] },
    avx2: { lanes: 8, flags: ['-mavx2', '-mfma', '-mf16c'] },
    avx512: {
      lanes: 16,
      flags: [
        '-mavx2',
        '-mfma',
        '-mf16c',
        '-mavx512f',
        '-mavx512bw',
        '-mavx512dq',
        '-mavx512vl',
        '-mprefer-vector-width=512',
      ],
    },
  },
  arm64: { neon: { lanes: 4, flags: [] } },
}

const common = ['-O3', '-std=c++17', '-fPIC', '-fvisibility=hidden', '-Wall', '-Wextra', '-Wno-psabi']
// Kernels rely on NaN and infinities, so nothing that assumes their absence is allowed here.
const kernelFlags = ['-fno-exceptions', '-fno-rtti', '-fno-math-errno', '-fno-trapping-math', '-ffp-contract=fast']
const hostSources = ['addon.cc', 'device.cc', 'isa.cc']
const headers = 'node_modules/node-api-headers/include'

/**
 * Returns null, or one line saying why there is no add-on. `compiler` and `arch` are for cross builds, `extra` flags for
 * sanitizers; `output` is relative to the root.
 */
export async function buildNative(options = {}) {
  const { compiler = process.env.CXX ?? 'g++', arch = process.arch, extra = [] } = options
  const output = join(root, options.output ?? 'dist/native/mambakit.node')
  const sets = instructionSets[arch]
  if (!sets) return `there are no native kernels for ${arch}`
  if (process.platform === 'win32') return 'the add-on is not built on Windows'
  let version
  try {
    version = (await run(compiler, ['--version'])).stdout
  } catch {
    return `${compiler} was not found`
  }
  const cache = join(root, 'dist/native/cache')
  mkdirSync(cache, { recursive: true })
  const sources = readSources()
  const compilations = [
    ...hostSources.map((source) => ({ source, flags: ['-DMK_ISA=host', `-I${headers}`] })),
    ...Object.entries(sets).flatMap(([name, { lanes, flags }]) =>
      kernelSources(sources).map((source) => ({
        source,
        flags: [...kernelFlags, ...flags, `-DMK_ISA=${name}`, `-DMK_LANES=${lanes}`],
      })),
    ),
  ].map(({ source, flags }) => {
    const all = [...common, ...extra, ...flags]
    const texts = [...withHeaders(sources, source)].map((name) => sources[name])
    return { source, flags: all, object: `${hashOf(compiler, version, ...all, ...texts)}.o` }
  })
  try {
    const missing = compilations.filter(({ object }) => !existsSync(join(cache, object)))
    if (missing.length > 0) console.log(`compiling native kernels: ${missing.length} objects`)
    const jobs = missing.map(({ source, flags, object }) => async () => {
      const temporary = join(cache, `${object}.${process.pid}.tmp`)
      await run(compiler, [...flags, '-c', `native/${source}`, '-o', temporary], { cwd: root })
      renameSync(temporary, join(cache, object))
    })
    await runJobs(jobs, 2)
    const objects = compilations.map(({ object }) => object)
    const linked = `${hashOf(compiler, version, ...extra, ...objects)}.node`
    if (!existsSync(join(cache, linked))) {
      // Undefined symbols are Node's; the C++ library is linked in, so that the add-on needs none of a certain version.
      const flags = ['-shared', '-static-libstdc++', '-static-libgcc', '-pthread', '-Wl,--exclude-libs,ALL', ...extra]
      const platform = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : flags
      const temporary = join(cache, `${linked}.${process.pid}.tmp`)
      await run(
        compiler,
        [...(process.platform === 'darwin' ? ['-bundle', ...platform] : flags), ...objects, '-o', temporary],
        {
          cwd: cache,
        },
      )
      renameSync(temporary, join(cache, linked))
    }
    const built = readFileSync(join(cache, linked))
    if (!existsSync(output) || !readFileSync(output).equals(built)) writeWhole(output, built)
    trimCache(cache, new Set([...objects, linked]))
    return null
  } catch (error) {
    const lines = `${error.stderr ?? error.message}`.split('\n')
    return `${compiler} failed (${lines.find((line) => line.includes('error')) ?? lines[0]})`
  }
}
