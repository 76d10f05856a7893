// `npm run build`: TypeScript to dist/, the C++ kernels to dist/native (the add-on), and the web studio to dist/studio
// (build-studio.mjs). What is unchanged is not built
// again: objects are kept under the hash of their sources and flags.
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from './setup.mjs'

const run = promisify(execFile)
const native = join(root, 'native')

/** How each instruction set is compiled. Contraction lets a multiply and an add fuse where the set can. */
const instructionSets = {
  x64: [
    { isa: 'mk_baseline', lanes: 4, flags: [] },
    { isa: 'mk_avx2', lanes: 8, flags: ['-mavx2', '-mfma'] },
    {
      isa: 'mk_avx512',
      lanes: 16,
      flags: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mfma', '-mprefer-vector-width=512'],
    },
  ],
  arm64: [{ isa: 'mk_neon', lanes: 4, flags: [] }],
}

const commonFlags = [
  '-O3',
  '-std=c++17',
  '-fPIC',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-Wall',
  '-Wextra',
  '-Wno-psabi',
]

/** C++ sources by role. */
export function nativeSources() {
  const kernels = readdirSync(join(native, 'kernels')).filter((file) => file.endsWith('.cc'))
  return {
    headers: [
      ...readdirSync(native).filter((file) => file.endsWith('.h')),
      ...readdirSync(join(native, 'kernels'))
        .filter((file) => file.endsWith('.h'))
        .map((file) => `kernels/${file}`),
    ].sort(),
    kernels: ['table.cc', ...kernels.map((file) => `kernels/${file}`).sort()],
    addOn: 'addon.cc',
  }
}

export function hashOf(...parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex').slice(0, 24)
}

/**
 * Builds the add-on for an architecture. Returns its path.
 * @param {{ compiler?: string, arch?: string, extraFlags?: string[], out?: string }} options
 */
export async function buildAddOn(options = {}) {
  const {
    compiler = 'g++',
    arch = process.arch,
    extraFlags = [],
    out = join(root, 'dist/native/mambakit.node'),
  } = options
  const sets = instructionSets[arch] ?? [{ isa: 'mk_baseline', lanes: 4, flags: [] }]
  const { headers, kernels, addOn } = nativeSources()
  const objects = join(root, 'dist/native/objects')
  mkdirSync(objects, { recursive: true })
  const headerText = headers.map((file) => readFileSync(join(native, file), 'utf8')).join('')
  const include = join(root, 'node_modules/node-api-headers/include')
  const jobs = [
    { file: addOn, flags: ['-I', include] },
    ...kernels.flatMap((file) =>
      sets.map(({ isa, lanes, flags }) => ({
        file,
        flags: [...flags, `-DMK_ISA=${isa}`, `-DMK_LANES=${lanes}`, '-fno-exceptions', '-fno-rtti'],
      })),
    ),
  ].map(({ file, flags }) => {
    const all = [...commonFlags, ...flags, ...extraFlags]
    const source = readFileSync(join(native, file), 'utf8')
    return { file, all, object: join(objects, `${hashOf(compiler, all.join(' '), headerText, source)}.o`) }
  })
  const missing = jobs.filter(({ object }) => !existsSync(object))
  await inParallel(2, missing, async ({ file, all, object }) => {
    const temporary = `${object}.${process.pid}.tmp`
    await run(compiler, [...all, '-c', join(native, file), '-o', temporary])
    renameSync(temporary, object)
  })
  const stamp = `${out}.stamp`
  const linked = hashOf(...jobs.map(({ object }) => object), extraFlags.join(' '))
  if (missing.length > 0 || !existsSync(out) || !existsSync(stamp) || readFileSync(stamp, 'utf8') !== linked) {
    const temporary = `${out}.${process.pid}.tmp`
    await run(compiler, ['-shared', '-pthread', ...extraFlags, ...jobs.map(({ object }) => object), '-o', temporary])
    renameSync(temporary, out)
    writeFileSync(stamp, linked)
    pruneObjects(objects, jobs)
  }
  return out
}

/** Drops objects of sources that have changed since, so that the folder does not grow for ever. */
function pruneObjects(folder, jobs) {
  const kept = new Set(jobs.map(({ object }) => object))
  const all = readdirSync(folder).map((file) => join(folder, file))
  if (all.length > 6 * kept.size) for (const file of all) if (!kept.has(file)) rmSync(file)
}

async function inParallel(most, items, work) {
  const queue = [...items]
  await Promise.all(
    Array.from({ length: most }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
    }),
  )
}

/** True if a C++ compiler is there. */
export function hasCompiler(compiler = 'g++') {
  return spawnSync(compiler, ['--version']).status === 0
}

function buildTypeScript() {
  const { status } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', root], { stdio: 'inherit' })
  return status === 0
}

async function main() {
  if (!buildTypeScript()) return 1
  if (hasCompiler()) {
    try {
      await buildAddOn()
    } catch (error) {
      const [line] = `${error.stderr ?? error.message}`.split('\n').filter((text) => text.includes('error'))
      console.error(`native add-on: not built (${line ?? error.message}); WebAssembly will be used`)
    }
  } else console.error('native add-on: not built (no g++ on this machine); WebAssembly will be used')
  const { buildStudio } = await import('./build-studio.mjs')
  await buildStudio()
  return 0
}

if (process.argv[1] === join(root, 'scripts/build.mjs')) process.exit(await main())
