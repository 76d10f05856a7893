// A Python library as a peer: a child process that answers one JSON line for each line of JSON it is given, so that its
// turns can be taken between ours.
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'

/** The first is what the user calls Python; the second has the packages of the system. */
const interpreters = ['python3', '/usr/bin/python3']

/** What the script ends with where a module is missing. */
const missing = 3

const imports = (modules: string) => `
import json, sys, time
try:
    import ${modules}
except ImportError:
    sys.exit(${missing})
`
const loop = `
def timed(run, calls):
    start = time.perf_counter()
    for _ in range(calls): run()
    return (time.perf_counter() - start) / calls
print(json.dumps(facts), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(**json.loads(line))), flush=True)
`

export class PythonPeer {
  readonly #answers: AsyncIterator<string>

  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: Interface,
  ) {
    this.#answers = lines[Symbol.asyncIterator]()
  }

  /**
   * Starts a script that defines `facts` (a dict) and `answer(**request)` by means of `modules`. Null where no Python can
   * import them; an error with Python's last words where the script fails. The environment leaves the library its own choice of kernels, and gives it this many threads.
   */
  static async start<Facts>(
    modules: string,
    script: string,
    threads: number,
  ): Promise<{ peer: PythonPeer; facts: Facts } | null> {
    const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...inherited } = process.env
    const limit = `${threads}`
    const env = { ...inherited, OPENBLAS_NUM_THREADS: limit, OMP_NUM_THREADS: limit, MKL_NUM_THREADS: limit }
    for (const python of interpreters) {
      const child = spawn(python, ['-c', imports(modules) + script + loop], { env, stdio: 'pipe' })
      const ended = new Promise<number | null>((resolve) => {
        child.on('close', resolve)
        child.on('error', () => resolve(missing))
      })
      let said = ''
      child.stderr.on('data', (text: Buffer) => {
        said = (said + text.toString()).slice(-2000)
      })
      // A peer that died is seen by its missing answer.
      child.stdin.on('error', () => {})
      const peer = new PythonPeer(child, createInterface({ input: child.stdout }))
      const facts = await peer.#next()
      if (facts !== null) return { peer, facts: facts as Facts }
      const code = await ended
      if (code !== missing) throw new Error(`a peer in Python ended with ${code}: ${said.trim().split('\n').at(-1)}`)
    }
    return null
  }

  async #next(): Promise<unknown> {
    const { value, done } = await this.#answers.next()
    return done ? null : JSON.parse(value)
  }

  /** What the script's `answer` gives for a request. Between requests the process stands still: waiting threads of a library spin, and would take a core from whoever is timed next. */
  async ask(request: Readonly<Record<string, unknown>>): Promise<number> {
    this.#signal('SIGCONT')
    this.child.stdin!.write(`${JSON.stringify(request)}\n`)
    const answer = await this.#next()
    this.#signal('SIGSTOP')
    if (typeof answer !== 'number')
      throw new Error(`a peer in Python ended without an answer to ${JSON.stringify(request)}`)
    return answer
  }

  /** Windows knows neither of them, and would end the process. */
  #signal(signal: 'SIGCONT' | 'SIGSTOP'): void {
    if (process.platform !== 'win32') this.child.kill(signal)
  }

  close(): void {
    this.lines.close()
    this.child.kill('SIGKILL')
  }
}
