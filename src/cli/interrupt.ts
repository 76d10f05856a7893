// Ctrl-C for commands that have something to finish: the first one asks, the second one kills. Commands that do not ask
// for this end at once, as Node does by itself.

const signals = ['SIGINT', 'SIGTERM'] as const

export interface Interrupt extends Disposable {
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
}

/** Catches the first interruption and prints `note` (what happens now) on stderr; the next one ends the process. */
export function catchInterrupt(note: string): Interrupt {
  const controller = new AbortController()
  const release = () => {
    for (const name of signals) process.off(name, interrupt)
  }
  const interrupt = () => {
    release()
    process.stderr.write(`\n${note}\n`)
    controller.abort()
  }
  for (const name of signals) process.on(name, interrupt)
  return { signal: controller.signal, [Symbol.dispose]: release }
}
