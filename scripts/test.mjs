// `npm test`: sets itself up, then runs types, lint and all tests; the last line is `N passed, N failed, N skipped`.
// `npm run test:slow` runs the slow tests and further stages instead. `npm test -- WORD` runs the test files whose path
// holds the word, alone.
import { parseArgs } from 'node:util'
import { setUp } from './setup.mjs'
import { runTests, slowStages, stages, testFiles } from './stages.mjs'

const { values, positionals: words } = parseArgs({ options: { slow: { type: 'boolean' } }, allowPositionals: true })

const outcomes = []
const fault = setUp()
if (fault) outcomes.push({ outcome: 'failed', name: 'set-up', reason: fault })
else {
  for (const stage of chosenStages()) {
    console.log(`\n== ${stage.name}`)
    const started = performance.now()
    try {
      outcomes.push(...(await stage.run()))
    } catch (error) {
      outcomes.push({ outcome: 'failed', name: stage.name, reason: error.message })
    }
    console.log(`== ${stage.name} took ${((performance.now() - started) / 1000).toFixed(0)} s`)
  }
}

const all = (outcome) => outcomes.filter((each) => each.outcome === outcome)
console.log()
for (const outcome of ['skipped', 'failed']) {
  for (const { name, reason } of all(outcome)) console.log(`${outcome}: ${name}${reason ? ` (${reason})` : ''}`)
}
// A run in which nothing passed has shown nothing.
process.exitCode = all('failed').length > 0 || all('passed').length === 0 ? 1 : 0
console.log(`${all('passed').length} passed, ${all('failed').length} failed, ${all('skipped').length} skipped`)

function chosenStages() {
  if (words.length === 0) return values.slow ? slowStages : stages
  const files = testFiles().filter((file) => words.some((word) => file.includes(word)))
  return [{ name: `tests of ${words.join(', ')}`, run: () => runTests(files) }]
}
