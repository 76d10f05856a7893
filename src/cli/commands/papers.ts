// `mambakit papers`: the catalogue and how far each paper has come.
import type { CliCommand } from '../command.js'
import { formatTable } from '../table.js'

export const papers: CliCommand = {
  name: 'papers',
  summary: 'list the papers and how far each has come',
  examples: [
    ['mambakit papers', 'the 33 papers as a table'],
    ['mambakit papers --json', 'the same for programs'],
  ],
  configure(command) {
    command.option('--json', 'print JSON').action(async ({ json }: { json?: boolean }) => {
      const [{ papers }, { paperState }, { readResult }] = await Promise.all([
        import('../../papers/index.js'),
        import('../../papers/state.js'),
        import('../../papers/results.node.js'),
      ])
      const rows = await Promise.all(
        papers.map(async ({ load, ...paper }) => ({
          ...paper,
          state: paperState({ ...paper, load }, await readResult(paper)),
        })),
      )
      if (json) {
        process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
        return
      }
      const table = formatTable(
        [
          { title: '#', align: 'right' },
          { title: 'slug' },
          { title: 'state' },
          { title: 'domain' },
          { title: 'authors', align: 'right' },
          { title: 'date' },
          { title: 'paper', shrink: true },
        ],
        rows.map(({ number, slug, state, domain, authors, date, title }) => [
          number,
          slug,
          state,
          domain,
          authors,
          date,
          title,
        ]),
        process.stdout.columns,
      )
      process.stdout.write(`${table.join('\n')}\n`)
    })
  },
}
