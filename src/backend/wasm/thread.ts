// A thread of the WebAssembly backend: its own instance on the shared memory, waiting for loops until it is told to stop.
import type { ThreadExports } from './module.js'
import type { ThreadStart } from './platform.js'

/** Calls `ready`, then blocks. */
export function runThread({ module, memory, thread, stackTop }: ThreadStart, ready: () => void): void {
  const exports = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as ThreadExports
  exports.__stack_pointer.value = stackTop
  ready()
  try {
    exports.work(thread)
  } catch {
    // The thread that waits for this one's task fails in its place, with an error that reaches the caller.
    exports.reportBroken()
  }
}
