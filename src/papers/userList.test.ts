import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { readEntries } from './entries.node.js'
import { parseAtom } from './importAtom.js'
import { parseJson } from './importJson.js'
import { checkedPaper, ImportError } from './listPaper.js'
import { addPapers, dataFolder, readUserList } from './userList.node.js'

/** In the form of arXiv's API. */
const arxivAnswer = `<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <link href="http://arxiv.org/api/query?search_query=all:x" rel="self" type="application/atom+xml"/>
  <title type="html">ArXiv Query: search_query=all:x</title>
  <id>http://arxiv.org/api/abc</id>
  <updated>2026-02-01T00:00:00-05:00</updated>
  <entry>
    <id>http://arxiv.org/abs/2601.01234v2</id>
    <updated>2026-01-20T10:00:00Z</updated>
    <published>2026-01-05T17:59:59Z</published>
    <title>Scans &amp; States:
      a &lt;b&gt;test&lt;/b&gt;</title>
    <summary>  We scan.
      Twice. </summary>
    <author><name>Ada L.</name><arxiv:affiliation xmlns:arxiv="http://arxiv.org/schemas/atom">X</arxiv:affiliation></author>
    <author><name>Alan {T}.</name></author>
    <link href="http://arxiv.org/abs/2601.01234v2" rel="alternate" type="text/html"/>
    <link title="pdf" href="http://arxiv.org/pdf/2601.01234v2" rel="related" type="application/pdf"/>
    <arxiv:primary_category xmlns:arxiv="http://arxiv.org/schemas/atom" term="cs.LG" scheme="x"/>
    <category term="cs.LG" scheme="x"/><category term="cs.CL" scheme="x"/>
  </entry>
</feed>`

describe('the list of the user', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-list-'))
  })
  after(() => rm(folder, { recursive: true }))

  const write = async (name: string, text: string) => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }

  test("takes arXiv's answer, and a second import updates", async () => {
    const list = join(folder, 'deep', 'list.json')
    const source = await write('answer.xml', arxivAnswer)
    assert.deepEqual(await addPapers(source, list), { added: 1, updated: 0, total: 1, notes: [] })
    const [paper] = await readUserList(list)
    assert.deepEqual(paper, {
      id: 'arxiv-2601.01234',
      title: 'Scans & States: a <b>test</b>',
      authors: ['Ada L.', 'Alan T.'],
      date: '2026-01-05',
      abstract: 'We scan. Twice.',
      categories: ['cs.LG', 'cs.CL'],
      arxiv: '2601.01234',
      links: [{ label: 'arXiv', href: 'http://arxiv.org/abs/2601.01234v2' }],
    })
    const newer = await write('newer.xml', arxivAnswer.replace('Twice', 'Three times'))
    assert.deepEqual(await addPapers(newer, list), { added: 0, updated: 1, total: 1, notes: [] })
    assert.equal((await readUserList(list))[0].abstract, 'We scan. Three times.')
    const entries = await readEntries({ listFile: list })
    assert.equal(entries.length, 34)
    assert.equal(entries[33].authors, 'Ada L. and Alan T.')
  })

  test('takes JSON, and cuts what is too long with a note', async () => {
    const list = join(folder, 'json.json')
    const papers = [
      { title: `\u202e<img src=x onerror=alert(1)> ${'long '.repeat(2000)}` },
      { title: 'Second', date: '2025-03' },
    ]
    const source = await write('papers.json', `\ufeff${JSON.stringify({ papers })}`)
    const { added, notes } = await addPapers(source, list)
    assert.equal(added, 2)
    assert.deepEqual(notes, [`${source}, paper 1: cut title to 300 characters`])
    const [first] = await readUserList(list)
    assert.ok(first.title.startsWith('<img src=x') && [...first.title].length <= 300)
  })

  test('is as it was when an import fails', async () => {
    const list = join(folder, 'kept.json')
    await addPapers(await write('good.json', '[{"title":"Kept"}]'), list)
    const before = await readFile(list, 'utf8')
    const bad = await write('bad.json', '[{"title":"New"},{"title":7}]')
    await assert.rejects(addPapers(bad, list), /bad\.json, paper 2: expected title to be a text/)
    assert.equal(await readFile(list, 'utf8'), before)
  })

  test('is not taken from a file that is something else, and not overwritten by an import', async () => {
    const source = await write('one.json', '[{"title":"T"}]')
    for (const text of ['{}', 'x', '{"format":"mambakit-papers-1","papers":[{"title":"no id"}]}', '[]']) {
      const other = await write('other.json', text)
      await assert.rejects(addPapers(source, other), /other\.json.*(expected a list that|expected)/)
      assert.equal(await readFile(other, 'utf8'), text)
    }
  })

  test('is not read from a folder or a device without end', async () => {
    await assert.rejects(readUserList(folder), /expected a file; name another/)
    const source = await write('two.json', '[{"title":"T"}]')
    await assert.rejects(addPapers('/dev/zero', join(folder, 'x.json')), /\/dev\/zero: expected a file/)
    await assert.rejects(addPapers(source, '/dev/full'), /\/dev\/full: expected a file/)
  })

  test('lies in the XDG data folder unless that is relative', () => {
    assert.equal(dataFolder({ XDG_DATA_HOME: '/data' }), '/data/mambakit')
    assert.notEqual(dataFolder({ XDG_DATA_HOME: 'data' }), 'data/mambakit')
  })
})

