// `mambakit papers`: the catalogue and how far each paper has come; `papers add` keeps a list of the user's own beside it.
import type { Command } from 'commander'
import { type CliCommand, UsageError } from '../command.js'
import { formatTable } from '../table.js'

export const papers: CliCommand = {
  name: 'papers',
  summary: 'list the papers and how far each has come',
  examples: [
    ['mambakit papers', 'the 33 papers as a table'],
    ['mambakit papers --json', 'the same for programs'],
    ['mambakit papers add --arxiv-xml FILE', 'add what arXiv’s API answered to your own list'],
    ['mambakit papers add --file FILE', 'add a JSON list or an Atom feed of papers'],
  ],
  configure(command) {
    configureAdd(command.command('add'))
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

interface AddOptions {
  readonly arxivXml?: string
  readonly file?: string
  readonly list?: string
}

function configureAdd(command: Command): void {
  command
    .description('add papers to your own list; the studio, the feed and digests show it beside the 33')
    .option('--arxiv-xml <file>', 'an answer of arXiv’s API (export.arxiv.org/api/query?...)')
    .option(
      '--file <file>',
      'an Atom feed, or a JSON list of { title, authors, date, abstract, categories, links }; only title is needed',
    )
    .option('--list <file>', 'the list to add to; your own by default')
    .action(async ({ arxivXml, file, list }: AddOptions) => {
      const source = arxivXml ?? file
      if (source === undefined || (arxivXml && file))
        throw new UsageError('papers add: expected one of --arxiv-xml FILE and --file FILE')
      const { addPapers, userListFile } = await import('../../papers/userList.node.js')
      const listFile = list ?? userListFile()
      const { added, updated, total, notes } = await addPapers(source, listFile, arxivXml ? 'atom' : undefined)
      for (const note of notes) process.stderr.write(`${note}\n`)
      process.stdout.write(`${listFile}: ${added} added, ${updated} updated, ${total} in all\n`)
    })
}
