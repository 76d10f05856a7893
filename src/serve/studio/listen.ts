// Starts the studio's server on a port and stops it.
import { serve } from '@hono/node-server'
import type { Hono } from 'hono'

export interface Listening {
  readonly port: number
  close(): Promise<void>
}

/** Listens; where `port` is taken and `orAnother` is true, on any free port. */
export async function listen(app: Hono, host: string, port: number, orAnother = false): Promise<Listening> {
  try {
    return await listenOn(app, host, port)
  } catch (error) {
    if (orAnother && (error as NodeJS.ErrnoException).code === 'EADDRINUSE') return listenOn(app, host, 0)
    throw error
  }
}

function listenOn(app: Hono, hostname: string, port: number): Promise<Listening> {
  return new Promise((done, fail) => {
    const server = serve({ fetch: app.fetch, hostname, port }, ({ port }) => {
      const close = () =>
        new Promise<void>((closed) => {
          server.close(() => closed())
          if ('closeAllConnections' in server) server.closeAllConnections()
        })
      done({ port, close })
    })
    server.on('error', fail)
  })
}
