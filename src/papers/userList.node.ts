// The user's own list of papers: a JSON file that is read whole and replaced whole. Node only.
import { mkdir, readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { replaceFile, writeAll } from '../hub/atomic.node.js'
import { parseAtom } from './importAtom.js'
import { parseJson } from './importJson.js'
import { checkedPaper, ImportError, type ListPaper, mostPapers } from './listPaper.js'

/** Where mambakit keeps what the user made with it. */
export function dataFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { XDG_DATA_HOME, LOCALAPPDATA } = environment
  // The XDG specification ignores relative paths.
  if (XDG_DATA_HOME?.startsWith('/')) return join(XDG_DATA_HOME, 'mambakit')
  if (process.platform === 'win32' && LOCALAPPDATA) return join(LOCALAPPDATA, 'mambakit')
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'mambakit')
  return join(homedir(), '.local', 'share', 'mambakit')
}

export const userListFile = (folder = dataFolder()) => join(folder, 'papers.json')

const format = 'mambakit-papers-1'
const mostBytes = 1 << 28

/** The papers of a list file; none where the file does not exist. Throws ImportError where it is something else. */
export async function readUserList(file: string): Promise<readonly ListPaper[]> {
  let json: string
  try {
    json = await readWhole(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  const fail = () =>
    new ImportError(
      `${file}: expected a list that \`mambakit papers add\` wrote; move it away or name another with --list`,
    )
  let list: { format?: unknown; papers?: unknown }
  try {
    list = JSON.parse(json)
  } catch {
    throw fail()
  }
  if (list?.format !== format || !Array.isArray(list.papers)) throw fail()
  // The file may have been edited: what comes out is checked like an import.
  return list.papers.map((paper: ListPaper, i) => {
    try {
      return { ...checkedPaper(paper, `${file}, paper ${i + 1}`).paper, id: checkedId(paper.id) }
    } catch (error) {
      throw error instanceof ImportError ? error : fail()
    }
  })
}

/** Devices and pipes may have no end; a file has one. */
async function readWhole(file: string): Promise<string> {
  const found = await stat(file)
  if (!found.isFile()) throw new ImportError(`${file}: expected a file; name another`)
  if (found.size > mostBytes)
    throw new ImportError(`${file}: expected at most 256 MiB, the file has ${found.size} bytes`)
  return readFile(file, 'utf8')
}

function checkedId(id: unknown): string {
  if (typeof id === 'string' && /^(arxiv|my)-[\w.-]{1,80}$/.test(id)) return id
  throw new TypeError('not an id')
}

export interface Added {
  readonly added: number
  readonly updated: number
  readonly total: number
  /** What was shortened. */
  readonly notes: readonly string[]
}

export type ImportFormat = 'atom' | 'json'

/**
 * Adds the papers of a file to a list; a paper that is there already (same arXiv identifier or title) is updated.
 * The format is seen from the file unless given.
 */
export async function addPapers(source: string, listFile: string, importFormat?: ImportFormat): Promise<Added> {
  const text = (await readWhole(source)).replace(/^\ufeff/, '')
  const isAtom = (importFormat ?? (/^\s*</.test(text) ? 'atom' : 'json')) === 'atom'
  const raw = isAtom ? parseAtom(text, source) : parseJson(text, source)
  const checked = raw.map((paper, i) => checkedPaper(paper, `${source}, paper ${i + 1}`))
  const papers = new Map((await readUserList(listFile)).map((paper) => [paper.id, paper]))
  const before = papers.size
  for (const { paper } of checked) papers.set(paper.id, paper)
  if (papers.size > mostPapers)
    throw new ImportError(`${listFile}: expected at most ${mostPapers} papers in a list; start another with --list`)
  await mkdir(dirname(listFile), { recursive: true })
  const json = `${JSON.stringify({ format, papers: [...papers.values()] }, null, 1)}\n`
  await replaceFile(listFile, (handle) => writeAll(handle, new TextEncoder().encode(json)))
  const added = papers.size - before
  const distinct = new Set(checked.map(({ paper }) => paper.id)).size
  return {
    added,
    updated: distinct - added,
    total: papers.size,
    notes: checked.flatMap(({ note }) => (note === undefined ? [] : [note])),
  }
}
