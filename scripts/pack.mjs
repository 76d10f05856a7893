// `npm run pack`: the packages as they are published, in dist/packages/: mambakit, and for each Linux architecture that can be
// built here one with the native add-on, which mambakit names as optional. Nothing is compiled or fetched when they are
// installed.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildNative } from './build-native.mjs'
import { root } from './setup.mjs'

const out = join(root, 'dist/packages')

/** Architectures by Node's names, and what compiles for them. */
const platforms = [
  { arch: 'x64', compiler: process.arch === 'x64' ? (process.env.CXX ?? 'g++') : 'x86_64-linux-gnu-g++' },
  { arch: 'arm64', compiler: process.arch === 'arm64' ? (process.env.CXX ?? 'g++') : 'aarch64-linux-gnu-g++' },
]

function npm(args, cwd) {
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm ${args.join(' ')} failed: ${stderr.trim().split('\n').at(-1)}`)
  return stdout
}

/** Packs a folder to out and returns the file's name. */
const packed = (folder) =>
  JSON.parse(npm(['pack', '--json', '--ignore-scripts', '--pack-destination', out], folder))[0].filename

function writePackage(folder, json) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(json, null, 2)}\n`)
}

/** The package with the add-on of one architecture; null, with a line that says why, where it cannot be built here. */
async function packAddon({ arch, compiler }, { version, license }) {
  const name = `@mambakit/linux-${arch}`
  const folder = join(out, `linux-${arch}`)
  writePackage(folder, {
    name,
    version,
    license,
    description: `The native kernels of mambakit for Linux on ${arch} (glibc)`,
    os: ['linux'],
    cpu: [arch],
    libc: ['glibc'],
    main: 'mambakit.node',
    files: ['mambakit.node'],
  })
  writeFileSync(join(folder, 'README.md'), `# ${name}\n\nThe native kernels of mambakit. Install \`mambakit\`.\n`)
  const fault = await buildNative({ arch, compiler, output: join('dist/packages', `linux-${arch}`, 'mambakit.node') })
  if (fault) console.log(`${name} is left out: ${fault}`)
  return fault ? null : packed(folder)
}

/** mambakit without what only a clone needs; the add-ons are optional packages, and so is what decodes images. */
function packLibrary(json) {
  const folder = join(out, 'mambakit')
  const whole = packed(root)
  mkdirSync(folder)
  spawnSync('tar', ['-xzf', join(out, whole), '-C', folder, '--strip-components=1'], { stdio: 'inherit' })
  const { scripts: _, devDependencies: __, ...published } = json
  const { sharp } = json.optionalDependencies
  const addOns = platforms.map(({ arch }) => [`@mambakit/linux-${arch}`, json.version])
  const optionalDependencies = { ...Object.fromEntries(addOns), sharp }
  writePackage(folder, { ...published, optionalDependencies })
  return packed(folder)
}

if (process.platform !== 'linux') {
  console.error('the packages are made on Linux, whose add-ons they hold')
  process.exit(1)
}
const { status } = spawnSync(process.execPath, [join(root, 'scripts/build.mjs')], { stdio: 'inherit' })
if (status !== 0) process.exit(1)
rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
const json = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const files = [packLibrary(json)]
for (const platform of platforms) files.push(await packAddon(platform, json))
for (const file of files) if (file) console.log(join('dist/packages', file))
