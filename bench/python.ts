// A Python library as a peer: a child process that answers one JSON line for each line of JSON it is given, so that its
// turns can be taken between ours.
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'

/** The first is what the user calls Python; the second has the packages of the system. */
const interpreters = ['python3', '/usr/bin/python3']

const loop = `
import json, sys, time
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
   * Starts a script that defines `facts` (a dict) and `answer(**request)`. Null where no Python can import what it needs.
   * The environment leaves the library its own choice of kernels, and gives it this many threads.
   */
  static async start<Facts>(script: string, threads: number): Promise<{ peer: PythonPeer; facts: Facts } | null> {
    const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...inherited } = process.env
    const limit = `${threads}`
    const env = { ...inherited, OPENBLAS_NUM_THREADS: limit, OMP_NUM_THREADS: limit, MKL_NUM_THREADS: limit }
    for (const python of interpreters) {
      const child = spawn(python, ['-c', script + loop], { env, stdio: ['pipe', 'pipe', 'ignore'] })
      child.on('error', () => {})
      // A peer that died is seen by its missing answer.
      child.stdin.on('error', () => {})
      const peer = new PythonPeer(child, createInterface({ input: child.stdout }))
      const facts = await peer.#next()
      if (facts !== null) return { peer, facts: facts as Facts }
      peer.close()
    }
    return null
  }

  async #next(): Promise<unknown> {
    const { value, done } = await this.#answers.next()
    return done ? null : JSON.parse(value)
  }

  async ask(request: Readonly<Record<string, unknown>>): Promise<number> {
    this.child.stdin!.write(`${JSON.stringify(request)}\n`)
    const answer = await this.#next()
    if (typeof answer !== 'number')
      throw new Error(`a peer in Python ended without an answer to ${JSON.stringify(request)}`)
    return answer
  }

  close(): void {
    this.lines.close()
    this.child.kill()
  }
}
