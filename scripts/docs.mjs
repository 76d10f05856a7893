// `npm run docs`: the documentation in dist/docs/: the library's API by typedoc, the command line's pages from the command
// line itself.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './setup.mjs'

const out = join(root, 'dist/docs')
const tools = join(root, 'docs')

function run(command, args, cwd = root) {
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}

rmSync(out, { recursive: true, force: true })
run(process.execPath, [join(root, 'scripts/build.mjs'), 'ts'])

const { commandPages } = await import('../dist/src/cli/pages.js')
mkdirSync(join(out, 'cli'), { recursive: true })
for (const [name, text] of commandPages()) writeFileSync(join(out, 'cli', name), text)

if (!existsSync(join(tools, 'node_modules/typedoc')))
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], tools)
run(process.execPath, [
  join(tools, 'node_modules/typedoc/bin/typedoc'),
  ...['--entryPoints', 'src/index.ts', '--out', join(out, 'api'), '--name', 'mambakit', '--readme', 'README.md'],
  ...['--disableSources', '--treatWarningsAsErrors', '--validation.notExported', 'false', '--logLevel', 'Warn'],
])
console.log('dist/docs/cli/index.md, dist/docs/api/index.html')
