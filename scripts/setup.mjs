// What `npm test`, `npm run demo` and `npm run studio` need before they start: the locked packages installed and everything built. Cheap to
// repeat. Needs only Node and npm, so it imports no package.
import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Installs and builds what is missing or out of date: all, or some `parts` of the build. Returns null, or one line saying what failed. */
export function setUp(...parts) {
  const stale = staleReason()
  if (stale) {
    const folder = join(root, 'node_modules')
    if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) {
      return `node_modules is a link and ${stale}; run \`npm ci --ignore-scripts\` where it points to`
    }
    console.log(`setting up: npm ci (${stale})`)
    // No package that we use needs its install script, and npm 11 holds them back.
    const status = npm('ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund')
    if (status !== 0) return '`npm ci` failed'
  }
  return npm('run', '--silent', 'build', '--', ...parts) === 0 ? null : '`npm run build` failed'
}

/** Environment that lets WebGPU run without a GPU: the software Vulkan driver that Debian's Chromium brings. */
export function gpuEnvironment() {
  const driver = '/usr/lib/chromium/vk_swiftshader_icd.json'
  const hasGpu = ['/dev/nvidiactl', '/dev/dri'].some((path) => existsSync(path))
  return hasGpu || process.env.VK_DRIVER_FILES || !existsSync(driver) ? {} : { VK_DRIVER_FILES: driver }
}

/** Why node_modules is not what package-lock.json says, or null if it is. Contents are compared; times lie after a checkout. */
function staleReason() {
  const installedLock = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(installedLock)) return 'nothing is installed yet'
  const packages = (file) => JSON.parse(readFileSync(file, 'utf8')).packages
  const installed = packages(installedLock)
  for (const [path, wanted] of Object.entries(packages(join(root, 'package-lock.json')))) {
    if (path === '') continue
    const version = installed[path]?.version
    // Optional packages of other platforms are never installed.
    if (version === undefined && wanted.optional) continue
    if (version !== wanted.version) return `${path.replace(/^node_modules\//, '')} ${wanted.version} is not installed`
  }
  return null
}

function npm(...args) {
  // Under `npm run`, the npm that runs us is named by its script; otherwise the one in PATH is taken.
  const script = process.env.npm_execpath
  const [command, first] = script && /\.c?js$/.test(script) ? [process.execPath, [script]] : ['npm', []]
  return spawnSync(command, [...first, ...args], { cwd: root, stdio: 'inherit' }).status
}
