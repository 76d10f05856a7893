import assert from 'node:assert/strict'
import { test } from 'node:test'
import { commands } from './commands/index.js'
import { commandPages } from './pages.js'

test('every command has a page with its usage, its options, and examples that name existing commands', () => {
  const pages = commandPages()
  assert.deepEqual([...pages.keys()].sort(), [...commands.map(({ name }) => `${name}.md`), 'index.md'].sort())
  assert.match(pages.get('index.md')!, /\[`generate`\]\(generate\.md\): continue a text/)
  assert.match(pages.get('train.md')!, /## mambakit train lm\n[\s\S]*\| `--steps <n>` \| steps in all; default 1000 \|/)
  for (const { name, examples } of commands) {
    const page = pages.get(`${name}.md`)!
    assert.ok(page.startsWith(`# mambakit ${name}\n`))
    for (const [line] of examples) assert.ok(page.includes(`\n${line}\n`) && line.includes(`mambakit ${name}`), line)
  }
})
