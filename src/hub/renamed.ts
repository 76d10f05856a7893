// A checkpoint whose tensors are known by other names than those in its file.
import { CheckpointError, type CheckpointReader } from './checkpoint.js'

/** The same tensors, each under the name that `rename` makes of its own. Throws CheckpointError where two become one. */
export function renamed(reader: CheckpointReader, rename: (stored: string) => string): CheckpointReader {
  const stored = new Map<string, string>()
  for (const inFile of reader.tensors.keys()) {
    const name = rename(inFile)
    if (stored.has(name))
      throw new CheckpointError(reader.file, name, 'duplicate-name', 'stands twice, in both spellings')
    stored.set(name, inFile)
  }
  const inFile = (name: string) => stored.get(name) ?? name
  return {
    file: reader.file,
    tensors: new Map([...stored].map(([name, own]) => [name, reader.tensors.get(own)!])),
    read: (name) => reader.read(inFile(name)),
    readInto: (name, offset, target) => reader.readInto(inFile(name), offset, target),
    locate: (name) => reader.locate(inFile(name)),
    close: () => reader.close(),
  }
}
