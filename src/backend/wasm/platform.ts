// What the WebAssembly backend needs of its surroundings. `#wasm-platform` (package.json) is platform.node.ts in Node and
// platform.browser.ts in pages and workers, so that no page ever loads a Node module.

/** What a thread is started with. */
export interface ThreadStart {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly thread: number
  /** Address where its stack ends; it grows downwards. */
  readonly stackTop: number
}

export interface Thread {
  /** Ends it, whatever it does. */
  stop(): Promise<void>
}

export interface Platform {
  readBytes(url: URL): Promise<Uint8Array<ArrayBuffer>>
  /** Threads to use by default. */
  defaultThreads(): number
  /** Whether memory can be shared with other threads. */
  hasSharedMemory(): boolean
  /** Resolves when the thread is about to wait for work. */
  startThread(start: ThreadStart): Promise<Thread>
}
