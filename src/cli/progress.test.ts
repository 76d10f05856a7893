import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatCount, formatDuration, progressBar } from './progress.js'
import { formatTable } from './table.js'

function recorder(isTTY: boolean, columns = 80) {
  const writes: string[] = []
  const stream = { isTTY, columns, write: (text: string) => writes.push(text) }
  let time = 0
  return { writes, stream, now: () => time, wait: (milliseconds: number) => (time += milliseconds) }
}

const at = (step: number) => ({ step, steps: 100, loss: 5.5 - step / 100, unit: 'tokens', unitsPerSecond: 12_345 })

describe('the progress bar', () => {
  test('redraws one line on a terminal, at most ten times a second, and ends with the last step', () => {
    const { writes, stream, now, wait } = recorder(true)
    const bar = progressBar({ stream, now })
    for (let step = 1; step <= 100; step++) {
      wait(50)
      bar.update(at(step))
    }
    bar.end()
    assert.equal(writes.length, 52)
    for (const text of writes) {
      assert.ok(text.startsWith('\r\x1b[2K'))
      assert.ok(text.trimEnd().replace('\r\x1b[2K', '').length < 80)
    }
    assert.equal(writes.filter((text) => text.includes('\n')).length, 1)
    assert.match(writes.at(-1)!, /\[█+\] step 100\/100 {2}loss 4\.5000 {2}12\.3k tokens\/s {2}0 s left\n$/)
    assert.match(writes[25], /█+·+\] step 51\/100 .* 2 s left$/)
  })

  test('fits a narrow terminal, and a note does not break it', () => {
    const { writes, stream, now, wait } = recorder(true, 40)
    const bar = progressBar({ stream, now })
    bar.update(at(1))
    wait(1000)
    bar.note('saved')
    assert.ok(writes[0].replace('\r\x1b[2K', '').length < 40)
    assert.equal(writes[1], `\r\x1b[2Ksaved\n${writes[0].replace('\r\x1b[2K', '')}`)
  })

  test('writes a plain line every ten seconds where there is no terminal', () => {
    const { writes, stream, now, wait } = recorder(false)
    const bar = progressBar({ stream, now })
    for (let step = 1; step <= 100; step++) {
      wait(1000)
      bar.update(at(step))
    }
    bar.note('saved')
    bar.end()
    assert.equal(writes.length, 12)
    assert.equal(writes[1], 'step 11/100  loss 5.3900  12.3k tokens/s  1 min 29 s left\n')
    assert.equal(writes[11], 'saved\n')
  })

  test('writes a JSON line a step for programs', () => {
    const { writes, stream, now, wait } = recorder(true)
    const out: string[] = []
    const bar = progressBar({ json: true, stream, out: { write: (text) => out.push(text) }, now })
    bar.update(at(1))
    wait(2000)
    bar.update(at(2))
    bar.note('saved')
    bar.end()
    assert.deepEqual(writes, [])
    assert.deepEqual(
      out.map((line) => JSON.parse(line)),
      [
        { event: 'step', ...at(1), secondsLeft: null },
        { event: 'step', ...at(2), secondsLeft: 196 },
        { event: 'note', message: 'saved' },
      ],
    )
  })

  test('shows durations and counts with the digits that matter', () => {
    assert.deepEqual([0.4, 59.4, 59.6, 185, 3599.6, 7620].map(formatDuration), [
      '0 s',
      '59 s',
      '1 min 00 s',
      '3 min 05 s',
      '1 h 00 min',
      '2 h 07 min',
    ])
    assert.deepEqual([0, 950, 1234, 12_345, 123_456, 4_560_000].map(formatCount), [
      '0',
      '950',
      '1.23k',
      '12.3k',
      '123k',
      '4.56M',
    ])
  })
})

describe('a table', () => {
  const columns = [{ title: '#', align: 'right' as const }, { title: 'name', shrink: true }, { title: 'state' }]

  test('is as wide as its cells', () => {
    const rows = [
      [1, 'zażółć', null],
      [10, 'b', 'done'],
    ]
    assert.deepEqual(formatTable(columns, rows), [' #  name    state', ' 1  zażółć  -', '10  b       done'])
  })

  test('cuts the shrinking column where the terminal is narrow', () => {
    const lines = formatTable(columns, [[1, 'a very long name indeed', 'planned']], 24)
    assert.deepEqual(lines, ['#  name          state', '1  a very long…  planned'])
    assert.ok(lines.every((line) => line.length <= 24))
  })
})
