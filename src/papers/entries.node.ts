// Every entry there is: the catalogue with its committed results, and the user's list. Node only.
import { catalogueEntry, type Entry } from './entry.js'
import { papers } from './index.js'
import { listEntry } from './listPaper.js'
import { readResult, resultsFolder } from './results.node.js'
import { readUserList } from './userList.node.js'

export interface EntrySources {
  /** The user's list; none is read if absent. */
  readonly listFile?: string
  readonly results?: string
}

/** The 33 in the list's order, then the user's papers in the order in which they were added. */
export async function readEntries({ listFile, results = resultsFolder }: EntrySources = {}): Promise<Entry[]> {
  const catalogue = await Promise.all(
    papers.map(async (paper) => catalogueEntry(paper, await readResult(paper, results))),
  )
  return listFile === undefined ? catalogue : [...catalogue, ...(await readUserList(listFile)).map(listEntry)]
}