describe('imports from outside', () => {
  test('an entity bomb is refused before anything expands', () => {
    const levels = Array.from({ length: 10 }, (_, i) => `<!ENTITY e${i + 1} "${`&e${i};`.repeat(10)}">`).join('')
    const bomb = `<!DOCTYPE feed [<!ENTITY e0 "lol">${levels}]><feed xmlns="http://www.w3.org/2005/Atom"><title>&e10;</title></feed>`
    assert.throws(() => parseAtom(bomb, 'bomb.xml'), /bomb\.xml, line 1: expected no DOCTYPE/)
    const external = '<!DOCTYPE feed SYSTEM "file:///etc/passwd"><feed xmlns="http://www.w3.org/2005/Atom"/>'
    assert.throws(() => parseAtom(external, 'x.xml'), /expected no DOCTYPE/)
    assert.throws(
      () => parseAtom('<feed xmlns="http://www.w3.org/2005/Atom"><title>&e;</title></feed>', 'x.xml'),
      /x\.xml, line 1: expected well-formed XML; .*entity/,
    )
  })

  test('XML that is no feed is named with its line', () => {
    const refused: [string, RegExp][] = [
      ['<rss version="2.0"></rss>', /line 1: expected an Atom feed, got <rss>/],
      ['<html>', /line 1: expected an Atom feed, got <html>/],
      ['<feed xmlns="http://www.w3.org/2005/Atom">\n<entry>\n<title>T</entry>', /line 3: expected well-formed XML/],
      ['<feed xmlns="http://www.w3.org/2005/Atom"></feed>', /expected at least one <entry>/],
      ['', /expected/],
      [`<feed xmlns="http://www.w3.org/2005/Atom">${'<a>'.repeat(100_000)}`, /at most 64 elements inside each other/],
    ]
    for (const [xml, message] of refused) assert.throws(() => parseAtom(xml, 'f.xml'), message)
  })

  test('JSON that is no list of papers is named with paper and field', () => {
    const refused: [string, RegExp][] = [
      ['{', /f\.json: expected JSON/],
      ['{"a":1}', /expected a list of papers/],
      ['[]', /the list is empty/],
      ['[1]', /paper 1: expected an object with title/],
      ['[{"title":"T","titel":"x"}]', /paper 1: expected only the fields .*, got 'titel'/],
      ['[{"authors":["A"]}]', /paper 1: expected a title/],
      ['[{"title":"T","authors":"A"}]', /expected authors to be a list of texts/],
      ['[{"title":"T","links":{"x":1}}]', /expected links to be addresses by name/],
    ]
    for (const [json, message] of refused) assert.throws(() => parseJson(json, 'f.json'), message)
  })

  test('a paper that cannot be shown is named with what to do', () => {
    const paper = { title: 'T', authors: [], date: null, abstract: '', categories: [], links: [] }
    const refused: [object, RegExp][] = [
      [{ title: ' \u202e\u0007 ' }, /p 1: expected a title with visible text/],
      [
        { links: [{ label: 'x', href: 'javascript:alert(1)' }] },
        /expected links to be http or https addresses, got 'java/,
      ],
      [{ date: '2026-02-31' }, /expected date to be a day such as 2026-01-31, got '2026-02-31'/],
      [{ date: 'yesterday' }, /got 'yesterday'/],
    ]
    for (const [part, message] of refused) assert.throws(() => checkedPaper({ ...paper, ...part }, 'p 1'), message)
  })

  test('mutated feeds are read or refused, never anything else', () => {
    let read = 0
    const edit = fc.record({
      at: fc.nat(arxivAnswer.length),
      cut: fc.nat(8),
      put: fc.constantFrom('', '<', '&', '"', '</entry>', '\u202e', ']]>'),
    })
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 3 }), (edits) => {
        const xml = edits.reduce(
          (text, { at, cut, put }) => text.slice(0, at) + put + text.slice(at + cut),
          arxivAnswer,
        )
        try {
          for (const raw of parseAtom(xml, 'f')) checkedPaper(raw, 'f')
          read++
        } catch (error) {
          assert.ok(error instanceof ImportError, String(error))
        }
      }),
      { numRuns: 500 },
    )
    assert.ok(read > 50, `${read} of 500 mutations were still feeds`)
  })
})
